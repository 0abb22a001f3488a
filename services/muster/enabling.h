// `muster enable` and `muster disable`: whether a service runs when the system is started, kept in
// files of the configuration.
//
//   boot/disabled/FILE.pr      <disable-service S>   it does not run, whoever needs it, but for
//                                                    `muster start`
//   services/enabled/FILE.pr   <require-service S>   it is needed
//
// `disable` makes the former and removes the latter. `enable` removes the former, and makes the
// latter if nothing else has it run: who is needed by other files, or is started by a client or a
// time (`<started-by S …>`), is as its configuration says. FILE is the service's name as it is
// typed, in which all but letters, digits and _ - . @ + is written as %XX; so it is one for each
// name.
//
// The first layer is read before anything is started, so that a service of the core layer can be
// disabled as well. Saving is what takes effect: at once, and at the next boot.
#pragma once

#include <string>
#include <vector>

#include "init/base/result.h"
#include "init/preserves/value.h"

namespace muster::command {

// What else is known of a service.
struct Standing {
    bool needed = false;     // by something other than an operator
    bool started_by = false; // something starts it
    bool held_up = false;    // by `muster start`
};

// Where the files of a service lie below `root`, which stands for "/": empty or without a slash at
// its end.
std::string enabled_file(const std::string& root, preserves::View service);
std::string disabled_file(const std::string& root, preserves::View service);

// What was done, in a sentence for people. ERRORS: a capability is in the name; the system's.
Result<std::string> enable_service(const std::string& root, preserves::View service,
                                   const Standing& standing);
Result<std::string> disable_service(const std::string& root, preserves::View service,
                                    const Standing& standing);

// The command: `words` are the services. With a root nobody is asked on the bus, since it is
// another system's. Returns the exit status.
int enabling_command(const std::string& bus, bool enable, const std::string& root,
                     const std::vector<std::string>& words);

} // namespace muster::command
