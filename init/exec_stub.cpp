#include "init/exec_stub.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <grp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init/line.h"
#include "init/read_lines.h"
#include "init/records.h"

namespace muster::pid1 {

namespace {

constexpr std::size_t kManyGroups = 256;

struct Order {
    int error_fd = -1;
    const char* tty = nullptr;
    const char* dir = nullptr;
    const char* mask = nullptr;
    const char* user = nullptr;
    char** program = nullptr;
};

struct Identity {
    std::uint32_t user = 0;
    std::uint32_t group = 0;
    bool has_group = false;
    char name[256] = {}; // empty: unknown to /etc/passwd
};

bool number_of(std::string_view text, unsigned base, std::uint32_t& number) {
    if (text.empty() || text.size() > 10) return false;
    std::uint64_t value = 0;
    for (char c : text) {
        if (c < '0' || static_cast<unsigned>(c - '0') >= base) return false;
        value = value * base + static_cast<unsigned>(c - '0');
    }
    number = static_cast<std::uint32_t>(value);
    return value <= 0xFFFFFFFE; // all ones means "leave it" to setuid and friends
}

std::string_view next_field(std::string_view& line) {
    std::size_t end = line.find(':');
    std::string_view field = line.substr(0, end);
    line.remove_prefix(end == line.npos ? line.size() : end + 1);
    return field;
}

[[noreturn]] void fail(const Order& order, std::string_view step, std::string_view subject,
                       int error) {
    Line what(step, subject);
    if (order.error_fd >= 0) {
        records::ExecFailure failure{};
        failure.magic = records::kMagic;
        failure.error_number = error;
        copy_field(failure.step, sizeof failure.step, what.view());
        ssize_t written = write(order.error_fd, &failure, sizeof failure);
        static_cast<void>(written); // the exit status says it as well
    } else {
        Line line("init --exec: ", what.view(), ": ", strerror(error), "\n");
        ssize_t written = write(2, line.view().data(), line.view().size());
        static_cast<void>(written);
    }
    _exit(error == ENOENT && step == "execute " ? 127 : 126);
}

int usage(std::string_view what, std::string_view subject) {
    Line line("init --exec: ", what, subject,
              "\nusage: init --exec [--error-fd N] [--tty PATH] [--dir PATH] [--umask OCTAL]\n"
              "                   [--user USER[:GROUP]] -- PROGRAM [ARGUMENT]...\n");
    ssize_t written = write(2, line.view().data(), line.view().size());
    static_cast<void>(written);
    return 2;
}

// name:password:UID:GID:… (passwd(5))
bool find_user(std::string_view user, Identity& found) {
    std::uint32_t number = 0;
    bool numeric = number_of(user, 10, number);
    LineReader lines("/etc/passwd");
    std::string_view line;
    while (lines.next(line)) {
        std::string_view name = next_field(line);
        next_field(line);
        std::uint32_t uid = 0;
        std::uint32_t gid = 0;
        if (!number_of(next_field(line), 10, uid) || !number_of(next_field(line), 10, gid))
            continue;
        if (numeric ? uid != number : name != user) continue;
        if (!copy_field(found.name, sizeof found.name, name)) return false;
        found.user = uid;
        found.group = gid;
        found.has_group = true;
        return true;
    }
    found.user = number;
    return numeric;
}

bool find_group(std::string_view group, std::uint32_t& found) {
    if (number_of(group, 10, found)) return true;
    LineReader lines("/etc/group");
    std::string_view line;
    while (lines.next(line)) {
        if (next_field(line) != group) continue;
        next_field(line);
        return number_of(next_field(line), 10, found);
    }
    return false;
}

// The groups that list `name` among their members: name:password:GID:member,member (group(5)).
std::size_t groups_of(std::string_view name, gid_t* groups, std::size_t room) {
    std::size_t count = 0;
    LineReader lines("/etc/group");
    std::string_view line;
    while (!name.empty() && count < room && lines.next(line)) {
        next_field(line);
        next_field(line);
        std::uint32_t gid = 0;
        if (!number_of(next_field(line), 10, gid)) continue;
        std::string_view members = next_field(line);
        while (!members.empty()) {
            std::size_t end = members.find(',');
            if (members.substr(0, end) == name) {
                groups[count++] = gid;
                break;
            }
            members.remove_prefix(end == members.npos ? members.size() : end + 1);
        }
    }
    return count;
}

void take_terminal(const Order& order) {
    setsid(); // fails for a session leader, which is as well
    int fd = open(order.tty, O_RDWR | O_NOCTTY);
    if (fd < 0) fail(order, "open ", order.tty, errno);
    if (ioctl(fd, TIOCSCTTY, 1) < 0) fail(order, "take as controlling terminal ", order.tty, errno);
    for (int stdio = 0; stdio <= 2; ++stdio) {
        if (fd != stdio && dup2(fd, stdio) < 0) fail(order, "duplicate ", order.tty, errno);
    }
    if (fd > 2) close(fd);
}

void take_identity(const Order& order) {
    std::string_view user = order.user;
    std::string_view group;
    if (std::size_t colon = user.find(':'); colon != user.npos) {
        group = user.substr(colon + 1);
        user = user.substr(0, colon);
    }
    Identity identity;
    if (!find_user(user, identity)) fail(order, "find user ", user, ENOENT);
    if (!group.empty()) {
        if (!find_group(group, identity.group)) fail(order, "find group ", group, ENOENT);
    } else if (!identity.has_group) {
        identity.group = identity.user;
    }
    gid_t groups[kManyGroups];
    groups[0] = identity.group;
    std::size_t count = 1 + groups_of(identity.name, groups + 1, kManyGroups - 1);
    if (setgroups(count, groups) < 0) fail(order, "set the groups of ", order.user, errno);
    if (setgid(identity.group) < 0) fail(order, "set the group of ", order.user, errno);
    if (setuid(identity.user) < 0) fail(order, "become user ", order.user, errno);
}

} // namespace

int run_exec_stub(int argc, char** argv) {
    Order order;
    int at = 0;
    for (; at < argc && std::strcmp(argv[at], "--") != 0; at += 2) {
        std::string_view option = argv[at];
        const char** field = option == "--tty"     ? &order.tty
                             : option == "--dir"   ? &order.dir
                             : option == "--umask" ? &order.mask
                             : option == "--user"  ? &order.user
                                                   : nullptr;
        if (field == nullptr && option != "--error-fd") return usage("unknown option ", option);
        if (at + 1 >= argc) return usage("no value for ", option);
        if (field != nullptr) {
            *field = argv[at + 1];
            continue;
        }
        std::uint32_t fd = 0;
        if (!number_of(argv[at + 1], 10, fd) || fcntl(static_cast<int>(fd), F_GETFD) < 0)
            return usage("not an open descriptor: ", argv[at + 1]);
        order.error_fd = static_cast<int>(fd);
    }
    if (at + 1 >= argc) return usage("no program", "");
    order.program = argv + at + 1;
    std::uint32_t mask = 0;
    if (order.mask != nullptr && (!number_of(order.mask, 8, mask) || mask > 0777))
        return usage("not an octal mask: ", order.mask);

    if (order.error_fd >= 0) fcntl(order.error_fd, F_SETFD, FD_CLOEXEC);
    if (order.mask != nullptr) umask(mask);
    if (order.tty != nullptr) take_terminal(order);
    if (order.user != nullptr) take_identity(order);
    if (order.dir != nullptr && chdir(order.dir) < 0) fail(order, "enter ", order.dir, errno);
    execvp(order.program[0], order.program);
    fail(order, "execute ", order.program[0], errno);
}

} // namespace muster::pid1
