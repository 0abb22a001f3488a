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
    const char* arguments[State::kMainWords + 8] = {
        state.second_stage, "--system", "--config", config.c_str(), "--init-fd", number.c_str()};
    std::size_t count = 6;
    if (state.main_words > 0) arguments[count++] = state.main_named ? "--main" : "--";
    const char* word = state.main;
    for (std::uint32_t i = 0; i < state.main_words; ++i) {
        arguments[count++] = word;
        word += std::strlen(word) + 1;
    }
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

} // namespace muster::pid1
