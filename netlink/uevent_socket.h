// The socket on which the kernel tells about devices (netlink(7), NETLINK_KOBJECT_UEVENT).
//
// Anybody with the privilege can send to the group's members, so every message is looked at: only
// the kernel has the port 0, and its credentials are pid 0, uid 0. Everything else is dropped.
#pragma once

#include <array>
#include <string_view>

#include "init/base/fd.h"
#include "init/base/result.h"

namespace muster::netlink {

class UeventSocket {
  public:
    // Opens and joins the kernel's group; from here on nothing is missed without notice.
    static Result<UeventSocket> open();

    enum class Received : uint8_t {
        message, // `message` has it
        empty,   // nothing is waiting
        lost,    // the kernel dropped messages since (ENOBUFS); others may still be waiting
        failed,  // errno tells
    };
    // An event has at most 2048 bytes of keys, and the path.
    using Buffer = std::array<char, 8192>;
    // Does not block. `message` lies in `buffer`.
    Received receive(Buffer& buffer, std::string_view& message);

    int fd() const { return fd_.get(); }
    // How much the kernel may keep for us, in bytes.
    static constexpr int receive_buffer = 16 * 1024 * 1024;

  private:
    explicit UeventSocket(Fd fd) : fd_(std::move(fd)) {}

    Fd fd_;
};

} // namespace muster::netlink
