// Stream sockets to listen on and to connect with: unix(7), tcp(7), ipv6(7). All of them
// non-blocking, close-on-exec.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "init/base/fd.h"
#include "init/base/result.h"
#include "init/preserves/value.h"

namespace muster::protocol {

// A socket file that nobody listens on any more is replaced; one that is in use is an error.
// Without a mode the umask decides who may connect, as it does for any file.
Result<Fd> listen_unix(const std::string& path, std::optional<mode_t> mode = {});

// `host`: an IPv4 or IPv6 address, or `localhost` for 127.0.0.1; `::` hears both families. Names
// are not looked up: what listens knows where. Port 0 is refused.
Result<Fd> listen_tcp(const std::string& host, int64_t port);

// Begins to connect to `<unix "PATH">` or `<tcp "HOST" PORT>` (reference 2.5), HOST as above. The
// socket becomes writable when it is decided how that went, which `connected` then says.
// ERRORS: a transport of another kind (the text is empty); what is known at once.
Result<Fd> begin_connect(preserves::View transport);
Result<> connected(int fd, preserves::View transport);

// What a listening socket is kept by (fd_keeper.h): the same in each second stage, and short
// whatever the address is.
std::string kept_socket_name(std::string_view kind, std::string_view address);

// What a connection over TCP needs, once it is accepted: packets leave at once, and a peer whose
// machine has vanished is noticed within two minutes.
void prepare_tcp(int fd);

} // namespace muster::protocol
