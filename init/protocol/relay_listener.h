// The service `<relay-listener ADDRESS #:cap>`: peers that connect at ADDRESS get the capability as
// oid 0 (reference 2.5, 3.6).
//
//   <unix "path">         a socket file; the umask decides who may connect
//   <tcp "host" port>     host: an IPv4 or IPv6 address, or localhost
//
// Producers are held back when a peer does not read what they send it (reference 5), except on the
// system bus, where it is the peer that goes: a Unix socket that serves the capability `bus`.
#pragma once

#include <functional>
#include <string>

#include "init/base/fd_keeper.h"
#include "init/protocol/listener.h"

namespace muster::protocol {

struct RelayListeners {
    // One line for people.
    std::function<void(const std::string&)> report;
    // What makes a Unix socket a system bus, and what each of its peers gets. Null: there is none.
    dataspace::CapRef bus;
    std::function<Result<RelayOptions>(int socket)> admit_to_bus;
    mode_t bus_mode = 0666; // of the socket file
    // Of all their sockets: who connects when we have died waits for our successor. May be none.
    FdKeeper keeper;
};

// Serves `<run-service <relay-listener …>>` in `config`, with the states `started`, `ready` and
// `failed`. Observes from the current facet. What cannot be listened on is tried again, soon and
// then every 10 seconds.
// The form with a third field, an HTTP dataspace, starts the same listener, under the name without
// it; that HTTP is not served is said once.
void serve_relay_listeners(dataspace::Turn& turn, EventLoop& loop, const dataspace::CapRef& config,
                           RelayListeners options);

} // namespace muster::protocol
