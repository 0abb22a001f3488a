// A window: a capability through which a dataspace can be looked at, by those who may not touch it.
//
// It takes `<Observe PATTERN #:observer>` and nothing else; what else is asserted or sent there is
// dropped. An observer sees what it would see in the dataspace itself, except assertions and
// messages that hold a capability, and what others observe: not even that they are there.
// What a peer observes through a window ends with that peer; the window itself runs for ever.
#pragma once

#include "init/dataspace/actor.h"

namespace muster::services {

// As an actor of its own.
dataspace::CapRef spawn_window(dataspace::Turn& turn, const dataspace::CapRef& space);

} // namespace muster::services
