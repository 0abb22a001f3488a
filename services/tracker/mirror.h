// One-way copies into `$status`: what is in the machine, the states of services and what they
// depend on, how the system was started, what is wrong with the configuration. Without
// capabilities, and interest in them implies nothing.
#pragma once

#include "init/dataspace/dataspace.h"

namespace muster::services {

// Copies from now on, for as long as the current facet lives.
void mirror_facts(dataspace::Turn& turn, const dataspace::CapRef& config,
                  const dataspace::CapRef& machine, const dataspace::CapRef& status);

} // namespace muster::services
