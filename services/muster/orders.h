// What `muster` has done: start, stop, release and restart of services; poweroff, reboot and halt.
// Each gives the exit status.
#pragma once

#include "services/muster/arguments.h"
#include "services/muster/bus.h"

namespace muster::command {

int order(Bus& bus, const Arguments& arguments);
int power(Bus& bus, const Arguments& arguments);

} // namespace muster::command
