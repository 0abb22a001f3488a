// What the kernel and syslog(3) write, as lines.
// Sources: Linux Documentation/ABI/testing/dev-kmsg; syslog(3); RFC 3164 4.1.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace muster::logs {

// "<34>Oct 11 22:14:15 su[7]: text" -> "auth.crit su[7]: text". What it is not made like is taken
// as it is, as user.notice.
std::string syslog_line(std::string_view datagram);

struct KernelMessage {
    uint64_t sequence = 0;
    uint64_t monotonic_us = 0;
    bool from_kernel = false; // not from a program that writes to /dev/kmsg
    std::string line;         // "warning text"; its further lines, if it has such, after line feeds
};
// A record of /dev/kmsg. False if it is none.
bool parse_kernel_message(std::string_view record, KernelMessage& out);

} // namespace muster::logs
