#include "services/presence/presence.h"

#include "services/presence/client_facts.h"
#include "services/presence/mount_facts.h"
#include "services/presence/path_facts.h"
#include "services/presence/time_facts.h"

namespace muster::services {

void serve_presence(dataspace::Turn& turn, PresenceContext context) {
    turn.spawn("presence", [context = std::move(context)](dataspace::Turn& boot) {
        auto mounts = make_ref<MountTable>(context.loop);
        auto interests = make_ref<Interests>();
        serve_mount_facts(boot, *interests, context, mounts);
        serve_path_facts(boot, *interests, context, mounts);
        serve_time_facts(boot, *interests, context);
        serve_client_facts(boot, *interests, context);
        interests->watch(boot, context.machine);
    });
}

} // namespace muster::services
