// `<client S "NAME">`, in `$machine`: somebody has come to a listening socket of service S, and S
// does not run.
//
// Whoever asks for it has the sockets of S opened, those that `listen` names in `<daemon ID SPEC>`
// (services/daemon/listen_sockets.h), whether or not S is needed. NAME is what LISTEN_FDNAMES calls
// the socket.
//
//   waiting    S does not run, or is complete; the sockets are watched
//     |  one is readable
//     v
//   come       `<client S NAME>` is asserted; that socket is not watched
//     |  S is started, ready or failed
//     v
//   left to S  nothing is asserted or watched: who comes now is the service's affair, also between
//     |        its end and its next start
//     |  S is complete, or nothing of it is left
//     v
//   waiting    once more; a little later, if S was started too often and left the clients where
//   they
//              were
//
// The same descriptors are handed over to the service each time; clients wait in their backlog.
#pragma once

#include "services/presence/interest.h"
#include "services/presence/presence.h"

namespace muster::services {

// From the current facet; nothing if there are no sockets in the context. What is to be known of
// observers is added to `interests`.
void serve_client_facts(dataspace::Turn& turn, Interests& interests,
                        const PresenceContext& context);

} // namespace muster::services
