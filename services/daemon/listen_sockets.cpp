#include "services/daemon/listen_sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "init/preserves/text_writer.h"
#include "init/preserves/utf8.h"
#include "init/protocol/sockets.h"

namespace muster::services {

using preserves::Kind;
using preserves::Value;
using preserves::View;

namespace {

constexpr int usual_backlog = 128;

// A SOCKET, read.
struct Address {
    enum class Family : uint8_t { internet, unix_, fifo };
    Family family = Family::internet;
    int type = SOCK_STREAM;
    union {
        sockaddr any;
        sockaddr_in v4;
        sockaddr_in6 v6;
        sockaddr_un local;
    } socket{};
    socklen_t size = 0;
    std::string path; // a file; empty if there is none
    std::string name;
    mode_t mode = 0666;
    std::string user, group; // names or numbers; empty: ours
    int backlog = usual_backlog;
};

Error wrong(View what, std::string_view expected) {
    std::string text = preserves::to_text(what);
    if (text.size() > 80) text = std::string(preserves::utf8_head(text, 77)) + "…";
    return Error{text + " is not " + std::string(expected)};
}

std::string named(View value) {
    if (auto number = value.as_int()) return std::to_string(*number);
    return std::string(value.as_text().value_or(""));
}

Result<> parse_internet(View socket, Address& address) {
    auto host = socket.at(0).as_string();
    auto port = socket.at(1).as_int();
    if (!host) return wrong(socket.at(0), "an IPv4 or IPv6 address, or \"localhost\"");
    if (!port || *port < 1 || *port > 65'535) return wrong(socket.at(1), "a port");
    std::string text = *host == "localhost" ? "127.0.0.1" : std::string(*host);
    auto number = htons(static_cast<uint16_t>(*port));
    if (inet_pton(AF_INET, text.c_str(), &address.socket.v4.sin_addr) == 1) {
        address.socket.v4.sin_family = AF_INET;
        address.socket.v4.sin_port = number;
        address.size = sizeof address.socket.v4;
        return {};
    }
    if (inet_pton(AF_INET6, text.c_str(), &address.socket.v6.sin6_addr) != 1)
        return wrong(socket.at(0), "an IPv4 or IPv6 address, or \"localhost\"");
    address.socket.v6.sin6_family = AF_INET6;
    address.socket.v6.sin6_port = number;
    address.size = sizeof address.socket.v6;
    return {};
}

Result<> parse_path(View value, Address& address) {
    auto path = value.as_string();
    bool abstract = path && path->size() > 1 && path->front() == '@';
    if (!path || path->find('\0') != std::string_view::npos ||
        !(path->starts_with("/") || (abstract && address.family == Address::Family::unix_)))
        return wrong(value, "an absolute path");
    size_t slash = path->find_last_of("/@");
    address.name = path->substr(slash + 1);
    if (address.family == Address::Family::unix_) {
        sockaddr_un& local = address.socket.local;
        if (path->size() >= sizeof local.sun_path) return wrong(value, "short enough for a socket");
        local.sun_family = AF_UNIX;
        path->copy(local.sun_path, path->size());
        if (abstract) local.sun_path[0] = '\0';
        address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path->size() +
                                              (abstract ? 0 : 1));
    }
    if (!abstract) address.path = *path;
    return {};
}

bool parse_octal(View value, mode_t& mode) {
    auto text = value.as_string();
    if (!text || text->empty() || text->size() > 5) return false;
    mode = 0;
    for (char c : *text) {
        if (c < '0' || c > '7') return false;
        mode = mode * 8 + static_cast<mode_t>(c - '0');
    }
    return mode <= 07777;
}

Result<> parse_option(std::string_view key, View value, Address& address) {
    bool file = address.family != Address::Family::internet;
    if (key == "name") {
        auto name = value.as_text();
        // The names are separated by colons, sd_listen_fds_with_names(3).
        if (!name || name->empty() || name->size() > 255 ||
            name->find_first_of(std::string_view(":\n\0", 3)) != std::string_view::npos)
            return wrong(value, "a name").with_context(key);
        address.name = *name;
        return {};
    }
    if (key == "backlog") {
        auto backlog = value.as_int();
        if (!backlog || *backlog < 1 || *backlog > 65'535)
            return wrong(value, "a number from 1 to 65535").with_context(key);
        address.backlog = static_cast<int>(*backlog);
        return {};
    }
    if (file && key == "mode") {
        if (parse_octal(value, address.mode)) return {};
        return wrong(value, "an octal number in a string").with_context(key);
    }
    if (file && (key == "user" || key == "group")) {
        std::string text = named(value);
        if (text.empty()) return wrong(value, "a name or a number").with_context(key);
        (key == "user" ? address.user : address.group) = text;
        return {};
    }
    if (address.family == Address::Family::unix_ && key == "type") {
        auto type = value.as_symbol();
        address.type = type == "stream"      ? SOCK_STREAM
                       : type == "datagram"  ? SOCK_DGRAM
                       : type == "seqpacket" ? SOCK_SEQPACKET
                                             : 0;
        if (address.type == 0)
            return wrong(value, "stream, datagram or seqpacket").with_context(key);
        return {};
    }
    return Error{"unknown field " + std::string(key)};
}

Result<Address> parse(View socket) {
    Address address;
    size_t fields = 1;
    Result<> good;
    if (socket.is_record("tcp", 2) || socket.is_record("udp", 2)) {
        fields = 2;
        address.name = *socket.label().as_symbol();
        if (address.name == "udp") address.type = SOCK_DGRAM;
        good = parse_internet(socket, address);
    } else if (socket.is_record("unix", 1) || socket.is_record("fifo", 1)) {
        address.family =
            socket.is_record("unix", 1) ? Address::Family::unix_ : Address::Family::fifo;
        good = parse_path(socket.at(0), address);
    } else {
        return wrong(socket, "<tcp \"HOST\" PORT>, <udp \"HOST\" PORT>, <unix \"PATH\"> or "
                             "<fifo \"PATH\">");
    }
    if (!good) return good.error();
    if (socket.count() == fields) return address;
    View options = socket.at(fields);
    if (socket.count() > fields + 1 || !options.is(Kind::dictionary))
        return wrong(socket, "one with a dictionary of options");
    View key;
    for (View item : options.items()) {
        if (!key.valid()) {
            key = item;
            continue;
        }
        if (!key.as_symbol()) return Error{"unknown field " + preserves::to_text(key)};
        good = parse_option(*key.as_symbol(), item, address);
        if (!good) return good.error();
        key = View();
    }
    return address;
}

// Whatever other options it has.
std::string keeping_name(const Address& address) {
    std::string bytes;
    auto add = [&bytes](const void* at, size_t size) {
        bytes.append(static_cast<const char*>(at), size);
    };
    add(&address.family, sizeof address.family);
    add(&address.type, sizeof address.type);
    add(&address.socket.any, address.size);
    bytes += address.path;
    return protocol::kept_socket_name("listen", bytes);
}

// Numbers, or what the files of the system say (passwd(5), group(5)).
Result<> set_owner(const Address& address) {
    if (address.user.empty() && address.group.empty()) return {};
    auto number = [](const std::string& text) {
        return text.find_first_not_of("0123456789") == std::string::npos;
    };
    uid_t user = static_cast<uid_t>(-1);
    gid_t group = static_cast<gid_t>(-1);
    if (number(address.user) && !address.user.empty()) {
        user = static_cast<uid_t>(std::strtoul(address.user.c_str(), nullptr, 10));
    } else if (!address.user.empty()) {
        const passwd* entry = ::getpwnam(address.user.c_str());
        if (entry == nullptr) return Error{"no user " + address.user};
        user = entry->pw_uid;
    }
    if (number(address.group) && !address.group.empty()) {
        group = static_cast<gid_t>(std::strtoul(address.group.c_str(), nullptr, 10));
    } else if (!address.group.empty()) {
        const struct group* entry = ::getgrnam(address.group.c_str());
        if (entry == nullptr) return Error{"no group " + address.group};
        group = entry->gr_gid;
    }
    if (::chown(address.path.c_str(), user, group) != 0) return system_error("chown", errno);
    return {};
}

// Whether somebody uses the socket file.
bool in_use(const Address& address) {
    Fd probe(::socket(AF_UNIX, address.type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    return ::connect(probe.get(), &address.socket.any, address.size) == 0 || errno == EAGAIN ||
           errno == EPROTOTYPE;
}

Result<Fd> bind_unix(const Address& address, Fd fd) {
    mode_t mask = ::umask(0777); // nobody may connect before the owner is right
    int bound = ::bind(fd.get(), &address.socket.any, address.size);
    if (bound != 0 && errno == EADDRINUSE && !address.path.empty() && !in_use(address)) {
        ::unlink(address.path.c_str());
        bound = ::bind(fd.get(), &address.socket.any, address.size);
    }
    int error_number = errno;
    ::umask(mask);
    if (bound != 0)
        return error_number == EADDRINUSE ? Error{"somebody else listens there", error_number}
                                          : system_error("bind", error_number);
    return fd;
}

Result<Fd> open_fifo(const Address& address) {
    if (::mkfifo(address.path.c_str(), 0) != 0 && errno != EEXIST)
        return system_error("mkfifo", errno);
    // For both, so that it neither blocks now nor ends when a writer goes.
    Fd fd(::open(address.path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    struct stat about {};
    if (!fd || ::fstat(fd.get(), &about) != 0) return system_error("open", errno);
    if (!S_ISFIFO(about.st_mode)) return Error{"it is no fifo"};
    ::fcntl(fd.get(), F_SETFL, 0); // blocking
    return fd;
}

// All that may change while it is open.
Result<> set_options(const Address& address, int fd) {
    if (!address.path.empty()) {
        if (auto owned = set_owner(address); !owned) return owned.error();
        if (::chmod(address.path.c_str(), address.mode) != 0) return system_error("chmod", errno);
    }
    if (address.family != Address::Family::fifo && address.type != SOCK_DGRAM &&
        ::listen(fd, address.backlog) != 0)
        return system_error("listen", errno);
    return {};
}

Result<Fd> make(const Address& address) {
    Fd fd;
    if (address.family == Address::Family::fifo) {
        auto fifo = open_fifo(address);
        if (!fifo) return fifo;
        fd = std::move(*fifo);
    } else {
        fd.reset(::socket(address.socket.any.sa_family, address.type | SOCK_CLOEXEC, 0));
        if (!fd) return system_error("socket", errno);
        int on = 1, off = 0;
        if (address.family == Address::Family::unix_) {
            auto bound = bind_unix(address, std::move(fd));
            if (!bound) return bound;
            fd = std::move(*bound);
        } else {
            // Not for datagrams: two that share a port would share its packets.
            if (address.type == SOCK_STREAM)
                ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
            if (address.socket.any.sa_family == AF_INET6)
                ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
            if (::bind(fd.get(), &address.socket.any, address.size) != 0)
                return system_error("bind", errno);
        }
    }
    if (auto set = set_options(address, fd.get()); !set) return set.error();
    return fd;
}

} // namespace

struct ListenSocket::Table {
    std::unordered_map<Value, ListenSocket*, preserves::ValueHash, preserves::ValueEqual> open;
    FdKeeper keeper;
};

ListenSocket::~ListenSocket() {
    table_->open.erase(address_);
    if (!path_.empty()) ::unlink(path_.c_str());
    if (!kept_.empty() && table_->keeper) table_->keeper.drop(kept_);
}

ListenSockets::ListenSockets() : open_(std::make_shared<ListenSocket::Table>()) {}

void ListenSockets::set_keeper(FdKeeper keeper) { open_->keeper = std::move(keeper); }

Result<> ListenSockets::check(View socket) {
    auto address = parse(socket);
    if (!address) return address.error();
    return {};
}

Result<Ref<ListenSocket>> ListenSockets::open(View socket) {
    if (auto known = open_->open.find(socket); known != open_->open.end())
        return Ref<ListenSocket>(known->second);
    auto address = parse(socket);
    if (!address) return address.error();
    auto made = make_ref<ListenSocket>();
    made->table_ = open_;
    made->address_ = Value(socket);
    made->name_ = address->name;
    const FdKeeper& keeper = open_->keeper;
    std::string name = keeping_name(*address);
    // With other options it is the same socket, which goes over to this one.
    auto same = std::find_if(open_->open.begin(), open_->open.end(),
                             [&](const auto& each) { return each.second->kept_ == name; });
    if (same != open_->open.end())
        made->fd_.reset(::fcntl(same->second->fd_.get(), F_DUPFD_CLOEXEC, 3));
    else if (keeper)
        made->fd_ = keeper.take(name);
    bool there = static_cast<bool>(made->fd_);
    if (there && !address->path.empty() && ::access(address->path.c_str(), F_OK) != 0)
        there = false; // somebody has removed it: nobody could come to it
    Result<Fd> fd = there ? std::move(made->fd_) : make(*address);
    if (fd && there)
        if (auto set = set_options(*address, fd->get()); !set) fd = set.error();
    if (!fd) return fd.error().with_context(preserves::to_text(socket));
    made->fd_ = std::move(*fd);
    if (same != open_->open.end()) {
        same->second->path_.clear();
        same->second->kept_.clear();
    }
    if (!there && keeper) {
        keeper.drop(name);                         // there may be none
        (void)keeper.store(name, made->fd_.get()); // without room it works until we die
    }
    made->path_ = address->path;
    made->kept_ = std::move(name);
    open_->open.emplace(made->address_, made.get());
    return made;
}

Result<std::vector<Ref<ListenSocket>>> ListenSockets::open_all(View list) {
    std::vector<Ref<ListenSocket>> sockets;
    if (!list.valid()) return sockets;
    for (View each : list.items()) {
        auto socket = open(each);
        if (!socket) return socket.error();
        sockets.push_back(std::move(*socket));
    }
    return sockets;
}

} // namespace muster::services
