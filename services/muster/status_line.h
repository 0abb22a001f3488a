// One line for one service, of what `$status` says: `NAME WORD detail`, columns padded.
#pragma once

#include <string>

#include "init/preserves/value.h"

namespace muster::command {

// The name for the first column. What a dictionary holds is left out, `{...}`: config-watcher
// services have all their variables there.
std::string short_name(preserves::View service);
// `record` is `<service S WORD {…}>`.
std::string status_line(preserves::View record);
// `<config-error FILE LINE COLUMN MESSAGE>`: "FILE:LINE:COLUMN: MESSAGE".
std::string config_error_line(preserves::View record);

} // namespace muster::command
