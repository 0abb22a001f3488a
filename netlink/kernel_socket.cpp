#include "netlink/kernel_socket.h"

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace muster::netlink {

void KernelSocket::Close::operator()(mnl_socket* socket) const { ::mnl_socket_close(socket); }

int KernelSocket::fd() const { return ::mnl_socket_get_fd(socket_.get()); }

Result<KernelSocket> KernelSocket::open(int protocol, std::span<const unsigned> groups,
                                        bool credentials, int buffer) {
    KernelSocket made(::mnl_socket_open2(protocol, SOCK_CLOEXEC | SOCK_NONBLOCK), credentials);
    mnl_socket* const socket = made.socket_.get();
    if (!socket) return system_error("netlink socket", errno);
    if (::mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) != 0)
        return system_error("netlink socket: bind", errno);
    // Without the privilege the common limit stands.
    if (::setsockopt(made.fd(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) != 0)
        ::setsockopt(made.fd(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    const int on = 1;
    if (credentials && ::setsockopt(made.fd(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0)
        return system_error("netlink socket: SO_PASSCRED", errno);
    for (unsigned group : groups) {
        if (::mnl_socket_setsockopt(socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
            return system_error("netlink socket: NETLINK_ADD_MEMBERSHIP", errno);
    }
    return made;
}

namespace {

bool is_kernels(const msghdr& header) {
    msghdr copy = header; // CMSG_NXTHDR of musl wants it mutable
    for (cmsghdr* c = CMSG_FIRSTHDR(&copy); c != nullptr; c = CMSG_NXTHDR(&copy, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS) continue;
        ucred who;
        std::memcpy(&who, CMSG_DATA(c), sizeof who);
        return who.pid == 0 && who.uid == 0;
    }
    return false;
}

} // namespace

KernelSocket::Received KernelSocket::receive(std::span<char> buffer, std::string_view& message) {
    for (;;) {
        sockaddr_nl sender{};
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
        iovec part{buffer.data(), buffer.size()};
        msghdr header{};
        header.msg_name = &sender;
        header.msg_namelen = sizeof sender;
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        const ssize_t size = ::recvmsg(fd(), &header, MSG_CMSG_CLOEXEC);
        if (size < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN) return Received::empty;
            return errno == ENOBUFS ? Received::lost : Received::failed;
        }
        if (header.msg_namelen != sizeof sender || sender.nl_pid != 0) continue;
        if (credentials_ && !is_kernels(header)) continue;
        if ((header.msg_flags & MSG_TRUNC) != 0) return Received::lost;
        message = {buffer.data(), static_cast<size_t>(size)};
        return Received::message;
    }
}

Result<> KernelSocket::send(const nlmsghdr* request) {
    if (::mnl_socket_sendto(socket_.get(), request, request->nlmsg_len) < 0)
        return system_error("netlink socket: send", errno);
    return {};
}

} // namespace muster::netlink
