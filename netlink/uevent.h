// The kernel's device events and what it says about a device: reading, no system calls.
//
// An event is one datagram of NETLINK_KOBJECT_UEVENT (lib/kobject_uevent.c):
// "ACTION@DEVPATH\0KEY=value\0KEY=value\0…", the keys ACTION, DEVPATH, SUBSYSTEM and SEQNUM among
// them. The attribute /sys/DEVPATH/uevent holds the lines "KEY=value\n" that describe the device
// itself, without those four.
//
// Everything here is a view into the text that was read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "init/base/result.h"

namespace muster::netlink {

struct Property {
    std::string_view key;
    std::string_view value;
};
using Properties = std::vector<Property>; // no key twice; the last one counts

struct Uevent {
    std::string_view action;    // lower-case letters
    std::string_view devpath;   // begins with '/', without empty, "." and ".." components
    std::string_view subsystem; // empty if there is none
    uint64_t seqnum = 0;        // fits in an int64_t
    Properties properties;      // all of them, in the order of the message
};

// ERRORS: no event of the kernel, says why.
Result<Uevent> parse_uevent(std::string_view message);

// The content of an attribute `uevent`. Lines that are no KEY=value are passed over.
Properties parse_uevent_attribute(std::string_view text);

// The value under `key`; empty if there is none.
std::string_view find(const Properties& properties, std::string_view key);

// Whether a property describes an event or where the device is, instead of what it is: ACTION,
// SEQNUM, SYNTH_*, DEVPATH, DEVPATH_OLD, SUBSYSTEM. Not part of a device's dictionary.
bool is_about_event(std::string_view key);

// Absolute, without empty, "." and ".." components: may be put behind a folder's name.
bool is_devpath(std::string_view path);

} // namespace muster::netlink
