#include "netlink/devices.h"

#include <vector>

#include "netlink/records.h"

namespace muster::netlink {

void Devices::publish(std::string_view devpath, std::string_view subsystem,
                      const Properties& properties, bool is_new) {
    const preserves::Value record = device_record(subsystem, devpath, properties);
    auto known = devices_.find(devpath);
    if (known == devices_.end()) {
        devices_.emplace(devpath, Device{publisher_.assert_(record), record.hash()});
    } else {
        known->second.found = true;
        if (known->second.hash != record.hash()) {
            publisher_.replace(known->second.handle, record);
            known->second.hash = record.hash();
        }
    }
    if (!is_new || !driverless_ || !find(properties, "DRIVER").empty()) return;
    const std::string_view modalias = find(properties, "MODALIAS");
    if (!modalias.empty()) driverless_(devpath, modalias);
}

// False if /sys does not have it: it has gone since, and its own event will say so; or it is no
// device, like a queue of a network card.
bool Devices::refresh(std::string_view devpath, bool is_new) {
    const auto device = sysfs_.read(devpath);
    if (device) publish(devpath, device->subsystem, device->properties(), is_new);
    return device.has_value();
}

void Devices::remove(std::string_view devpath) {
    auto known = devices_.find(devpath);
    if (known == devices_.end()) return;
    publisher_.retract(known->second.handle);
    devices_.erase(known);
}

void Devices::move(std::string_view from, std::string_view to) {
    // The devices below it move without events of their own.
    std::vector<std::string> old{std::string(from)};
    const std::string below = old[0] + '/';
    for (auto it = devices_.lower_bound(below);
         it != devices_.end() && it->first.starts_with(below); ++it)
        old.push_back(it->first);
    for (size_t i = 1; i < old.size(); ++i)
        refresh(std::string(to) + old[i].substr(from.size()), false);
    for (const std::string& path : old)
        remove(path);
}

void Devices::handle(const Uevent& event) {
    const Publisher::Turn turn(publisher_);
    if (event.devpath.starts_with("/devices/")) {
        if (event.action == "remove") {
            remove(event.devpath);
        } else {
            const bool is_new = event.action == "add";
            if (!refresh(event.devpath, is_new) && !event.subsystem.empty() && !sysfs_.available())
                publish(event.devpath, event.subsystem, event.properties, is_new);
            const std::string_view from = find(event.properties, "DEVPATH_OLD");
            if (event.action == "move" && is_devpath(from) && from != event.devpath)
                move(from, event.devpath);
        }
    }
    publisher_.message(uevent_record(event));
}

void Devices::scan(const std::function<void()>& pause) {
    constexpr size_t turn_size = 32; // devices between pauses
    if (!sysfs_.available()) return;
    for (auto& [path, device] : devices_)
        device.found = false;
    size_t count = 0;
    sysfs_.walk([&](const std::string& devpath) {
        refresh(devpath, true);
        if (++count % turn_size == 0) pause();
    });
    const Publisher::Turn turn(publisher_);
    for (auto it = devices_.begin(); it != devices_.end();) {
        if (!it->second.found) publisher_.retract(it->second.handle);
        it = it->second.found ? std::next(it) : devices_.erase(it);
    }
}

} // namespace muster::netlink
