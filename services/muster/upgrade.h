// `muster upgrade`: init and the second stage go on as the programs that are installed now.
#pragma once

#include <string>

namespace muster::command {

// Asks both new programs whether they can take over, then has it done, and waits until the new
// second stage is there. Says what it does. Returns the exit status.
int upgrade(const std::string& bus);

} // namespace muster::command
