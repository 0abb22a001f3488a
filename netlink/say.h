// Messages of the program: a line on stderr, which the supervisor puts into the log.
#pragma once

#include <string>

namespace muster::netlink {

// `message` without the line feed. Written in one piece.
void say(std::string message);

} // namespace muster::netlink
