#include "init/protocol/sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdio>

#include "init/base/fnv.h"
#include "init/preserves/text_writer.h"

namespace muster::protocol {

namespace {

constexpr int backlog = 128;
constexpr int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

// Whether somebody accepts connections there.
bool answers(const sockaddr_un& address) {
    Fd probe(socket(AF_UNIX, type, 0));
    auto* raw = reinterpret_cast<const sockaddr*>(&address);
    // EAGAIN: somebody does, and has too many waiting.
    return connect(probe.get(), raw, sizeof address) == 0 || errno == EAGAIN;
}

union InternetAddress {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
};

bool parse_address(const std::string& host, uint16_t port, InternetAddress& address) {
    address = {};
    const char* text = host == "localhost" ? "127.0.0.1" : host.c_str();
    if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(port);
        return true;
    }
    if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) != 1) return false;
    address.v6.sin6_family = AF_INET6;
    address.v6.sin6_port = htons(port);
    return true;
}

bool parse_path(const std::string& path, sockaddr_un& address) {
    address = {};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) return false;
    path.copy(address.sun_path, path.size());
    return true;
}

void set(int fd, int level, int option, int value) {
    setsockopt(fd, level, option, &value, sizeof value);
}

Result<Fd> begin_connect(const sockaddr* address, socklen_t size, const std::string& name) {
    Fd fd(socket(address->sa_family, type, 0));
    if (!fd) return system_error(name + ": socket", errno);
    if (connect(fd.get(), address, size) != 0 && errno != EINPROGRESS)
        return system_error("connect to " + name, errno);
    if (address->sa_family != AF_UNIX) prepare_tcp(fd.get());
    return fd;
}

} // namespace

std::string kept_socket_name(std::string_view kind, std::string_view address) {
    char text[24];
    std::snprintf(text, sizeof text, " %016llx", static_cast<unsigned long long>(fnv1a(address)));
    return std::string(kind) + text;
}

Result<Fd> listen_unix(const std::string& path, std::optional<mode_t> mode) {
    sockaddr_un address;
    if (!parse_path(path, address)) return Error{path + ": not a usable path for a socket"};
    Fd fd(socket(AF_UNIX, type, 0));
    if (!fd) return system_error("socket", errno);
    auto* raw = reinterpret_cast<const sockaddr*>(&address);
    // Nobody may connect before the mode is right: the socket is made without any permission.
    mode_t old_mask = umask(0777);
    int bound = bind(fd.get(), raw, sizeof address);
    if (bound != 0 && errno == EADDRINUSE) {
        if (answers(address)) {
            umask(old_mask);
            return Error{path + ": somebody else listens there"};
        }
        unlink(path.c_str());
        bound = bind(fd.get(), raw, sizeof address);
    }
    int error_number = errno;
    umask(old_mask);
    if (bound != 0) return system_error("bind " + path, error_number);
    if (chmod(path.c_str(), mode.value_or(0777 & ~old_mask)) != 0)
        return system_error("chmod " + path, errno);
    if (listen(fd.get(), backlog) != 0) return system_error("listen " + path, errno);
    return fd;
}

Result<Fd> listen_tcp(const std::string& host, int64_t port) {
    std::string name = "tcp " + host + " " + std::to_string(port);
    if (port < 1 || port > 65'535) return Error{name + ": not a port"};
    InternetAddress address;
    if (!parse_address(host, static_cast<uint16_t>(port), address))
        return Error{name + ": the host must be an IPv4 or IPv6 address, or localhost"};
    Fd fd(socket(address.any.sa_family, type, 0));
    if (!fd) return system_error(name + ": socket", errno);
    set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    bool v6 = address.any.sa_family == AF_INET6;
    if (v6) set(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (bind(fd.get(), &address.any, v6 ? sizeof address.v6 : sizeof address.v4) != 0)
        return system_error(name + ": bind", errno);
    if (listen(fd.get(), backlog) != 0) return system_error(name + ": listen", errno);
    return fd;
}

Result<Fd> begin_connect(preserves::View transport) {
    std::string name = preserves::to_text(transport);
    auto text = transport.at(0).as_string();
    if (transport.is_record("unix", 1) && text) {
        sockaddr_un address;
        if (!parse_path(std::string(*text), address))
            return Error{name + ": not a usable path for a socket"};
        return begin_connect(reinterpret_cast<const sockaddr*>(&address), sizeof address, name);
    }
    auto port = transport.at(1).as_int();
    if (!transport.is_record("tcp", 2) || !text || !port) return Error{""};
    InternetAddress address;
    if (*port < 1 || *port > 65'535) return Error{name + ": not a port"};
    if (!parse_address(std::string(*text), static_cast<uint16_t>(*port), address))
        return Error{name + ": the host must be an IPv4 or IPv6 address, or localhost"};
    bool v6 = address.any.sa_family == AF_INET6;
    return begin_connect(&address.any, v6 ? sizeof address.v6 : sizeof address.v4, name);
}

Result<> connected(int fd, preserves::View transport) {
    int error_number = 0;
    socklen_t size = sizeof error_number;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error_number, &size) != 0) error_number = errno;
    if (error_number == 0) return {};
    return system_error("connect to " + preserves::to_text(transport), error_number);
}

void prepare_tcp(int fd) {
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60); // seconds
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

} // namespace muster::protocol
