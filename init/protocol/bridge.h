// Bridges: how the dataspaces of two machines are joined, each giving the other no more than a line
// of its configuration says. The service
//
//   <bridge "PATH" #:export>
//
// listens on the Unix socket PATH (mode 0600). Whoever is connected there speaks for the other
// machine: it gets `export` as oid 0, and its own oid 0 is asserted in the configuration as
// `<bridge-peer "PATH" #:peer>` for as long as the connection lasts. `muster bridge` and `muster
// serve-stdio` lead any pair of pipes to such a socket. When the connection ends, all that the
// other machine had asserted is retracted.
//
// A machine that does not take what it is sent is let go as too slow: it holds nobody back.
#pragma once

#include <functional>
#include <string>

#include "init/base/event_loop.h"
#include "init/dataspace/actor.h"

namespace muster::protocol {

// Serves `<run-service <bridge …>>` in `config`, with the states `started`, `ready`, `failed`.
// Observes from the current facet. `report`: one line for people.
void serve_bridges(dataspace::Turn& turn, EventLoop& loop, const dataspace::CapRef& config,
                   std::function<void(const std::string&)> report);

} // namespace muster::protocol
