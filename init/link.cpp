#include "init/link.h"

#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <unistd.h>

namespace muster::pid1 {

void Attached::close_from(std::uint32_t first) {
    for (; count > first; --count)
        close(fds[count - 1]);
}

int send_record(int socket, const records::Record& record, const int* fds, std::uint32_t count) {
    iovec data{const_cast<records::Record*>(&record), sizeof record};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * records::kSlotFds)] = {};
    if (count > 0) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        cmsghdr* part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int) * count);
        std::memcpy(CMSG_DATA(part), fds, sizeof(int) * count);
    }
    if (sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    return errno == EINTR || errno == ENOBUFS ? -EAGAIN : -errno;
}

int receive_record(int socket, records::Record& record, Attached& attached) {
    iovec data{&record, sizeof record};
    msghdr message{};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * records::kSlotFds)];
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control; // no more than fit are ever installed
    ssize_t size = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    // The other end died with records of ours unread: said once, before what it had sent.
    if (size < 0 && errno == ECONNRESET)
        size = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0) return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (size == 0) return -EPIPE;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
         part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
        std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd;
            std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            // CMSG_SPACE is aligned up: there may be one more than we asked for.
            if (attached.count < records::kSlotFds)
                attached.fds[attached.count++] = fd;
            else
                close(fd);
        }
    }
    if (size == static_cast<ssize_t>(sizeof record) && !(message.msg_flags & MSG_TRUNC) &&
        record.magic == records::kMagic && record.version == records::kVersion)
        return 1;
    attached.close_from(0);
    return -EBADMSG;
}

} // namespace muster::pid1
