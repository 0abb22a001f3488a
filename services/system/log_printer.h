// Prints what is sent to `$log` for people: one line a message on a descriptor (the console).
//
//   clock[123]: text        a line of a service's process, from stdout or stderr
//   muster: text            what the system itself says
//
// Control characters are shown as `?`, so that a service cannot drive the terminal.
#pragma once

#include "init/dataspace/dataspace.h"

namespace muster::services {

// Observes from the current facet. With `quiet` only what the system and its supervisors
// say is printed. The
// descriptor must outlive the facet; what it does not take is lost.
void print_log(dataspace::Turn& turn, const dataspace::CapRef& log, int fd, bool quiet);

// The line for a message `<log TIMESTAMP {…}>`, without line feed.
std::string log_line(preserves::View entry);

// Sends one line of the system's own to `log`.
void say(dataspace::Turn& turn, const dataspace::CapRef& log, std::string_view line);

} // namespace muster::services
