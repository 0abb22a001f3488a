// The modules that devices ask for: gathers what is asked, finds out what to load, and loads it,
// one step at a time.
//
// Loading happens in this process and in order. A thread or a helper process would let events be
// handled while a driver starts, but there is little to gain: drivers whose start is slow ask the
// kernel to probe in the background, events wait in the socket's buffer meanwhile and are handled
// between one module and the next, and there is no second list of what is still on its way.
#pragma once

#include <deque>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "netlink/module_tables.h"

namespace muster::netlink {

class Modules {
  public:
    using Load = std::function<int(const ModuleToLoad&)>; // 0 or an errno

    // Where files are found: `root`/lib/modules/`release`, `root`/etc/modprobe.d,
    // `root`/sys/module.
    Modules(std::string root, const std::string& release, Load load);

    void request(std::string_view device, std::string_view alias);

    // Loads the next module, or finds out which they are. False if there is nothing to do.
    bool step();
    bool idle() const { return requests_.empty() && queue_.empty(); }

  private:
    bool is_loaded(const std::string& name) const;
    void load(const ModuleToLoad& module);

    std::string root_;
    std::string folder_;
    Load load_;
    std::vector<ModuleRequest> requests_;
    std::deque<ModuleToLoad> queue_;
    std::set<std::string, std::less<>> complained_; // modules that could not be loaded
    bool refused_ = false;                          // by the kernel: no module may be loaded
    bool complained_of_configuration_ = false;
};

} // namespace muster::netlink
