// Limits, priorities, standard descriptors. Sources: setrlimit(2), setpriority(2), proc(5),
// tty_ioctl(4).
#include <cerrno>
#include <cstdlib>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "init/exec_order.h"
#include "init/line.h"

namespace muster::pid1 {

namespace {

struct LimitName {
    std::string_view name;
    int resource;
};
constexpr LimitName kLimits[] = {
    {"as", RLIMIT_AS},           {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},       {"fsize", RLIMIT_FSIZE},       {"locks", RLIMIT_LOCKS},
    {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE},   {"nproc", RLIMIT_NPROC},       {"rss", RLIMIT_RSS},
    {"rtprio", RLIMIT_RTPRIO},   {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
    {"stack", RLIMIT_STACK}};

bool limit_of(std::string_view text, rlim_t& limit) {
    if (text == "unlimited") {
        limit = RLIM_INFINITY;
        return true;
    }
    if (text.empty() || text.size() > 18) return false;
    limit = 0;
    for (char c : text) {
        if (c < '0' || c > '9') return false;
        limit = limit * 10 + static_cast<rlim_t>(c - '0');
    }
    return true;
}

// NAME=SOFT[:HARD]
void take_limit(const Order& order, const char* text) {
    std::string_view rest = text;
    std::string_view name = next_part(rest, '=');
    std::string_view soft = next_part(rest, ':');
    for (const LimitName& known : kLimits) {
        if (known.name != name) continue;
        rlimit limit{};
        if (!limit_of(soft, limit.rlim_cur) ||
            !limit_of(rest.empty() ? soft : rest, limit.rlim_max))
            break;
        if (setrlimit(static_cast<decltype(RLIMIT_AS)>(known.resource), &limit) < 0)
            fail(order, "set limit ", text, errno);
        return;
    }
    fail(order, "understand limit ", text, EINVAL);
}

void take_oom_score(const Order& order, std::string_view score) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, score.data(), score.size()) < 0)
        fail(order, "set the OOM score ", score, errno);
    close(fd);
}

// PATH to read, >PATH to write anew, >>PATH to append, &N to be the same as descriptor N.
void take_stream(const Order& order, const char* option, int number) {
    const char* path = order.value(option);
    if (path == nullptr) return;
    if (*path == '&' && path[1] >= '0' && path[1] <= '2' && path[2] == '\0') {
        if (dup2(path[1] - '0', number) < 0) fail(order, "duplicate ", path, errno);
        return;
    }
    int flags = O_RDONLY;
    if (*path == '>') {
        flags = O_WRONLY | O_CREAT | O_TRUNC;
        if (*++path == '>') {
            flags = O_WRONLY | O_CREAT | O_APPEND;
            ++path;
        }
    }
    int fd = open(path, flags | O_NOCTTY, 0640);
    if (fd < 0) fail(order, "open ", path, errno);
    if (fd == number) return;
    if (dup2(fd, number) < 0) fail(order, "duplicate ", path, errno);
    close(fd);
}

void take_terminal(const Order& order, const char* path) {
    setsid(); // fails for a session leader, which is as well
    int fd = open(path, O_RDWR | O_NOCTTY);
    if (fd < 0) fail(order, "open ", path, errno);
    if (ioctl(fd, TIOCSCTTY, 1) < 0) fail(order, "take as controlling terminal ", path, errno);
    for (int stdio = 0; stdio <= 2; ++stdio) {
        if (fd != stdio && dup2(fd, stdio) < 0) fail(order, "duplicate ", path, errno);
    }
    if (fd > 2) close(fd);
}

} // namespace

void take_streams(const Order& order) {
    if (const char* tty = order.value("--tty")) take_terminal(order, tty);
    take_stream(order, "--stdin", 0);
    take_stream(order, "--stdout", 1);
    take_stream(order, "--stderr", 2);
}

void take_resources(const Order& order) {
    if (const char* score = order.value("--oom-score")) take_oom_score(order, score);
    if (const char* nice = order.value("--nice")) {
        if (setpriority(PRIO_PROCESS, 0, std::atoi(nice)) < 0)
            fail(order, "set the nice value ", nice, errno);
    }
    order.all("--limit", [&](const char* text) { take_limit(order, text); });
}

} // namespace muster::pid1
