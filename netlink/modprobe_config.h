// What the administrator and the modules themselves say about loading: modprobe.d(5), the kernel's
// command line, modules.softdep.
//
// Understood are `alias`, `blacklist`, `options`, `softdep` and `install`. No command of an
// `install` line is run: the module it names is just never loaded by us.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::netlink {

struct ModprobeConfig {
    struct Softdep {
        std::vector<std::string> before; // module names or aliases
        std::vector<std::string> after;
    };
    // Names of modules are written with '_'.
    std::vector<std::pair<std::string, std::string>> aliases; // pattern, module
    std::set<std::string, std::less<>> blacklist;             // not loaded for an alias
    std::set<std::string, std::less<>> never;                 // not loaded at all
    std::map<std::string, std::string, std::less<>> options;  // module, parameters
    std::map<std::string, Softdep, std::less<>> softdeps;

    // A line of a configuration file. False if it is not understood.
    bool add_line(std::string_view line);
    // modprobe.blacklist=A,B and MODULE.parameter=value.
    void add_command_line(std::string_view words);
};

// Reads *.conf in the folders modprobe.d below `root`, `modules_folder`/modules.softdep and
// `root`/proc/cmdline. What is not understood is said on stderr if `complain`.
ModprobeConfig read_modprobe_config(const std::string& root, const std::string& modules_folder,
                                    bool complain);

// "virtio-net" and "virtio_net" are one module.
std::string module_name(std::string_view name);

} // namespace muster::netlink
