#include "services/process/oom_kills.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "services/log/records.h"

namespace muster::services {

namespace {

constexpr size_t most_kills = 64;                 // a storm of them fills no memory
constexpr ino_t first_pid_namespace = 0xEFFFFFFC; // PROC_PID_INIT_INO, the same in every kernel

bool in_first_namespace() {
    struct stat status {};
    return ::stat("/proc/self/ns/pid", &status) == 0 && status.st_ino == first_pid_namespace;
}

} // namespace

pid_t oom_victim(std::string_view line) {
    for (std::string_view before : {"oom-kill:", "Killed process "}) {
        size_t at = line.find(before);
        if (at == std::string_view::npos) continue;
        line.remove_prefix(at + before.size());
        if (before == "oom-kill:") {
            // Last, since the name of a program may look like anything.
            at = line.rfind(",pid=");
            if (at == std::string_view::npos) return 0;
            line.remove_prefix(at + 5);
        }
        pid_t pid = 0;
        std::from_chars(line.data(), line.data() + line.size(), pid);
        return std::max(pid, 0);
    }
    return 0;
}

OomKills::OomKills() {
    if (in_first_namespace()) log_ = Fd(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
}

bool OomKills::has(pid_t pid, uint64_t since) {
    read();
    // The log's clock is not slewed as CLOCK_MONOTONIC is, by up to half a thousandth.
    uint64_t since_us = since / 1000;
    uint64_t earliest = since_us - std::min(since_us, since_us / 1000 + 1'000'000);
    return std::any_of(kills_.begin(), kills_.end(), [&](const Kill& kill) {
        return kill.pid == pid && kill.time_us >= earliest;
    });
}

void OomKills::read() {
    char record[8192];
    while (log_) {
        ssize_t size = ::read(log_.get(), record, sizeof record);
        if (size < 0 && (errno == EPIPE || errno == EINTR)) continue; // some were overwritten
        if (size <= 0) return;
        logs::KernelMessage message;
        if (!logs::parse_kernel_message({record, static_cast<size_t>(size)}, message) ||
            !message.from_kernel)
            continue;
        pid_t pid = oom_victim(message.line);
        if (pid == 0) continue;
        if (kills_.size() == most_kills) kills_.erase(kills_.begin());
        kills_.push_back({pid, message.monotonic_us});
    }
}

} // namespace muster::services
