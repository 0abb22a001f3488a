// Sockets that are opened for a service and handed over to it: `listen: [SOCKET …]`.
//
//   SOCKET = <tcp "HOST" PORT>       HOST: an IPv4 or IPv6 address, or localhost; names are not
//          | <udp "HOST" PORT>             looked up. `::` hears both families
//          | <unix "PATH">           "@NAME": an abstract one
//          | <fifo "PATH">           opened for reading and writing
//   with a dictionary as one more field, if need be:
//     name     "text"                      what LISTEN_FDNAMES calls it; else the PATH's last part,
//                                          or tcp, udp
//     type     stream datagram seqpacket   of a unix socket; stream
//     mode     "octal"                     of the PATH; "0666"
//     user     "name" or number            who owns the PATH; root
//     group    "name" or number
//     backlog  1 to 65535                  128
//
// A service gets them as descriptors 3 and up, in this order, blocking, with LISTEN_FDS,
// LISTEN_PID and LISTEN_FDNAMES in its environment (sd_listen_fds(3)). They stay open here for as
// long as somebody holds them: when the service ends, new clients wait.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "init/base/fd.h"
#include "init/base/fd_keeper.h"
#include "init/base/ref.h"
#include "init/base/result.h"
#include "init/preserves/value.h"

namespace muster::services {

class ListenSocket : public Counted {
  public:
    ~ListenSocket() override;

    int fd() const { return fd_.get(); }                         // readable: a client has come
    const preserves::Value& address() const { return address_; } // the whole SOCKET
    const std::string& name() const { return name_; }

  private:
    friend class ListenSockets;
    struct Table;
    std::shared_ptr<Table> table_; // that it is in
    Fd fd_;
    preserves::Value address_;
    std::string name_;
    std::string path_; // to be removed in the end; empty if there is none
    std::string kept_; // its name with the keeper
};

// All that are open. The same SOCKET twice is the same descriptor.
class ListenSockets {
  public:
    ListenSockets();

    // What is wrong with a SOCKET, or with a list of them; nothing is opened.
    static Result<> check(preserves::View socket);

    // ERRORS: those of `check`; somebody else listens there; the system's.
    Result<Ref<ListenSocket>> open(preserves::View socket);
    // All of a list, or none.
    Result<std::vector<Ref<ListenSocket>>> open_all(preserves::View list);
    // Who keeps them open over our death, each under a name that follows from the SOCKET. To be
    // set before any is opened.
    void set_keeper(FdKeeper keeper);

  private:
    std::shared_ptr<ListenSocket::Table> open_;
};

} // namespace muster::services
