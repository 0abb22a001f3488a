// The kernel's devices as /sys shows them. Reads only; nothing is ever written there.
//
// A device is a folder below /sys/devices with the attribute `uevent` and the link `subsystem`.
// Those without a subsystem (the roots of buses) are not announced by the kernel either.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "netlink/uevent.h"

namespace muster::netlink {

class Sysfs {
  public:
    // `root` is where sysfs is mounted, "/sys" but in tests.
    explicit Sysfs(std::string root) : root_(std::move(root)) {}

    // Whether there is a sysfs that may be read.
    bool available() const;

    struct Device {
        std::string subsystem;
        std::string attribute; // the text of `uevent`
        Properties properties() const { return parse_uevent_attribute(attribute); }
    };
    // The device at `devpath` ("/devices/…"); empty if there is none now.
    std::optional<Device> read(std::string_view devpath) const;

    // Calls `found` with the path of every device: bus by bus, then class by class, which is what
    // drivers made of the former. The lists of their members, /sys/bus/*/devices and /sys/class/*,
    // have every device that has a subsystem, and reading them takes a fraction of what the walk
    // through all folders below /sys/devices does. Devices that come or go meanwhile may be among
    // them or not.
    void walk(const std::function<void(const std::string& devpath)>& found) const;

    // The number of the last event the kernel has made; 0 if it does not tell.
    uint64_t last_seqnum() const;

  private:
    std::string root_;
};

} // namespace muster::netlink
