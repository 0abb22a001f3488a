// `$control`, for scripts of a server that was started with --control (control.prs): the message
// `<exit STATUS>` ends it at once with that status.
#pragma once

#include <functional>

#include "init/dataspace/actor.h"

namespace muster::services {

// To an entity in the current facet. What it does not understand it says in `log`.
dataspace::CapRef control(dataspace::Turn& turn, const dataspace::CapRef& log,
                          std::function<void(int status)> exit);

} // namespace muster::services
