// Listens on a Unix socket and gives every connection a relay (unix(7); reference 3.6).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "init/protocol/relay.h"

namespace muster::protocol {

struct ListenerOptions {
    std::string name;          // of peers, for messages: "bus"
    dataspace::CapRef export_; // what every peer gets as oid 0
    mode_t mode = 0600;        // of the socket file
    size_t max_unsent = 0;     // as in RelayOptions
    uint64_t max_stall = 0;
    // Told of peers that were closed for a reason, one line.
    std::function<void(const std::string&)> report;
};

// Destroying it closes the socket, removes its file, and closes all connections.
class UnixListener {
  public:
    // A socket file that nobody listens on any more is replaced; one that is in use is an error.
    static Result<std::unique_ptr<UnixListener>> listen(dataspace::Engine& engine, EventLoop& loop,
                                                        const std::string& path,
                                                        ListenerOptions options);
    ~UnixListener();

  private:
    struct State;
    explicit UnixListener(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// Serves `<run-service <relay-listener <unix PATH> #:cap>>` in `config`: a listener whose peers get
// the capability as oid 0, with the states `started`, `ready` and `failed`. Observes from the
// current facet. A path that cannot be listened on is tried again, soon and then every 10 seconds.
void serve_relay_listeners(dataspace::Turn& turn, EventLoop& loop, const dataspace::CapRef& config,
                           ListenerOptions defaults);

} // namespace muster::protocol
