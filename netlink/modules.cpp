#include "netlink/modules.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "netlink/say.h"

namespace muster::netlink {

Modules::Modules(std::string root, const std::string& release, Load load)
    : root_(std::move(root)), folder_(root_ + "/lib/modules/" + release), load_(std::move(load)) {
    if (::access((folder_ + "/modules.dep").c_str(), R_OK) != 0) {
        say(folder_ + "/modules.dep: " + std::strerror(errno) + ": no modules are loaded");
        refused_ = true;
    }
}

void Modules::request(std::string_view device, std::string_view alias) {
    if (refused_) return;
    // Many devices ask for the same; the first is as good as any.
    const bool known = std::any_of(requests_.begin(), requests_.end(),
                                   [&](const ModuleRequest& r) { return r.alias == alias; });
    if (!known) requests_.push_back({std::string(device), std::string(alias)});
}

bool Modules::step() {
    if (queue_.empty() && !requests_.empty()) {
        const ModprobeConfig config = read_modprobe_config(
            root_, folder_, !std::exchange(complained_of_configuration_, true));
        for (ModuleToLoad& module : modules_for(requests_, folder_, config)) {
            if (!is_loaded(module.name)) queue_.push_back(std::move(module));
        }
        requests_ = {};
        return true;
    }
    if (queue_.empty()) return false;
    const ModuleToLoad module = std::move(queue_.front());
    queue_.pop_front();
    load(module);
    return true;
}

bool Modules::is_loaded(const std::string& name) const {
    return ::access((root_ + "/sys/module/" + name).c_str(), F_OK) == 0;
}

void Modules::load(const ModuleToLoad& module) {
    if (is_loaded(module.name)) return; // by somebody else, meanwhile
    const int problem = load_(module);
    // ENODEV: the hardware is not there after all, as with drivers that are asked for by the
    // processor's features.
    if (problem == 0 || problem == ENODEV) {
        complained_.erase(module.name);
        return;
    }
    if (complained_.insert(module.name).second)
        say("module " + module.name + ", for " + module.device + ": " + std::strerror(problem));
    if (problem == EPERM || problem == ENOSYS) {
        say("the kernel lets us load no modules");
        refused_ = true;
        requests_ = {};
        queue_.clear();
    }
}

} // namespace muster::netlink
