#include "init/linux_kernel.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/helpers.h"
#include "init/line.h"
#include "init/memory.h"
#include "init/switch_root.h"

namespace muster::pid1 {

namespace {

constexpr int kRebootInContainer = 133; // what systemd-nspawn takes for "start it again"

std::int64_t microseconds(const timeval& time) {
    return static_cast<std::int64_t>(time.tv_sec) * 1000000 + time.tv_usec;
}

int result(int returned) { return returned < 0 ? -errno : returned; }

} // namespace

void LinuxKernel::share_output() {
    for (int fd : {1, 2}) {
        struct stat about;
        if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode))
            fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_APPEND);
    }
}

void LinuxKernel::open_console() {
    int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) {
        for (int stdio = 0; stdio <= 2; ++stdio)
            dup2(fd, stdio);
        close(fd);
        console_ = open("/dev/console", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    } else {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (int stdio = 0; stdio <= 2 && null >= 0; ++stdio)
            dup2(null, stdio);
        if (null >= 0) close(null);
        console_ = -1;
    }
    if (console_ < 0) console_ = open("/dev/kmsg", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) print("init: no /dev/console");
}

std::int64_t LinuxKernel::now_ms() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

pid_t LinuxKernel::look(Exited& exited) {
    siginfo_t info{};
    rusage usage{};
    // __WALL: also children whose exit signal is not SIGCHLD. The system call itself, for the
    // usage.
    constexpr int flags = WEXITED | WNOHANG | WNOWAIT | __WALL;
    if (syscall(SYS_waitid, P_ALL, 0, &info, flags, &usage) < 0) return -errno;
    if (info.si_pid == 0) return 0;
    exited.pid = info.si_pid;
    exited.wait_status =
        info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status & 0x7f;
    if (info.si_code == CLD_DUMPED) exited.wait_status |= 0x80;
    exited.user_us = microseconds(usage.ru_utime);
    exited.system_us = microseconds(usage.ru_stime);
    exited.max_rss_kib = usage.ru_maxrss;
    return exited.pid;
}

void LinuxKernel::reap(pid_t pid) { waitpid(pid, nullptr, WNOHANG | __WALL); }

int LinuxKernel::kill(pid_t pid, int signal) { return result(::kill(pid, signal)); }

pid_t LinuxKernel::start(Helper helper, const State& state, int fd) {
    pid_t pid = fork();
    if (pid < 0) return -errno;
    if (pid > 0) return pid;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    switch (helper) {
    case Helper::second_stage:
        become_second_stage(state, fd);
    case Helper::shell:
        become_shell(state);
    case Helper::finish:
        _exit(release_file_systems());
    }
    _exit(127);
}

int LinuxKernel::check_new_root(const records::SwitchRoot& to, const State& state) {
    NewInit init;
    return find_new_init(to, state.command_line.init, init);
}

int LinuxKernel::switch_root(const records::SwitchRoot& to, State& state) {
    return pid1::switch_root(to, state, state_fd_, arguments_);
}

int LinuxKernel::become(const char* program, State& state) {
    return take_state_over(program, state, state_fd_);
}

int LinuxKernel::end(records::Action action, int exit_status, bool container) {
    if (container) {
        if (action == records::Action::reboot) exit_status = kRebootInContainer;
        _exit(exit_status);
    }
    int command = action == records::Action::reboot ? RB_AUTOBOOT
                  : action == records::Action::halt ? RB_HALT_SYSTEM
                                                    : RB_POWER_OFF;
    // In a child: where the machine cannot be turned off or halted, reboot(2) ends its caller, and
    // the end of process 1 is a panic.
    pid_t pid = fork();
    if (pid > 0) return 0;
    int error = result(::reboot(command));
    if (pid < 0) return error;
    print(Line("init: reboot: ", strerror(-error)).view());
    _exit(1);
}

int LinuxKernel::mount(const char* source, const char* target, const char* type,
                       unsigned long flags, const char* data) {
    return result(::mount(source, target, type, flags, data));
}

int LinuxKernel::make_directory(const char* path, unsigned mode) {
    if (mkdir(path, mode) < 0) return -errno;
    chmod(path, mode); // regardless of the umask; the sticky bit
    return 0;
}

long LinuxKernel::file_system(const char* path) {
    struct statfs fs {};
    return statfs(path, &fs) < 0 ? -errno : static_cast<long>(fs.f_type);
}

int LinuxKernel::is_mount_point(const char* path) { return pid1::is_mount_point(path); }

int LinuxKernel::make_symlink(const char* target, const char* path) {
    return result(symlink(target, path));
}

int LinuxKernel::make_device(const char* path, unsigned mode, unsigned major, unsigned minor) {
    if (mknod(path, mode, makedev(major, minor)) < 0) return -errno;
    return result(chmod(path, mode & 07777));
}

int LinuxKernel::write_file(const char* path, std::string_view text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return -errno;
    int written = write(fd, text.data(), text.size()) < 0 ? -errno : 0;
    close(fd);
    return written;
}

std::uint64_t LinuxKernel::inode(const char* path) {
    struct stat file {};
    return stat(path, &file) < 0 ? 0 : file.st_ino;
}

void LinuxKernel::print(std::string_view line) {
    if (console_ < 0) return;
    char text[512];
    std::size_t size = line.size() < sizeof text - 1 ? line.size() : sizeof text - 1;
    std::memcpy(text, line.data(), size);
    text[size++] = '\n';
    // A container's stderr is shared with its engine and may not be set to not block; a pipe that
    // can be written takes this much at once.
    pollfd ready{console_, POLLOUT, 0};
    bool shared = console_ == 2;
    if (shared && (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT))) return;
    ssize_t written = write(console_, text, size);
    if (shared || written == static_cast<ssize_t>(size)) return;
    // The console is full or held up: the kernel's log takes it.
    int log = open("/dev/kmsg", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (log < 0) return;
    written = write(log, text, size);
    close(log);
}

} // namespace muster::pid1
