// The system calls of PID 1 that a test must be able to script. One real implementation:
// linux_kernel.h. Calls return 0 (or what is said) on success and -errno on failure.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string_view>

#include "init/state.h"

namespace muster::pid1 {

// Children of init that are not services.
enum class Helper {
    second_stage, // fd: its end of the link
    shell,        // on the console, through sulogin if root has a password
    finish,       // sync, swapoff, unmount
};

struct Exited {
    pid_t pid;
    int wait_status;
    std::int64_t user_us;
    std::int64_t system_us;
    std::int64_t max_rss_kib;
};

class Kernel {
  public:
    virtual std::int64_t now_ms() = 0; // CLOCK_MONOTONIC

    // Looks at one child that has ended, without reaping it: if init crashes before it has noted
    // the status, that is not lost. Returns its pid, 0 if none has ended, -ECHILD if there are
    // none.
    virtual pid_t look(Exited& exited) = 0;
    // Reaps that child.
    virtual void reap(pid_t pid) = 0;
    virtual int kill(pid_t pid, int signal) = 0;
    // Makes a child that turns into `helper`. Returns its pid.
    virtual pid_t start(Helper helper, const State& state, int fd) = 0;

    // 0 if `new_root` can be switched to: a mount point that has a program to execute.
    virtual int check_new_root(const records::SwitchRoot& to, const State& state) = 0;
    // Returns only on failure.
    virtual int switch_root(const records::SwitchRoot& to, State& state) = 0;
    // Executes another init that takes over the state. Returns only on failure.
    virtual int become(const char* program, State& state) = 0;
    // Powers off, reboots, halts, or ends the process (in a container). May return before it
    // happens.
    virtual int end(records::Action action, int exit_status, bool container) = 0;

    virtual int mount(const char* source, const char* target, const char* type, unsigned long flags,
                      const char* data) = 0;
    virtual int make_directory(const char* path, unsigned mode) = 0;
    // The magic number of the file system at `path` (statfs(2)) or -errno.
    virtual long file_system(const char* path) = 0;
    // 1 if `path` is a mount point, 0 if it is not.
    virtual int is_mount_point(const char* path) = 0;
    virtual int make_symlink(const char* target, const char* path) = 0;
    virtual int make_device(const char* path, unsigned mode, unsigned major, unsigned minor) = 0;
    // A file that exists, as for `cgroup.procs`.
    virtual int write_file(const char* path, std::string_view text) = 0;
    // Of `path`, or 0: to tell namespaces from each other.
    virtual std::uint64_t inode(const char* path) = 0;

    // One line for the console, without its end. Never blocks.
    virtual void print(std::string_view line) = 0;

  protected:
    ~Kernel() = default;
};

} // namespace muster::pid1
