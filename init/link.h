// init's end of the socket pair: whole records, never blocking. See records.h.
#pragma once

#include "init/records.h"

namespace muster::pid1 {

// Sends one record, with `attached` if that is not -1. 0, or -errno: -EAGAIN when the socket is
// full, -EPIPE when the other end is gone.
int send_record(int socket, const records::Record& record, int attached = -1);

// Receives one record. 1: got one, `attached` is its descriptor (close-on-exec, the caller's) or
// -1; 0: nothing there; -EPIPE: end of file; -EBADMSG: not a record of ours (dropped); other
// -errno.
int receive_record(int socket, records::Record& record, int& attached);

} // namespace muster::pid1
