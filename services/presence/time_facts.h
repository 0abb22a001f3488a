// `<after-boot …>`, `<every …>`, `<later-than …>`, `<calendar …>`: see presence.h.
#pragma once

#include "services/presence/interest.h"
#include "services/presence/presence.h"

namespace muster::services {

// From the current facet. What is to be known of observers is added to `interests`.
void serve_time_facts(dataspace::Turn& turn, Interests& interests, const PresenceContext& context);

} // namespace muster::services
