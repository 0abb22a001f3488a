#include "init/protocol/send_queue.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace muster::protocol {

namespace {

// A buffer that grew beyond this is given back when it is empty.
constexpr size_t kept_capacity = 262'144;
// Small packets on one account count as one up to this size.
constexpr size_t merged = 4'096;

} // namespace

void SendQueue::add(const Ref<dataspace::Account>& account, int64_t events) {
    const size_t size = open_size();
    whole_ = bytes_.size();
    const uint64_t end = total_sent_ + unsent();
    if (!packets_.empty()) {
        Packet& last = packets_.back();
        if (last.loan.account() == account && last.size + size <= merged) {
            last.end = end;
            last.size += size;
            last.loan.add(events);
            return;
        }
    }
    packets_.push_back({end, size, dataspace::Loan(account, events)});
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
    if (unsent() == 0 && open_size() == 0) {
        bytes_.clear();
        whole_ = sent_ = 0;
        if (bytes_.capacity() > kept_capacity) bytes_.release();
    } else if (sent_ > kept_capacity && sent_ > bytes_.size() / 2) {
        bytes_.drop_front(sent_);
        whole_ -= std::exchange(sent_, 0);
    }
}

void SendQueue::cut() {
    size_t keep = total_sent_ == boundary_ || packets_.empty()
                      ? 0
                      : static_cast<size_t>(packets_.front().end - total_sent_);
    whole_ = sent_ + keep;
    drop_open();
    packets_.clear();
}

void SendQueue::clear() {
    bytes_.release();
    whole_ = sent_ = 0;
    packets_.clear();
}

} // namespace muster::protocol
