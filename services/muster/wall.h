// Telling everybody at a terminal.
#pragma once

#include <set>
#include <string>

namespace muster::command {

// The terminals at which some session reads what is typed.
std::set<std::string> terminals_in_use();
// Writes without waiting for it; what it does not take is lost.
void write_to_terminal(const std::string& path, const std::string& text);

// Both.
void write_to_all(const std::string& text);

} // namespace muster::command
