// The socket of sd_notify(3): NOTIFY_SOCKET. A service says there, in datagrams of NAME=VALUE
// lines, that it is ready and how it is.
//
// It is an abstract socket with a random name; in a network namespace of its own a service would
// not see that, so there it is a file in /run/muster/notify. The kernel says who sent a datagram:
// only root, and the user whom the service's process runs as, are heard.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "init/base/fd.h"
#include "init/base/result.h"

namespace muster::services {

struct Notification {
    bool ready = false;
    bool stopping = false;
    bool reloading = false;
    bool watchdog = false;               // still alive
    bool watchdog_trigger = false;       // it asks to be treated as if it were not
    std::optional<std::string> status;   // for people
    std::optional<int> error_number;     // errno
    pid_t main_pid = 0;                  // 0: not said
    uint64_t watchdog_time = 0;          // a new one, nanoseconds; 0: not said
    uint64_t extend_timeout = 0;         // nanoseconds; 0: not said
    std::optional<std::string> fd_store; // a descriptor is to be kept, which is refused: its name
};

// What cannot be understood is left out, as sd_notify(3) has it.
Notification parse_notification(std::string_view text);

class NotifySocket {
  public:
    // `file`: a path below /run/muster/notify instead of an abstract name.
    static Result<NotifySocket> open(bool file);

    // One that is open already, or none.
    static NotifySocket adopt(Fd fd);

    NotifySocket() = default;
    NotifySocket(NotifySocket&& other) noexcept = default;
    NotifySocket& operator=(NotifySocket&& other) noexcept;
    ~NotifySocket();

    int fd() const { return fd_.get(); }
    const std::string& address() const { return address_; } // as in NOTIFY_SOCKET
    // The next message, or nothing if there is none now. It stays the next until `consume`, so that
    // it is not lost with whoever was about to act upon it. `process`: whose user is heard.
    // Messages of others are passed over.
    std::optional<Notification> receive(pid_t process);
    void consume();

  private:
    Fd fd_;
    std::string address_;
};

} // namespace muster::services
