// A dataspace: an entity that keeps a bag of assertions and tells observers (reference 2.9).
//
// A value asserted several times counts once for observers, until its last copy goes. An assertion
// `<Observe PATTERN #:observer>` whose pattern parses makes `observer` see, as assertions, the
// sequences of values that the pattern captures from the assertions here, each sequence once
// however many assertions give it; and, as messages, what it captures from messages sent here.
#pragma once

#include "init/dataspace/actor.h"

namespace muster::dataspace {

// A dataspace as an actor of its own.
CapRef spawn_dataspace(Engine& engine, std::string name);
CapRef spawn_dataspace(Turn& turn, std::string name);
// A dataspace within the current actor, in its current facet, which it keeps alive as long as it
// can be reached, and with which it ends.
CapRef make_dataspace(Turn& turn);

// The assertions in a dataspace made above, for status: number of distinct values.
size_t assertion_count(const Cap& dataspace);

// Observes `dataspace` from the current facet: `body` runs in a new facet for every distinct
// capture sequence; that facet is stopped when the match goes. Returns the Observe's handle.
using MatchAction = std::function<void(Turn&, View captures)>;
Handle during(Turn& turn, const CapRef& dataspace, View pattern, MatchAction body);
// Runs `body` in the current facet for every message that matches.
Handle on_message(Turn& turn, const CapRef& dataspace, View pattern, MatchAction body);
// Runs `appeared` and `gone` in the current facet, without a facet per match.
Handle observe(Turn& turn, const CapRef& dataspace, View pattern, MatchAction appeared,
               MatchAction gone);
// Any entity as the observer.
Handle observe(Turn& turn, const CapRef& dataspace, View pattern, Ref<Entity> observer);

} // namespace muster::dataspace
