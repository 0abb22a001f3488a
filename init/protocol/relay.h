// A relay: one connection that speaks the Syndicate protocol (reference 2.1 to 2.4).
//
// The relay is an actor. What the peer asserts at our exported oids it asserts here on the peer's
// behalf; what is sent to the proxies of the peer's oids it sends to the peer, one Turn for each
// turn that caused it. Both syntaxes are read, told apart by the first byte of each packet; output
// follows the syntax of the last packet read.
//
// Life: open; closed (end of file, an error on the descriptor, `<error …>` from the peer, a
// protocol error, which is reported to the peer by `<error …>` first, or a peer that is too slow).
// When it closes, everything that the peer asserted is retracted, unless it may linger, and
// `on_closed` is called once.
#pragma once

#include <functional>
#include <string>

#include "init/base/event_loop.h"
#include "init/dataspace/engine.h"

namespace muster::protocol {

// Bounds on what a peer may do; each has an <error …> that names it.
inline constexpr size_t max_packet = 16 * 1024 * 1024; // bytes
inline constexpr size_t max_turn_events = 100'000;
inline constexpr size_t max_live_handles = 10'000'000;
inline constexpr size_t max_live_oids = 1'000'000;
inline constexpr size_t max_live_bytes = 256 * 1024 * 1024; // asserted, and 64 for each assertion
inline constexpr size_t max_unanswered_syncs = 100'000;
// Of a stranger: see RelayOptions.
inline constexpr size_t max_stranger_packet = 64 * 1024;
inline constexpr size_t max_stranger_bytes = 256 * 1024;

struct RelayOptions {
    std::string name; // of the peer, for messages: "bus client 12", "daemon clock"
    // Exported to the peer as oid 0, or null.
    dataspace::CapRef initial_export;
    // The peer's oid 0, handed to `on_peer` in a turn of the relay when it starts.
    std::function<void(dataspace::Turn&, const dataspace::CapRef& peer)> on_peer;
    bool text_output = false; // until the peer speaks
    // How much may wait unsent, in bytes, behind the packet that is leaving (one large answer is
    // nobody's fault) before the connection is closed as too slow. Who may be closed so holds
    // nobody back: what is sent to it is on its own account. 0: no limit, the producers are held
    // back instead.
    size_t max_unsent = 0;
    // How long unsent bytes, or a packet that the peer has begun, may make no progress, in
    // nanoseconds; 0: for ever.
    uint64_t max_stall = 0;
    // What is less than the bounds above, for a peer that is trusted less.
    size_t packet_limit = max_packet;
    size_t handle_limit = max_live_handles;
    size_t oid_limit = max_live_oids;
    size_t held_limit = max_live_bytes;
    // Anybody may come, and has shown nothing: until a capability besides `initial_export` has been
    // given to it, it may say and hold little.
    bool stranger = false;
    // A peer that may come back: when the connection ends, what it asserted stays until the
    // Connection is destroyed. (A peer that breaks the protocol loses everything at once.)
    bool linger = false;
    // Not 0: the peer knew another relay on these descriptors, which died (design 6). It is told
    // `<resume N>`, and what it says is ignored up to the line `<resumed N>`. Text only.
    uint64_t resume = 0;
    // Called when the connection is closed, not in a turn; the text is empty for an orderly end.
    std::function<void(const std::string& reason)> on_closed;
};

class Relay;

// Owns a connection; destroying it closes the connection. What is unsent is lost.
class Connection {
  public:
    Connection();
    Connection(Connection&&) noexcept;
    Connection& operator=(Connection&&) noexcept;
    ~Connection();
    explicit operator bool() const { return static_cast<bool>(relay_); }

    // What its membrane holds (membrane.h): for status and tests.
    struct Counts {
        size_t capabilities;
        uint64_t pins;
    };
    Counts counts() const; // REQUIRES: not empty

    // Starts a relay on two descriptors, which may be the same stream socket (then pass it once
    // and an empty `output`). They are made non-blocking.
    static Connection start(dataspace::Engine& engine, EventLoop& loop, Fd input, Fd output,
                            RelayOptions options);

  private:
    explicit Connection(Ref<Relay> relay);
    void end();
    Ref<Relay> relay_;
};

} // namespace muster::protocol
