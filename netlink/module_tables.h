// From what devices ask for to what has to be loaded: modules.alias and modules.dep (depmod(8)).
//
// No index is kept. Requests are gathered and the tables are read once for all of them, in order to
// find those they match: the requests, sorted, are the index. A table of 30,000 lines takes some
// milliseconds in this way and leaves nothing in memory, and a file that was changed is simply read
// as it is. Built-in modules need no list: modules.dep does not name them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "netlink/modprobe_config.h"

namespace muster::netlink {

struct ModuleRequest {
    std::string device; // its devpath, for messages
    std::string alias;  // what it asks for
};

struct ModuleToLoad {
    std::string name;
    std::string path; // of the file
    std::string options;
    std::string device; // the first that asks for it
    friend bool operator==(const ModuleToLoad&, const ModuleToLoad&) = default;
};

// The modules that `requests` ask for, in their order, each once and after all it depends on.
// `folder` is where the tables are ("/lib/modules/RELEASE"). Aliases that nothing matches are
// passed over: most devices need nothing.
std::vector<ModuleToLoad> modules_for(std::span<const ModuleRequest> requests,
                                      const std::string& folder, const ModprobeConfig& config);

} // namespace muster::netlink
