// Accepts connections on a listening socket and gives each of them a relay.
//
// Life of a peer: accepted; over TCP it waits for its first byte, by which what speaks HTTP is told
// apart, answered `503` and closed (reference 2.4: we serve none); admitted or refused; then it is
// a connection of its own (relay.h) until that is closed. Who is turned away is told why, and has
// 2 s to close; of 64 at a time: more are told and closed at once.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "init/protocol/relay.h"

namespace muster::protocol {

struct ListenerOptions {
    std::string name; // of its peers, for messages: "bus"
    // What a new peer on this socket gets; the listener gives it a name if it has none. The error
    // is for the peer: it is sent as `<error "…" #f>`, and the socket closed.
    std::function<Result<RelayOptions>(int socket)> admit;
    bool tcp = false;
    // Removes a socket file, say; may be null. Called when it ends, also when it cannot start.
    std::function<void()> at_end;
    // Told of peers that were closed for a reason, one line: "NAME client N: …". What a stranger
    // can make happen again and again is the same line each time: "accept NAME: …", "refuse NAME:
    // …".
    std::function<void(const std::string&)> report;
};

// Destroying it closes the socket and all connections.
class Listener {
  public:
    // `fd` listens (sockets.h).
    static Result<std::unique_ptr<Listener>> start(dataspace::Engine& engine, EventLoop& loop,
                                                   Fd fd, ListenerOptions options);
    ~Listener();

  private:
    struct State;
    explicit Listener(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace muster::protocol
