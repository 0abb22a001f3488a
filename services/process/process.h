// A started process and the tree of all that came from it: its end, and how it is ended.
//
// The life of a tree
//
//   running    the process itself runs
//     |  it ends: `exited` is called with its wait status
//     v
//   leftover   it has ended, others of its tree have not
//     |  the last one ends: `gone` is called
//     v
//   gone       (at once after `exited` if nothing is left)
//
// The tree is the process's cgroup where there are cgroups. Elsewhere it is its process group and
// session: then a leftover cannot be watched; it counts as gone when it has been killed, and what
// has made itself a session of its own got away.
//
// The end of the process is known from init's `status` record, which is acknowledged here, or, by
// ourselves, from its pidfd and waitid. Ends are never held back by anything.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "init/base/event_loop.h"
#include "init/base/ref.h"
#include "init/base/result.h"
#include "init/second_stage_link.h"
#include "services/process/cgroup.h"
#include "services/process/spawn.h"

namespace muster::services {

class Processes;

// What a wait status says: "exit code 1", "killed by SIGKILL", "killed by SIGSEGV (core dumped)".
std::string describe_wait_status(int wait_status);
// A signal's number by its name, with or without SIG ("TERM", "SIGTERM"); 0 if there is none.
int signal_number(std::string_view name);

class Process : public Counted {
  public:
    ~Process() override;

    pid_t pid() const { return pid_; }
    bool running() const { return running_; }
    bool gone() const { return gone_; }
    // Whether the end of a leftover will be told.
    bool watched() const { return in_cgroup_; }

    // To the process group of the process; to everything in the tree when the process itself has
    // ended. Stopped ones are woken for it.
    void signal(int number);
    // SIGKILL to the whole tree.
    void kill();
    // Nobody wants to know any more: no callback comes; what still runs is killed and reaped.
    void abandon();

  private:
    friend class Processes;
    explicit Process(Processes& owner) : owner_(owner) {}
    void ended(int wait_status);
    void check_gone();
    bool group_remains() const;
    void signal_group(int number) const;

    Processes& owner_;
    SlotRef slot_;
    pid_t pid_ = 0;
    Fd pidfd_;
    Watch end_watch_; // of the pidfd, by ourselves only
    Cgroup cgroup_;
    Watch cgroup_watch_;
    bool in_cgroup_ = false;
    bool running_ = true;
    bool gone_ = false;
    bool killed_ = false;
    std::function<void(int)> exited_;
    std::function<void()> gone_callback_;
};

class Processes {
  public:
    // `loop` and `link` must outlive this. `tree` may be none.
    Processes(EventLoop& loop, SecondStageLink& link, Spawner spawner, CgroupTree tree);
    // The usual way: finds out what there is. What is missing is said in `remark`, one line.
    static Result<std::unique_ptr<Processes>> create(EventLoop& loop, SecondStageLink& link,
                                                     std::string* remark = nullptr);
    // Kills and reaps what still runs (waits for it where we are the parent).
    ~Processes();
    Processes(const Processes&) = delete;
    Processes& operator=(const Processes&) = delete;

    struct Events {
        std::function<void(int wait_status)> exited;
        std::function<void()> gone;
    };
    struct Started {
        Ref<Process> process;
        std::string failure; // could not be executed; `exited` will say 127
    };
    // `name` for the slot and the cgroup. The request's cgroup, parent and pid cell are filled in
    // here. Both events come from the event loop, never from within this call; a Process may be
    // dropped in them. Errors: those of Spawner::spawn, no slot, no cgroup.
    Result<Started> start(std::string_view name, SpawnRequest request, Events events);

    // To be called for every `status` record; strangers (from before a restart of ours) are
    // acknowledged too.
    Result<> on_status(const records::Status& status);

    const CgroupTree& cgroups() const { return tree_; }
    size_t count() const { return processes_.size(); } // not yet gone

  private:
    friend class Process;
    void finished(Process& process);

    EventLoop& loop_;
    SecondStageLink& link_;
    Spawner spawner_;
    CgroupTree tree_;
    std::unordered_map<uint32_t, Ref<Process>> by_slot_;   // running
    std::unordered_map<Process*, Ref<Process>> processes_; // not gone
};

} // namespace muster::services
