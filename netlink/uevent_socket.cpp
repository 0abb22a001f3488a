#include "netlink/uevent_socket.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace muster::netlink {

Result<UeventSocket> UeventSocket::open() {
    Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
    if (!fd) return system_error("uevents: socket", errno);
    // Memory is only taken for what waits. Without the privilege the common limit stands.
    const int size = receive_buffer;
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
        ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    const int on = 1;
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0)
        return system_error("uevents: SO_PASSCRED", errno);
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = 1; // the kernel's; 2 is udev's
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return system_error("uevents: bind", errno);
    return UeventSocket(std::move(fd));
}

namespace {

bool from_kernel(const msghdr& header, const sockaddr_nl& sender) {
    if (header.msg_namelen != sizeof sender || sender.nl_family != AF_NETLINK) return false;
    if (sender.nl_pid != 0 || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return false;
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

UeventSocket::Received UeventSocket::receive(Buffer& buffer, std::string_view& message) {
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
        const ssize_t size = ::recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC);
        if (size < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN) return Received::empty;
            return errno == ENOBUFS ? Received::lost : Received::failed;
        }
        if (!from_kernel(header, sender)) continue;
        message = {buffer.data(), static_cast<size_t>(size)};
        return Received::message;
    }
}

} // namespace muster::netlink
