#include "alpine-packages/root_script.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "init/base/fd.h"
#include "init/base/wait_status.h"

namespace muster::apk {
namespace {

constexpr int not_started = 125; // with a message through the pipe

bool put_text(const char* path, const std::string& text) {
    Fd fd(open(path, O_WRONLY | O_CLOEXEC));
    return fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// Says what failed and ends the process.
[[noreturn]] void give_up(int report, const std::string& what) {
    std::string text = what + ": " + std::strerror(errno);
    (void)!write(report, text.data(), text.size());
    _exit(not_started);
}

void make_namespaces(int report) {
    uid_t uid = geteuid();
    gid_t gid = getegid();
    int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET;
    if (unshare(uid == 0 ? flags : flags | CLONE_NEWUSER) != 0) give_up(report, "namespaces");
    if (uid == 0) return;
    if (!put_text("/proc/self/setgroups", "deny") ||
        !put_text("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1") ||
        !put_text("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1"))
        give_up(report, "user namespace");
}

// Nodes of the host, bound onto empty files: that needs no right to make devices.
void make_dev(int report) {
    struct stat st {};
    if (stat("dev", &st) != 0 || !S_ISDIR(st.st_mode)) return;
    if (mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=256k") != 0)
        give_up(report, "mount /dev");
    for (const char* name : {"null", "zero", "full", "random", "urandom"}) {
        std::string inside = std::string("dev/") + name, outside = "/" + inside;
        Fd empty(open(inside.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
        if (mount(outside.c_str(), inside.c_str(), nullptr, MS_BIND, nullptr) != 0)
            give_up(report, "bind " + outside);
    }
    (void)!symlink("/proc/self/fd", "dev/fd");
    (void)!symlink("/proc/self/fd/1", "dev/stdout");
    (void)!symlink("/proc/self/fd/2", "dev/stderr");
}

void enter(const std::string& root, int report) {
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
        give_up(report, "make mounts private");
    if (mount(root.c_str(), root.c_str(), nullptr, MS_BIND, nullptr) != 0)
        give_up(report, "bind " + root);
    if (chdir(root.c_str()) != 0) give_up(report, "enter " + root);
    make_dev(report);
    // some sandboxes allow no new /proc; scripts can do without
    (void)mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
    if (syscall(SYS_pivot_root, ".", ".") != 0) give_up(report, "pivot_root " + root);
    if (umount2(".", MNT_DETACH) != 0) give_up(report, "leave the host");
    if (chdir("/") != 0) give_up(report, "enter /");
}

// What scripts need of root's rights is about files and accounts.
void drop_capabilities(int report) {
    constexpr int kept[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,     CAP_FSETID, CAP_KILL,
                            CAP_SETGID, CAP_SETUID,       CAP_SYS_CHROOT, CAP_SETFCAP};
    std::uint64_t mask = 0;
    for (int each : kept)
        mask |= std::uint64_t{1} << each;
    for (int each = 0; each < 64; ++each)
        if (!(mask >> each & 1) && prctl(PR_CAPBSET_READ, each) == 1 &&
            prctl(PR_CAPBSET_DROP, each) != 0)
            give_up(report, "drop capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) give_up(report, "no new privileges");
}

[[noreturn]] void run_script(const std::string& root, const std::string& program,
                             const std::vector<std::string>& arguments, int report) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    enter(root, report);
    drop_capabilities(report);
    umask(022);
    std::vector<char*> argv = {const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments)
        argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    char* environment[] = {path, nullptr};
    int input = open("/dev/null", O_RDONLY);
    if (input > 0) dup2(input, 0);
    dup2(2, 1);
    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    for (int signal = 1; signal < 32; ++signal)
        if (signal != SIGKILL && signal != SIGSTOP) ::signal(signal, SIG_DFL);
    execve(program.c_str(), argv.data(), environment);
    give_up(report, "run " + program);
}

// The process between us and the first one of the new process namespace. It says how that has
// ended.
[[noreturn]] void run_between(const std::string& root, const std::string& program,
                              const std::vector<std::string>& arguments, int report, int told) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setsid();
    make_namespaces(report);
    pid_t script = fork();
    if (script < 0) give_up(report, "fork");
    if (script == 0) run_script(root, program, arguments, report);
    int status = 0;
    while (waitpid(script, &status, 0) < 0)
        if (errno != EINTR) _exit(not_started);
    (void)!write(told, &status, sizeof status);
    _exit(0);
}

} // namespace

Result<int> run_in_root(const std::string& root, const std::string& program,
                        const std::vector<std::string>& arguments, Leftovers& leftovers,
                        int seconds) {
    int ends[2], status_ends[2];
    // Not blocking: what a script said stands there when it has ended, but the pipe is still open.
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return system_error("pipe", errno);
    Fd report(ends[0]), theirs(ends[1]);
    if (pipe2(status_ends, O_CLOEXEC) != 0) return system_error("pipe", errno);
    Fd told(status_ends[0]), tells(status_ends[1]);
    pid_t child = fork();
    if (child < 0) return system_error("fork", errno);
    if (child == 0) run_between(root, program, arguments, theirs.get(), tells.get());
    theirs.reset();
    tells.reset();
    pollfd wait{told.get(), POLLIN, 0};
    int ready = 0;
    do
        ready = poll(&wait, 1, seconds * 1000);
    while (ready < 0 && errno == EINTR);
    bool late = ready == 0;
    if (late) kill(child, SIGKILL); // and with it all of its process namespace
    int status = not_started << 8;
    if (!late && ::read(told.get(), &status, sizeof status) == sizeof status) {
        leftovers.add(child);
    } else {
        while (waitpid(child, &status, 0) < 0)
            if (errno != EINTR) return system_error("wait for " + program, errno);
    }
    if (late) return Error{program + ": took longer than " + std::to_string(seconds) + " seconds"};
    char text[512];
    ssize_t size = ::read(report.get(), text, sizeof text);
    if (size > 0)
        return Error{program + " in " + root + ": " +
                     std::string(text, static_cast<std::size_t>(size))};
    return shell_status(status);
}

Leftovers::~Leftovers() {
    for (pid_t child : children_)
        while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
        }
}

} // namespace muster::apk
