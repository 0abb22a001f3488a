// Told of everything that an engine does, turn by turn, for whoever wants to see it (trace.prs).
// Without one it costs a comparison where it would be called.
#pragma once

#include <vector>

#include "init/base/result.h"

namespace muster::dataspace {

class Actor;
struct Event;

// Nothing may be done to the engine from these. Turns do not nest.
class Tracer {
  public:
    virtual ~Tracer() = default;
    virtual void actor_starts(const Actor& actor) = 0;
    virtual void actor_ends(const Actor& actor, const Error* error) = 0;
    // `events` is empty if something outside caused the turn.
    virtual void turn_begins(const Actor& actor, const std::vector<Event>& events) = 0;
    // What it sends to one actor, when it commits. The array itself, not a copy of it, is what a
    // turn there will begin with.
    virtual void turn_sends(const std::vector<Event>& events) = 0;
    virtual void turn_ends() = 0;
};

} // namespace muster::dataspace
