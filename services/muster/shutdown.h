// `shutdown`, `halt`, `poweroff`, `reboot` and `telinit`, and the service that waits for the time
// of a pending shutdown.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "init/preserves/value.h"
#include "services/muster/bus.h"

namespace muster::command {

extern const char* const shutdown_usage;

// `name` is one of those commands; the words are what follows it. Returns the exit status.
int shutdown_command(std::string_view name, const std::vector<std::string>& words,
                     const std::string& bus);

// `<pending-shutdown …>`; invalid if there is none.
Result<preserves::Value> pending_shutdown(Bus& bus);
// The same as a line of `muster status`.
std::string pending_shutdown_line(preserves::View record);

} // namespace muster::command
