// `<mount "PATH" {…}>`: see presence.h.
#pragma once

#include "services/presence/mount_table.h"
#include "services/presence/presence.h"

namespace muster::services {

// From the current facet.
void serve_mount_facts(dataspace::Turn& turn, const PresenceContext& context,
                       Ref<MountTable> mounts);

} // namespace muster::services
