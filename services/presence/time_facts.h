// `<after-boot …>`, `<every …>`, `<later-than …>`, `<calendar …>`: see presence.h.
#pragma once

#include "services/presence/presence.h"

namespace muster::services {

// From the current facet.
void serve_time_facts(dataspace::Turn& turn, const PresenceContext& context);

} // namespace muster::services
