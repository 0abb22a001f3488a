#include "init/helpers.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init/line.h"
#include "init/read_lines.h"

namespace muster::pid1 {

namespace {

constexpr rlim_t kFiles = 1024; // the kernel's own default, not what init needs for itself

void say(std::string_view line) {
    char text[512];
    std::size_t size = line.size() < sizeof text - 1 ? line.size() : sizeof text - 1;
    std::memcpy(text, line.data(), size);
    text[size++] = '\n';
    ssize_t written = write(2, text, size);
    static_cast<void>(written);
}

void write_to(const char* path, std::string_view text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t written = write(fd, text.data(), text.size());
    static_cast<void>(written); // without it the process runs just the same
    close(fd);
}

void reset_file_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    if (limit.rlim_cur > kFiles) limit.rlim_cur = kFiles;
    setrlimit(RLIMIT_NOFILE, &limit);
}

} // namespace

void become_second_stage(const State& state, int link) {
    setsid();
    if (state.cgroup2) write_to("/sys/fs/cgroup/muster.scope/cgroup.procs", "0");
    reset_file_limit();
    int null = open("/dev/null", O_RDONLY);
    if (null > 0) {
        dup2(null, 0);
        close(null);
    }
    fcntl(link, F_SETFD, 0);
    Line number(link);
    Line config(state.config, "/boot");
    const char* arguments[] = {state.second_stage, "--system",     "--config", config.c_str(),
                               "--init-fd",        number.c_str(), nullptr};
    execv(state.second_stage, const_cast<char* const*>(arguments));
    say(Line("init: execute ", state.second_stage, ": ", strerror(errno)).view());
    _exit(127);
}

int root_has_password(const char* path) {
    LineReader lines(path);
    std::string_view line;
    while (lines.next(line)) {
        if (!line.starts_with("root:")) continue;
        std::string_view hash = line.substr(5);
        hash = hash.substr(0, hash.find(':'));
        while (hash.starts_with('!'))
            hash.remove_prefix(1);
        return !hash.empty() && hash != "*" && hash != "x" ? 1 : 0;
    }
    return -1;
}

void become_shell(const State& state) {
    setsid();
    reset_file_limit();
    write_to("/proc/self/oom_score_adj", "0");
    if (!state.container) {
        int console = open("/dev/console", O_RDWR | O_NOCTTY);
        if (console >= 0) {
            for (int stdio = 0; stdio <= 2; ++stdio)
                dup2(console, stdio);
            if (console > 2) close(console);
        }
    }
    ioctl(0, TIOCSCTTY, 1); // without it: no job control
    if (chdir("/root") < 0 && chdir("/") < 0) say("init: no directory for the shell");
    if (root_has_password("/etc/shadow") == 1) {
        execl("/sbin/sulogin", "sulogin", nullptr);
        execl("/usr/sbin/sulogin", "sulogin", nullptr);
        execl("/bin/busybox", "sulogin", nullptr);
        say("init: root has a password and there is no sulogin: no shell");
        _exit(127);
    }
    execl("/bin/sh", "-sh", nullptr);
    execl("/bin/busybox", "-sh", nullptr);
    say(Line("init: execute /bin/sh: ", strerror(errno)).view());
    _exit(127);
}

namespace {

// Fields of /proc/PID/stat (proc(5)): the name in parentheses may hold anything.
struct ProcessStat {
    char state;
    pid_t group;
    pid_t session;
};

bool read_stat(pid_t pid, ProcessStat& found) {
    Line path("/proc/", pid, "/stat");
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    char text[512];
    ssize_t size = read(fd, text, sizeof text);
    close(fd);
    if (size <= 0) return false;
    std::string_view rest(text, static_cast<std::size_t>(size));
    std::size_t name_end = rest.rfind(") ");
    if (name_end == rest.npos || name_end + 3 >= rest.size()) return false;
    found.state = rest[name_end + 2];
    rest.remove_prefix(name_end + 4);
    pid_t numbers[3] = {}; // parent, group, session
    for (pid_t& number : numbers) {
        while (!rest.empty() && rest.front() >= '0' && rest.front() <= '9') {
            number = number * 10 + (rest.front() - '0');
            rest.remove_prefix(1);
        }
        if (rest.empty() || rest.front() != ' ') return false;
        rest.remove_prefix(1);
    }
    found.group = numbers[1];
    found.session = numbers[2];
    return true;
}

struct PidSet {
    pid_t pids[records::kSlots];
    int count = 0;
    bool has(pid_t pid) const {
        for (int i = 0; i < count; ++i) {
            if (pids[i] == pid) return true;
        }
        return false;
    }
};

// Kills what belongs to `leaders`. How many were found alive, or -1.
int kill_sessions(const PidSet& leaders) {
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0) return -1;
    alignas(8) char entries[8192];
    int found = 0;
    long size;
    while ((size = syscall(SYS_getdents64, proc, entries, sizeof entries)) > 0) {
        for (long at = 0; at < size;) {
            // struct linux_dirent64: inode 8, offset 8, length 2, type 1, name.
            std::uint16_t length;
            std::memcpy(&length, entries + at + 16, sizeof length);
            const char* name = entries + at + 19;
            at += length;
            pid_t pid = 0;
            for (; *name >= '0' && *name <= '9'; ++name)
                pid = pid * 10 + (*name - '0');
            if (*name != 0 || pid <= 1 || pid == getpid()) continue;
            ProcessStat stat;
            if (!read_stat(pid, stat) || stat.state == 'Z' || stat.state == 'X') continue;
            if (!leaders.has(stat.session) && !leaders.has(stat.group) && !leaders.has(pid))
                continue;
            ++found;
            kill(pid, SIGKILL);
        }
    }
    close(proc);
    return found;
}

} // namespace

int sweep_sessions(const records::SharedState& shared) {
    static PidSet leaders;
    for (std::size_t slot = 0; slot < records::kSlots; ++slot) {
        if (shared.slots[slot].state != records::kSlotClaimed) continue;
        pid_t pid = shared.pids[slot];
        if (pid > 1) leaders.pids[leaders.count++] = pid;
    }
    for (;;) { // init ends us at its limit
        int found = kill_sessions(leaders);
        if (found <= 0) return found == 0 ? 0 : 1;
        timespec moment{0, 2000000};
        nanosleep(&moment, nullptr);
    }
}

} // namespace muster::pid1
