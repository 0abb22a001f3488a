// `dataspace --check`: whether this program could run here, and go on for another one.
#pragma once

#include "services/system/options.h"

namespace muster::services {

// Reads every script under the --config paths; says what is wrong on standard error. The exit
// status.
int check(const Options& options);

} // namespace muster::services
