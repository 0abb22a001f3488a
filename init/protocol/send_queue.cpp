#include "init/protocol/send_queue.h"

#include <unistd.h>

#include <cerrno>

namespace muster::protocol {

namespace {

// A buffer that grew beyond this is given back when it is empty.
constexpr size_t kept_capacity = 65'536;

} // namespace

void SendQueue::add(preserves::Bytes packet, dataspace::Loan loan) {
    bytes_.insert(bytes_.end(), packet.begin(), packet.end());
    packets_.push_back({total_sent_ + unsent(), std::move(loan)});
}

size_t SendQueue::backlog() const {
    return packets_.empty() ? 0
                            : unsent() - static_cast<size_t>(packets_.front().end - total_sent_);
}

Result<bool> SendQueue::flush(int fd) {
    while (unsent() > 0) {
        ssize_t count = write(fd, bytes_.data() + sent_, unsent());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) break;
        if (count < 0) {
            if (errno == EPIPE || errno == ECONNRESET) return Error{};
            return system_error("write", errno);
        }
        sent_ += static_cast<size_t>(count);
        total_sent_ += static_cast<size_t>(count);
    }
    drop_sent_bytes();
    bool all = unsent() == 0;
    while (!packets_.empty() && packets_.front().end <= total_sent_) {
        boundary_ = packets_.front().end;
        // Repaying may wake somebody who adds to this queue.
        dataspace::Loan loan = std::move(packets_.front().loan);
        packets_.pop_front();
    }
    return all;
}

void SendQueue::drop_sent_bytes() {
    if (unsent() == 0) {
        bytes_.clear();
        sent_ = 0;
        if (bytes_.capacity() > kept_capacity) bytes_.shrink_to_fit();
    } else if (sent_ > kept_capacity && sent_ > bytes_.size() / 2) {
        bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(sent_));
        sent_ = 0;
    }
}

void SendQueue::cut(preserves::Bytes last) {
    size_t keep = total_sent_ == boundary_ || packets_.empty()
                      ? 0
                      : static_cast<size_t>(packets_.front().end - total_sent_);
    bytes_.resize(sent_ + keep);
    packets_.clear();
    add(last, {});
}

void SendQueue::clear() {
    bytes_ = {};
    sent_ = 0;
    packets_.clear();
}

} // namespace muster::protocol
