// Control groups, version 2: a directory for every process tree, so that nothing of it gets away.
//
// Under init the tree is /sys/fs/cgroup with `services` in it (records::kCgroup2). By itself the
// second stage makes a folder `muster-PID` in the cgroup it was started in, wherever cgroup2 is
// mounted (alone, or beside version 1). Without cgroup2, or where we may not write to it, there is
// no tree: everything still works, with less (process.h).
//
// Names: letters, digits and _ + @ : . - stand for themselves, everything else is %XX; long ones
// are cut and get a checksum; one that is taken (several processes in one service) gets +2, +3.
//
// Source: the kernel's Documentation/admin-guide/cgroup-v2.rst; cgroups(7).
#pragma once

#include <string>
#include <string_view>
#include <unordered_set>

#include "init/base/fd.h"
#include "init/base/ref.h"
#include "init/base/result.h"

namespace muster::services {

// One directory. Removed when this goes away, if it is empty by then (but see CgroupTree::leave).
// No descriptor is held for it: thousands of services would need as many.
class Cgroup {
  public:
    Cgroup() = default;
    Cgroup(Cgroup&&) noexcept = default;
    Cgroup& operator=(Cgroup&& other) noexcept;
    ~Cgroup() { discard(); }
    explicit operator bool() const { return static_cast<bool>(parent_); }

    // For clone3 and cgroup.procs.
    Result<Fd> open_directory() const;
    // Readable as EPOLLPRI whenever what `populated` says may have changed, and once at first; it
    // is read (pread) to end that. Invalid if it cannot be opened.
    Fd open_events() const;
    // Below the root of the tree: "services/foo".
    const std::string& path() const { return path_; }

    // Whether a process, not counting zombies, is in it or below. True if that cannot be read.
    bool populated() const;
    // The same of what was read from `events`.
    static bool populated(int events);
    // Removes it if it is not populated (CgroupTree::leave); whether it is gone. Then this is none.
    bool remove();
    // Writes to one of its files, "memory.max".
    Result<> set(const std::string& file, std::string_view value) const;
    // Whether the OOM killer has ended something in it or below, for lack of memory here or in all.
    bool out_of_memory() const;
    // Whether a process is in it or below.
    bool has(pid_t pid) const;
    // To every process in it and below. One that is just being forked may be missed.
    void signal(int number) const;
    // SIGKILL to all, without a gap for forks: cgroup.kill (Linux 5.14), else freeze and kill.
    // The processes are gone when `populated` says so.
    void kill() const;

  private:
    friend class CgroupTree;
    // The folder that they all are in, shared by them.
    struct Parent : Counted {
        Fd directory;
        std::string prefix; // of `path`
        // Given up for a moment when all other descriptors are taken, so that processes can be
        // ended even then.
        mutable Fd spare;
        mutable bool leaves = false; // CgroupTree::leave

        int open(const std::string& path, int flags) const;
    };

    void discard();
    bool remove_directory() const;
    const char* name() const { return path_.c_str() + parent_->prefix.size(); }
    std::string file(std::string_view file) const;

    bool left() const { return parent_->leaves && !late_; }

    Ref<const Parent> parent_;
    std::string path_;
    bool late_ = false; // made after CgroupTree::leave
};

class CgroupTree {
  public:
    CgroupTree() = default; // none
    CgroupTree(CgroupTree&&) noexcept = default;
    CgroupTree& operator=(CgroupTree&& other) noexcept;
    ~CgroupTree() { remove(); }

    // Under init: PATH/services, made if it is missing.
    static Result<CgroupTree> under_init(const std::string& path = "/sys/fs/cgroup");
    // By itself: `muster-PID` in our own cgroup; removed again at the end.
    static Result<CgroupTree> standalone();

    explicit operator bool() const { return static_cast<bool>(parent_); }
    const std::string& path() const { return path_; } // absolute

    Result<Cgroup> create(std::string_view name) const;
    // One that was made before: `path` as Cgroup::path said it. One that is gone is not populated.
    Result<Cgroup> reopen(std::string_view path) const;
    // Removes those below that are empty and not in `used` (paths): what a crash left behind.
    void remove_empty(const std::unordered_set<std::string>& used) const;
    // The groups that there are now are not removed any more when they are empty: at the end of the
    // system that would take as long as all the rest, and in a container the tree is removed by who
    // made it. Those that are made later, for commands and probes, are.
    void leave() const;
    // Lets the groups be limited by "memory", "cpu", "pids" or "io". ERRORS: the kernel has no such
    // controller, or version 1 holds it, or it is not ours to give.
    Result<> enable(std::string_view controller) const;

  private:
    Cgroup group(const std::string& name) const;
    int directory() const { return parent_->directory.get(); }
    static Result<CgroupTree> open(const std::string& path, std::string prefix, bool ours);
    void remove();

    std::string path_;
    Ref<const Cgroup::Parent> parent_;
    bool ours_ = false; // made by us, to be removed
};

// The name of a directory for any text.
std::string cgroup_name(std::string_view text);

// Where the cgroup that /proc/self/cgroup names is, given that file and /proc/self/mountinfo.
// Empty if it is nowhere.
std::string own_cgroup_path(std::string_view cgroup_file, std::string_view mountinfo);

} // namespace muster::services
