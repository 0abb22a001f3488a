// Packets that wait to be written to a stream, coalesced into one buffer, at whose end the next one
// is made. Each is charged to an account until its last byte has left (small ones that follow each
// other, until that of the last).
#pragma once

#include <cstdint>
#include <deque>

#include "init/base/byte_buffer.h"
#include "init/base/result.h"
#include "init/dataspace/account.h"
#include "init/preserves/value.h"

namespace muster::protocol {

class SendQueue {
  public:
    // What is appended here is the next packet; it waits until it is added, or dropped.
    ByteBuffer& open() { return bytes_; }
    size_t open_size() const { return bytes_.size() - whole_; }
    // Adds it, and charges `events` to `account` (null: to nobody) until it has left.
    void add(const Ref<dataspace::Account>& account, int64_t events);
    void drop_open() { bytes_.resize_down(whole_); }
    size_t unsent() const { return whole_ - sent_; }
    // How much of that waits behind the packet that is leaving.
    size_t backlog() const;
    // How many bytes have ever left.
    uint64_t total_sent() const { return total_sent_; }

    // Writes as much as the non-blocking `fd` takes: true if everything has left. Repays what was
    // sent whole. ERRORS: the stream is broken; the text is empty if the peer is simply gone.
    Result<bool> flush(int fd);

    // Gives up all packets but the one that has begun to leave.
    void cut();
    // Gives up everything and repays it.
    void clear();

  private:
    struct Packet {
        uint64_t end; // in the stream of all bytes ever added
        size_t size;
        dataspace::Loan loan;
    };
    void drop_sent_bytes();

    ByteBuffer bytes_;
    size_t whole_ = 0; // of bytes_, what is packets that were added
    size_t sent_ = 0;  // of these
    uint64_t total_sent_ = 0;
    uint64_t boundary_ = 0; // where the last packet ended that was sent whole
    std::deque<Packet> packets_;
};

} // namespace muster::protocol
