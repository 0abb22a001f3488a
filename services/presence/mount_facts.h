// `<mount "PATH" {…}>`: see presence.h.
#pragma once

#include "services/presence/interest.h"
#include "services/presence/mount_table.h"
#include "services/presence/presence.h"

namespace muster::services {

// From the current facet. What is to be known of observers is added to `interests`.
void serve_mount_facts(dataspace::Turn& turn, Interests& interests, const PresenceContext& context,
                       Ref<MountTable> mounts);

} // namespace muster::services
