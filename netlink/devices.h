// The devices that are asserted, and how they follow those that are there.
//
// What is true of a device is read from /sys when something tells that it may have changed: at the
// start, at each event, and after events were lost. So it does not matter by which of these a
// device was found, and events that tell what is known already say nothing. For a device the states
// are
//   absent --add, change, …, scan: /sys has it--> asserted
//   asserted --the same, and /sys says something else--> asserted anew, the old one retracted
//   asserted --remove, or a scan that does not find it--> absent
//   asserted --move--> absent, and what it is called now is asserted, in the same turn
// Where there is no /sys, the events' own keys stand in for it.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "netlink/publisher.h"
#include "netlink/sysfs.h"
#include "netlink/uevent.h"

namespace muster::netlink {

class Devices {
  public:
    // Called with devices that no driver has yet and the modalias by which one may be found: after
    // `add` and after scans.
    using Driverless = std::function<void(std::string_view devpath, std::string_view modalias)>;

    Devices(const Sysfs& sysfs, Publisher& publisher, Driverless driverless)
        : sysfs_(sysfs), publisher_(publisher), driverless_(std::move(driverless)) {}

    // One turn: what becomes of the device, then the message.
    void handle(const Uevent& event);

    // Asserts and retracts the difference to /sys. `pause` is called now and then, to let what was
    // said leave.
    void scan(const std::function<void()>& pause);

    size_t count() const { return devices_.size(); }

  private:
    struct Device {
        Client::Handle handle;
        uint64_t hash;     // of the record: stands for it, with 64 bits and a seed of this process
        bool found = true; // by the running scan
    };
    using Map = std::map<std::string, Device, std::less<>>;

    bool refresh(std::string_view devpath, bool is_new);
    void publish(std::string_view devpath, std::string_view subsystem, const Properties& properties,
                 bool is_new);
    void remove(std::string_view devpath);
    void move(std::string_view from, std::string_view to);

    const Sysfs& sysfs_;
    Publisher& publisher_;
    Driverless driverless_;
    Map devices_; // by devpath
};

} // namespace muster::netlink
