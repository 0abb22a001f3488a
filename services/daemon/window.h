// A window: a capability through which a dataspace can be looked at, by those who may not touch it.
//
// It takes `<Observe PATTERN #:observer>` and nothing else; what else is asserted or sent there is
// dropped. An observer sees what it would see in the dataspace itself, except assertions and
// messages that hold a capability, and what others observe: not even that they are there.
// What a peer observes through a window ends with that peer; the window itself runs for ever.
//
// What one actor looks at there is bounded: an observer that goes beyond a bound gets the message
// `<error "…" #f>`, which names it, and sees nothing more. Observers of one actor are served one
// after the other, each when the one before it has been told all that there is; a sync waits for
// those before it.
#pragma once

#include "init/dataspace/actor.h"

namespace muster::services {

// The binds of one pattern: each may capture the whole of what matches.
inline constexpr size_t max_window_binds = 16;

// As an actor of its own. `max_bytes`: of what one actor sees at a time, as the dataspace holds it:
// what matches and what is captured of it, for each observer.
dataspace::CapRef spawn_window(dataspace::Turn& turn, const dataspace::CapRef& space,
                               size_t max_bytes = 16 * 1024 * 1024);

} // namespace muster::services
