#include "services/daemon/notify_socket.h"

#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "init/preserves/utf8.h"

namespace muster::services {

namespace {

constexpr const char* folder = "/run/muster/notify";
constexpr size_t longest_status = 200; // bytes shown
constexpr size_t most_descriptors = 16;

bool number_of(std::string_view text, uint64_t& number) {
    if (text.empty() || text.size() > 18) return false;
    number = 0;
    for (char c : text) {
        if (c < '0' || c > '9') return false;
        number = number * 10 + static_cast<uint64_t>(c - '0');
    }
    return true;
}

std::string for_people(std::string_view text) {
    std::string result(text.substr(0, longest_status));
    while (!result.empty() && !preserves::is_utf8(result) && text.size() > longest_status)
        result.pop_back(); // cut within a character
    if (!preserves::is_utf8(result)) return "?";
    return result;
}

} // namespace

Notification parse_notification(std::string_view text) {
    Notification said;
    bool store = false;
    std::string store_name = "stored";
    while (!text.empty()) {
        size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end == text.npos ? text.size() : end + 1);
        size_t equals = line.find('=');
        if (equals == line.npos) continue;
        std::string_view name = line.substr(0, equals);
        std::string_view value = line.substr(equals + 1);
        uint64_t number = 0;
        bool numeric = number_of(value, number);
        if (name == "READY") said.ready = value == "1";
        if (name == "STOPPING") said.stopping = value == "1";
        if (name == "RELOADING") said.reloading = value == "1";
        if (name == "STATUS") said.status = for_people(value);
        if (name == "ERRNO" && numeric && number < 4096)
            said.error_number = static_cast<int>(number);
        if (name == "MAINPID" && numeric && number > 1 && number <= 0x400000)
            said.main_pid = static_cast<pid_t>(number);
        if (name == "WATCHDOG") {
            said.watchdog = value == "1";
            said.watchdog_trigger = value == "trigger";
        }
        if (name == "WATCHDOG_USEC" && numeric && number < 86'400'000'000)
            said.watchdog_time = number * 1000;
        if (name == "EXTEND_TIMEOUT_USEC" && numeric && number < 86'400'000'000)
            said.extend_timeout = number * 1000;
        if (name == "FDSTORE") store = value == "1";
        if (name == "FDNAME") store_name = for_people(value);
    }
    if (store) said.fd_store = store_name;
    return said;
}

Result<NotifySocket> NotifySocket::open(bool file) {
    NotifySocket made;
    made.fd_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!made.fd_) return system_error("notify socket", errno);
    uint64_t random[2];
    if (::getrandom(random, sizeof random, 0) != sizeof random)
        return system_error("notify socket: getrandom", errno);
    char name[48];
    std::snprintf(name, sizeof name, "%016llx%016llx", static_cast<unsigned long long>(random[0]),
                  static_cast<unsigned long long>(random[1]));
    made.address_ = file ? std::string(folder) + "/" + name : std::string("@muster/notify/") + name;
    if (file) {
        ::mkdir("/run/muster", 0755);
        if (::mkdir(folder, 0711) != 0 && errno != EEXIST) return system_error(folder, errno);
    }
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    made.address_.copy(address.sun_path, sizeof address.sun_path - 1);
    if (!file) address.sun_path[0] = '\0';
    auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + made.address_.size());
    int on = 1;
    if (::bind(made.fd_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::setsockopt(made.fd_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
        (file && ::chmod(made.address_.c_str(), 0666) != 0))
        return system_error("notify socket " + made.address_, errno);
    return made;
}

NotifySocket NotifySocket::adopt(Fd fd) {
    NotifySocket made;
    made.fd_ = std::move(fd);
    sockaddr_un address{};
    socklen_t size = sizeof address;
    // For the file to be removed; an abstract one needs nothing.
    if (made.fd_ &&
        ::getsockname(made.fd_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0)
        made.address_ = address.sun_path;
    return made;
}

NotifySocket& NotifySocket::operator=(NotifySocket&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(address_, other.address_);
    return *this;
}

NotifySocket::~NotifySocket() {
    if (fd_ && address_.starts_with("/")) ::unlink(address_.c_str());
}

std::optional<Notification> NotifySocket::receive(pid_t process) {
    for (;;) {
        char text[4096];
        alignas(cmsghdr) char
            control[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int) * most_descriptors)];
        iovec part{text, sizeof text};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        ssize_t size = ::recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC | MSG_PEEK);
        if (size < 0) return {};
        bool heard = false;
        for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr;
             each = CMSG_NXTHDR(&message, each)) {
            if (each->cmsg_level != SOL_SOCKET) continue;
            if (each->cmsg_type == SCM_RIGHTS) {
                // None is kept: neither for a store nor of BARRIER=1, whose sender waits for the
                // closing.
                size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < count; ++i) {
                    int fd = -1;
                    std::memcpy(&fd, CMSG_DATA(each) + i * sizeof fd, sizeof fd);
                    ::close(fd);
                }
            } else if (each->cmsg_type == SCM_CREDENTIALS) {
                ucred sender{};
                std::memcpy(&sender, CMSG_DATA(each), sizeof sender);
                struct stat about {};
                std::string path = "/proc/" + std::to_string(process);
                heard = sender.uid == 0 || sender.uid == ::geteuid() ||
                        (::stat(path.c_str(), &about) == 0 && about.st_uid == sender.uid);
            }
        }
        if (heard) return parse_notification({text, static_cast<size_t>(size)});
        consume();
    }
}

void NotifySocket::consume() { (void)::recv(fd_.get(), nullptr, 0, MSG_DONTWAIT); }

} // namespace muster::services
