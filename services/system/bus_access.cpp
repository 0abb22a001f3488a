#include "services/system/bus_access.h"

#include <sys/socket.h>

#include <cerrno>

namespace muster::services {

namespace {

// What a peer may leave unread, and for how long, before it is closed as too slow.
constexpr size_t max_unsent_of_root = 4 * 1024 * 1024; // bytes
constexpr uint64_t max_stall = 30 * second;

} // namespace

Result<protocol::RelayOptions> BusAccess::admit(int socket) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return system_error("who is there? SO_PEERCRED", errno);
    if (peer.uid != 0 && peer.uid != owner_) return admit_other(peer.uid);
    protocol::RelayOptions relay;
    relay.initial_export = config_;
    relay.max_unsent = max_unsent_of_root;
    relay.max_stall = max_stall;
    return relay;
}

Result<protocol::RelayOptions> BusAccess::admit_other(uid_t user) {
    if (others_ >= max_others) return Error{"too many connections of users that are not root"};
    size_t& connections = connections_[user];
    if (connections >= max_per_user)
        return Error{"too many connections of user " + std::to_string(user)};
    ++connections;
    ++others_;
    protocol::RelayOptions relay;
    relay.initial_export = window_;
    relay.max_unsent = max_unsent;
    relay.max_stall = max_stall;
    relay.packet_limit = max_packet;
    relay.handle_limit = max_assertions;
    relay.oid_limit = max_assertions;
    relay.on_closed = [this, user](const std::string&) {
        --others_;
        if (--connections_[user] == 0) connections_.erase(user);
    };
    return relay;
}

} // namespace muster::services
