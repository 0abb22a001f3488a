// A netlink socket that listens to the kernel and to nobody else (netlink(7)).
//
// Who has the privilege can send to the members of a group as well, so every message is looked at:
// only the kernel has the port 0, and its credentials are pid 0, uid 0. Everything else is dropped.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "init/base/result.h"

struct mnl_socket;
struct nlmsghdr;

namespace muster::netlink {

class KernelSocket {
  public:
    // Opens without blocking and joins multicast `groups`; from here on nothing they tell is missed
    // without notice. `credentials`: also look at the sender's. (In a user namespace those of
    // NETLINK_ROUTE are not root's, so there the port has to do.) The kernel keeps up to `buffer`
    // bytes for us; memory is only taken for what waits.
    static Result<KernelSocket> open(int protocol, std::span<const unsigned> groups,
                                     bool credentials, int buffer = default_buffer);
    static constexpr int default_buffer = 16 * 1024 * 1024;

    enum class Received : uint8_t {
        message, // `message` has it
        empty,   // nothing is waiting
        lost,    // the kernel dropped messages (ENOBUFS); others may still be waiting
        failed,  // errno tells
    };
    // Does not block. `message` is the datagram, in `buffer`; one that does not fit is dropped and
    // counts as lost.
    Received receive(std::span<char> buffer, std::string_view& message);

    // Sends a request to the kernel.
    Result<> send(const nlmsghdr* request);

    int fd() const;

  private:
    struct Close {
        void operator()(mnl_socket* socket) const;
    };
    KernelSocket(mnl_socket* socket, bool credentials)
        : socket_(socket), credentials_(credentials) {}

    std::unique_ptr<mnl_socket, Close> socket_;
    bool credentials_;
};

} // namespace muster::netlink
