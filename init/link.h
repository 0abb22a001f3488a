// init's end of the socket pair: whole records, never blocking. See records.h.
#pragma once

#include "init/records.h"

namespace muster::pid1 {

// The descriptors that came with a record, the caller's, close-on-exec.
struct Attached {
    int fds[records::kSlotFds];
    std::uint32_t count = 0;

    void close_from(std::uint32_t first);
};

// Sends one record, with `count` descriptors. 0, or -errno: -EAGAIN when the socket is full, -EPIPE
// when the other end is gone.
int send_record(int socket, const records::Record& record, const int* fds, std::uint32_t count);
inline int send_record(int socket, const records::Record& record, int attached = -1) {
    return send_record(socket, record, &attached, attached >= 0 ? 1 : 0);
}

// Receives one record. 1: got one; 0: nothing there; -EPIPE: end of file; -EBADMSG: not a record of
// ours (dropped); other -errno. REQUIRES: `attached` is empty; it is after anything but 1.
int receive_record(int socket, records::Record& record, Attached& attached);

} // namespace muster::pid1
