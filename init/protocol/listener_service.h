// A listener as a service in a configuration dataspace: its states, and another attempt when it
// could not listen. What relay_listener.h and bridge.h have in common.
#pragma once

#include <functional>
#include <optional>

#include "init/protocol/listener.h"

namespace muster::protocol {

struct ListenerService {
    dataspace::CapRef config;
    preserves::Value name; // the service: `<relay-listener …>`
    // Opens the socket; may set `name`, `tcp` and `at_end` of the options.
    std::function<Result<Fd>(ListenerOptions& options)> open;
    std::function<Result<RelayOptions>(int socket)> admit;
    std::function<void(const std::string&)> report; // one line for people
};

// Runs it until the current facet stops, and keeps that alive: publishes `<service-state NAME
// STATE>` with the states `started`, `ready` and `failed`. What cannot be listened on is tried
// again, soon and then every 10 seconds.
void run_listener(dataspace::Turn& turn, EventLoop& loop, ListenerService service);

} // namespace muster::protocol
