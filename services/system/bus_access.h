// Who gets what on the system bus: the peer's user as the kernel says (unix(7), SO_PEERCRED).
//
//   root, and whoever runs this program   `$config`, as oid 0
//   everybody else                        `$status` through a window (window.h): to look at
//
// Those others are bounded, each bound with an `<error …>` that names it: nobody can use up this
// process. A peer that does not read what is sent to it is closed as too slow, whoever it is, and
// holds nobody else back.
#pragma once

#include <sys/types.h>

#include <map>

#include "init/protocol/relay.h"

namespace muster::services {

class BusAccess {
  public:
    static constexpr size_t max_per_user = 16;      // connections
    static constexpr size_t max_others = 128;       // connections of all users but root together
    static constexpr size_t max_assertions = 32;    // that live, in one connection: its observers
    static constexpr size_t max_packet = 16 * 1024; // bytes, read from one of them
    static constexpr size_t max_unsent = 1024 * 1024;
    static constexpr size_t max_seen = 1024 * 1024; // bytes, through one connection (window.h)

    // `owner`: this program's own user. `window`: one that keeps max_seen.
    BusAccess(dataspace::CapRef config, dataspace::CapRef window, uid_t owner)
        : config_(std::move(config)), window_(std::move(window)), owner_(owner) {}

    // For a new peer on a Unix socket. ERRORS: for the peer, why it is refused. Must outlive it.
    Result<protocol::RelayOptions> admit(int socket);

  private:
    Result<protocol::RelayOptions> admit_other(uid_t user);

    dataspace::CapRef config_;
    dataspace::CapRef window_;
    uid_t owner_;
    std::map<uid_t, size_t> connections_; // of users other than root and the owner
    size_t others_ = 0;
};

} // namespace muster::services
