// Links and routes as assertions, kept true by the kernel's notifications.
//
// Links follow their notifications. Routes are added by theirs, but not every route that goes is
// announced (those of a link that goes down, those that are replaced), so after anything but a
// plain new route the table is read again and the difference is told; many changes at once lead to
// one reading. The same is done for both after notifications were lost.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "netlink/kernel_socket.h"
#include "netlink/network_messages.h"
#include "netlink/publisher.h"

struct nlmsghdr;

namespace muster::netlink {

class Network {
  public:
    // `sys` is where sysfs is mounted: it tells which links are wireless.
    Network(Publisher& publisher, std::string sys,
            int receive_buffer = KernelSocket::default_buffer)
        : publisher_(publisher), sys_(std::move(sys)), receive_buffer_(receive_buffer) {}

    // Opens the socket and asserts what is there.
    // ERRORS: no netlink; links and routes are not seen.
    Result<> start();
    bool running() const { return socket_.has_value(); }
    int fd() const { return socket_->fd(); }

    // Handles some notifications, in one turn. True if there may be more.
    bool handle();

  private:
    struct Interface {
        std::string name;
        Client::Handle handle;
        uint64_t hash;
        bool found = true; // by the running reading
    };
    struct Known {
        Client::Handle handle;
        bool found = true;
    };

    void handle_message(const nlmsghdr* message);
    void on_link(const Link& link);
    void on_route(const Route& route);
    void read_links();
    void read_routes();

    Publisher& publisher_;
    std::string sys_;
    int receive_buffer_; // bytes
    std::optional<KernelSocket> socket_;
    std::map<int, Interface> interfaces_;
    std::unordered_map<uint64_t, Known> routes_; // by the hash of the record
    bool links_stale_ = false;
    bool routes_stale_ = false;
};

} // namespace muster::netlink
