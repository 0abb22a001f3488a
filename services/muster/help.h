// `muster help COMMAND`.
#pragma once

#include <string>
#include <string_view>

namespace muster::command {

// What the summary `usage` says of the command, and more where there is more to say; empty if it is
// no command. An entry of the summary begins with two spaces and the words of the command; lines
// that belong to it begin with more.
std::string help_of(std::string_view usage, std::string_view command);

} // namespace muster::command
