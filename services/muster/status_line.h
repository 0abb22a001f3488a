// One line for one service, of what `$status` says: `NAME WORD detail`, columns padded.
#pragma once

#include <string>

#include "init/preserves/value.h"
#include "services/muster/screen.h"

namespace muster::command {

// The name for the first column. What a dictionary holds is left out, `{...}`: config-watcher
// services have all their variables there.
std::string short_name(preserves::View service);
// `record` is `<service S WORD {…}>`. For a terminal it is cut to its width.
std::string status_line(preserves::View record, const Screen& screen = {});
// `<config-error FILE LINE COLUMN MESSAGE>`: "FILE:LINE:COLUMN: MESSAGE".
std::string config_error_line(preserves::View record);

} // namespace muster::command
