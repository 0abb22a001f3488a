// For namespace_test.cpp: init as a real process 1, and the second stage that obeys the test.
//
// The second stage reads lines from the socket whose number is in kControl and answers with lines;
// Container is the test's side of it.
#pragma once

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/base/catch.h"
#include "init/base/fd.h"
#include "init/second_stage_link.h"

namespace muster::pid1::testing {

inline constexpr const char* kControl =
    "MUSTER_TEST_CONTROL";                // number of the second stage's socket
inline constexpr int kPatienceMs = 60000; // for what must come

inline std::string read_whole(const std::string& path) {
    std::string text;
    Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char buffer[4096];
    ssize_t size;
    while (fd && (size = read(fd.get(), buffer, sizeof buffer)) > 0)
        text.append(buffer, static_cast<std::size_t>(size));
    return text;
}

// Processes in /proc, those in state Z apart.
inline void count_processes(int& living, int& zombies) {
    living = zombies = 0;
    DIR* proc = opendir("/proc");
    if (proc == nullptr) return;
    while (dirent* entry = readdir(proc)) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        std::string stat = read_whole(std::string("/proc/") + entry->d_name + "/stat");
        std::size_t end = stat.rfind(") ");
        if (end == stat.npos) continue;
        ++(stat[end + 2] == 'Z' ? zombies : living);
    }
    closedir(proc);
}

// --- the second stage ---

using records::Kind;

class SecondStage {
  public:
    SecondStage(SecondStageLink link, int control) : link_(std::move(link)), control_(control) {}

    [[noreturn]] void run() {
        say("hello " + std::to_string(link_.welcome().starts) + " " +
            std::to_string(link_.welcome().flags));
        for (;;) {
            pollfd polled[2] = {{control_, POLLIN, 0}, {link_.fd(), POLLIN, 0}};
            poll(polled, 2, -1);
            if (polled[1].revents != 0) read_link();
            if (polled[0].revents != 0) read_control();
        }
    }

  private:
    void say(const std::string& line) {
        if (send(control_, line.data(), line.size(), MSG_NOSIGNAL) < 0) _exit(1);
    }

    void read_link() {
        for (;;) {
            auto got = link_.receive();
            if (!got.ok()) {
                say("error " + got.error().message);
                _exit(1);
            }
            if (!*got) return;
            const records::Record& record = (*got)->record;
            switch (static_cast<Kind>(record.kind)) {
            case Kind::status: {
                const records::Status& status = record.payload.status;
                // After a crash of init what was acknowledged may come again.
                const records::Slot& slot = link_.slot(status.slot);
                bool again =
                    slot.state != records::kSlotClaimed || slot.generation != status.generation;
                if (!again)
                    say("status " + std::string(slot.name) + " " +
                        std::to_string(status.wait_status));
                const SlotRef ended{status.slot, status.generation};
                if (!link_.acknowledge(ended, status.pid) || !link_.flush())
                    say("error acknowledge");
                break;
            }
            case Kind::kept_fd:
                say("kept " + std::string(record.payload.kept_fd.name));
                break;
            case Kind::kept_end:
                say("kept-end");
                break;
            case Kind::refused:
                say("refused " + std::string(record.payload.refused.reason));
                break;
            case Kind::stop:
                say("stop " + std::to_string(static_cast<int>(record.payload.stop.action)) + " " +
                    std::to_string(record.payload.stop.signal));
                break;
            case Kind::signal:
                say("signal " + std::to_string(record.payload.signal.signal));
                break;
            default:
                break;
            }
        }
    }

    void read_control() {
        char text[4096];
        ssize_t size = recv(control_, text, sizeof text, 0);
        if (size <= 0) _exit(0);
        std::string_view line(text, static_cast<std::size_t>(size));
        std::string_view word = line.substr(0, line.find(' '));
        std::string rest(line.substr(std::min(line.size(), word.size() + 1)));
        Result<> done;
        if (word == "up")
            done = link_.up();
        else if (word == "stopped")
            done = link_.services_stopped();
        else if (word == "die")
            raise(SIGKILL);
        else if (word == "exit")
            _exit(std::atoi(rest.c_str()));
        else if (word == "crash-init")
            kill(1, SIGSEGV);
        else if (word == "shutdown") {
            int action = 0;
            int status = 0;
            std::sscanf(rest.c_str(), "%d %d", &action, &status);
            done = link_.shutdown(static_cast<records::Action>(action), status);
        } else if (word == "keep")
            done = link_.store_fd(rest, 0);
        else if (word == "spawn")
            spawn(rest, false);
        else if (word == "orphans")
            spawn(rest, true);
        else if (word == "cat")
            say("text " + read_whole(rest));
        else if (word == "count") {
            int living = 0;
            int zombies = 0;
            count_processes(living, zombies);
            say("count " + std::to_string(living) + " " + std::to_string(zombies));
        }
        if (!done) say("error " + done.error().message);
    }

    // A service: a child of init, registered before it can run. Its name is what it runs.
    void spawn(const std::string& command, bool orphans) {
        auto slot = link_.claim(command, "");
        if (!slot) {
            say("error " + slot.error().message);
            return;
        }
        clone_args arguments{};
        arguments.flags = CLONE_PARENT | CLONE_PARENT_SETTID;
        arguments.parent_tid = reinterpret_cast<std::uint64_t>(link_.pid_cell(*slot));
        long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
        if (pid < 0) {
            link_.release(*slot);
            say(std::string("error clone3: ") + std::strerror(errno));
            return;
        }
        if (pid > 0) {
            say("spawned " + std::to_string(pid));
            return;
        }
        setsid();
        if (orphans) leave_orphans(std::atoi(command.c_str()));
        execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
        _exit(127);
    }

    // All of them exit at the moment at which this process does.
    [[noreturn]] static void leave_orphans(int count) {
        int ends[2];
        if (pipe(ends) < 0) _exit(1);
        for (int i = 0; i < count; ++i) {
            pid_t pid = fork();
            if (pid < 0) _exit(2);
            if (pid > 0) continue;
            close(ends[1]);
            char nothing;
            ssize_t size = read(ends[0], &nothing, 1);
            _exit(static_cast<int>(size));
        }
        _exit(7);
    }

    SecondStageLink link_;
    int control_;
};

[[noreturn]] inline void be_second_stage(int argc, char** argv) {
    const char* control = getenv(kControl);
    int init_fd = -1;
    for (int i = 1; i + 1 < argc; ++i) {
        if (std::strcmp(argv[i], "--init-fd") == 0) init_fd = std::atoi(argv[i + 1]);
    }
    if (control == nullptr || init_fd < 0) _exit(99);
    auto link = SecondStageLink::connect(init_fd);
    if (!link) _exit(98);
    SecondStage(std::move(*link), std::atoi(control)).run();
}
struct Options {
    bool user_namespace = false;
    bool cgroup = false;
    const char* stage = "second-stage";
};

// A container with init as process 1. Ends with the object, whatever happens.
class Container {
  public:
    explicit Container(Options options = {}) {
        char folder[] = "/tmp/muster-init-XXXXXX";
        REQUIRE(mkdtemp(folder) != nullptr);
        folder_ = folder;
        chmod(folder, 0755);
        char self[4096] = {};
        REQUIRE(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
        for (const char* name : {"init", "second-stage", "failing-stage"})
            REQUIRE(symlink(self, (folder_ + "/" + name).c_str()) == 0);
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
        control_.reset(ends[0]);
        Fd other(ends[1]);
        int log[2];
        REQUIRE(pipe2(log, O_CLOEXEC) == 0);
        log_.reset(log[0]);
        Fd log_end(log[1]);
        if (options.cgroup) make_cgroup();
        keeper_ = fork();
        REQUIRE(keeper_ >= 0);
        if (keeper_ == 0) be_keeper(options, other.get(), log_end.get());
    }

    ~Container() {
        if (keeper_ > 0) {
            kill(keeper_, SIGKILL); // init dies with it, and all others with init
            waitpid(keeper_, nullptr, 0);
        }
        control_.reset();
        messages(); // until the last process of the namespace is gone
        remove_cgroup();
        for (const char* name : {"init", "second-stage", "failing-stage"})
            unlink((folder_ + "/" + name).c_str());
        rmdir(folder_.c_str());
    }

    void tell(const std::string& line) {
        REQUIRE(send(control_.get(), line.data(), line.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(line.size()));
    }

    // The next line of the second stage.
    std::string hear() {
        pollfd ready{control_.get(), POLLIN, 0};
        if (poll(&ready, 1, kPatienceMs) != 1) return "nothing";
        char text[65536];
        ssize_t size = recv(control_.get(), text, sizeof text, 0);
        return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : "end";
    }

    // Lines up to the one that begins with `text`; the others are forgotten.
    std::string hear(std::string_view text) {
        for (;;) {
            std::string line = hear();
            if (line.starts_with(text)) return line;
            if (line == "nothing" || line == "end" || line.starts_with("error")) {
                FAIL_CHECK("heard \"" << line << "\" instead of \"" << text
                                      << "\"; init said: " << said_so_far());
                return line;
            }
        }
    }

    // Sends init a signal from outside.
    void signal(int number) { REQUIRE(kill(init_pid(), number) == 0); }

    // init's exit status, or 1000 and the signal.
    int wait() {
        int status = 0;
        REQUIRE(waitpid(keeper_, &status, 0) == keeper_);
        keeper_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    }

    // All that init has printed, at its end.
    std::string messages() {
        char buffer[4096];
        ssize_t size;
        while (log_ && (size = read(log_.get(), buffer, sizeof buffer)) > 0)
            messages_.append(buffer, static_cast<std::size_t>(size));
        log_.reset();
        return messages_;
    }

    pid_t init_pid() {
        if (init_ > 0) return init_;
        std::string text = read_whole("/proc/" + std::to_string(keeper_) + "/task/" +
                                      std::to_string(keeper_) + "/children");
        init_ = std::atoi(text.c_str());
        REQUIRE(init_ > 1);
        return init_;
    }

  private:
    std::string said_so_far() {
        char buffer[4096];
        pollfd ready{log_.get(), POLLIN, 0};
        while (log_ && poll(&ready, 1, 0) == 1) {
            ssize_t size = read(log_.get(), buffer, sizeof buffer);
            if (size <= 0) break;
            messages_.append(buffer, static_cast<std::size_t>(size));
        }
        return messages_;
    }

    // Parent of init outside its pid namespace; hands its exit status on.
    [[noreturn]] void be_keeper(const Options& options, int control, int log) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!cgroup_.empty()) {
            Fd procs(open((cgroup_ + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
            if (write(procs.get(), "0", 1) != 1) _exit(90);
        }
        int flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
                    CLONE_NEWCGROUP;
        if (options.user_namespace) {
            if (setgroups(0, nullptr) < 0 || setgid(65534) < 0 || setuid(65534) < 0) _exit(91);
            flags |= CLONE_NEWUSER;
            prctl(PR_SET_DUMPABLE, 1);
            prctl(PR_SET_PDEATHSIG, SIGKILL); // setuid cleared it
        }
        if (unshare(flags) < 0) _exit(92);
        if (options.user_namespace) {
            write_map("/proc/self/setgroups", "deny");
            write_map("/proc/self/uid_map", "0 65534 1");
            write_map("/proc/self/gid_map", "0 65534 1");
        }
        pid_t init = fork();
        if (init < 0) _exit(93);
        if (init == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            fcntl(control, F_SETFD, 0);
            int null = open("/dev/null", O_RDWR);
            dup2(null, 0);
            dup2(log, 1);
            dup2(log, 2);
            setenv(kControl, std::to_string(control).c_str(), 1);
            setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
            std::string program = folder_ + "/init";
            std::string stage = folder_ + "/" + options.stage;
            execl(program.c_str(), "init", "--container", "--second-stage", stage.c_str(),
                  "--config", folder_.c_str(), "--stop-timeout", "20", nullptr);
            _exit(94);
        }
        close(control);
        close(log);
        int status = 0;
        while (waitpid(init, &status, 0) < 0 && errno == EINTR) {
        }
        if (WIFSIGNALED(status)) {
            signal_self(WTERMSIG(status));
        }
        _exit(WEXITSTATUS(status));
    }

    [[noreturn]] static void signal_self(int number) {
        ::signal(number, SIG_DFL);
        raise(number);
        _exit(95);
    }

    static void write_map(const char* path, const char* text) {
        Fd fd(open(path, O_WRONLY | O_CLOEXEC));
        if (write(fd.get(), text, std::strlen(text)) < 0) _exit(96);
    }

    void make_cgroup() {
        for (const char* root : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
            if (access((std::string(root) + "/cgroup.controllers").c_str(), F_OK) != 0) continue;
            cgroup_ = std::string(root) + folder_.substr(folder_.rfind('/'));
            if (mkdir(cgroup_.c_str(), 0755) < 0) cgroup_.clear();
            return;
        }
    }

    void remove_cgroup() {
        if (cgroup_.empty()) return;
        for (const char* below : {"/services/a", "/services", "/init.scope", "/muster.scope", ""}) {
            while (rmdir((cgroup_ + below).c_str()) < 0 && errno == EBUSY)
                sched_yield();
        }
    }

  public:
    bool has_cgroup() const { return !cgroup_.empty(); }

  private:
    std::string folder_;
    std::string cgroup_;
    std::string messages_;
    Fd control_;
    Fd log_;
    pid_t keeper_ = -1;
    pid_t init_ = -1;
};
} // namespace muster::pid1::testing
