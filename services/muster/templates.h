// Services that come into being when somebody needs them: a script that looks for needs of a kind,
// `? <require-service <daemon <getty ?tty>>> [ … ]`, will define them.
#pragma once

#include "services/muster/bus.h"

namespace muster::command {

// Whether somebody looks for the need of `service`, or of such as it, in `$config`; looking for all
// needs does not count.
Result<bool> has_template(Bus& bus, const preserves::Value& service);

} // namespace muster::command
