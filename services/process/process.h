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
// The end of the process is known from init's `status` record, or, by ourselves, from its pidfd and
// waitid. Ends are never held back by anything. The status is acknowledged, and the slot free, when
// the tree is gone and that was told: until then a second stage that dies leaves everything behind
// that its successor needs.
//
// Adoption, after the death of a second stage: `adopt` makes a Process of each slot with a process;
// the statuses that init kept come by `on_status` as ever. Then each is claimed by who had started
// it (`claim_adopted`, and `attach` for its events), and what nobody claims is ended.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "init/base/event_loop.h"
#include "init/base/ref.h"
#include "init/base/result.h"
#include "init/second_stage_link.h"
#include "services/process/cgroup.h"
#include "services/process/oom_kills.h"
#include "services/process/spawn.h"

namespace muster::services {

class Processes;

// What a wait status says: "exit code 1", "killed by SIGKILL", "killed by SIGSEGV (core dumped)".
std::string describe_wait_status(int wait_status);
// A signal's number by its name, with or without SIG ("TERM", "SIGTERM", "RTMIN+3"); 0 if there is
// none.
int signal_number(std::string_view name);
// Its name without SIG, its number if it has none.
std::string signal_name(int number);

class Process : public Counted {
  public:
    ~Process() override;

    pid_t pid() const { return pid_; }
    bool running() const { return running_; }
    bool gone() const { return gone_; }
    // Of one that was launched, once: waits until it has executed; Processes::Started::failure.
    Error settle();
    // Whether the end of a leftover will be told.
    bool watched() const { return in_cgroup_; }

    // To the process group of the process; to everything in the tree when the process itself has
    // ended. Stopped ones are woken for it.
    void signal(int number);
    // To the process alone; to everything in the tree (the group, without a cgroup).
    void signal_process(int number);
    void signal_tree(int number);
    // SIGKILL to the whole tree.
    void kill();
    // Leaves what remains of the tree to itself: it counts as gone. REQUIRES: not running.
    void leave();
    // The OOM killer ended it, or something of its tree if its group is limited. Known once it has
    // ended.
    bool out_of_memory() const { return out_of_memory_; }
    // Of an adopted one; before that nothing is told. The events of what has happened already come
    // in the next round of the loop.
    struct Events {
        std::function<void(int wait_status)> exited;
        std::function<void()> gone;
    };
    void attach(Events events);
    // Of an adopted one that nobody will attach to: what still runs is killed.
    void disown();
    // Whether that process is in the tree. True where there are no cgroups that would say so.
    bool has(pid_t pid) const { return !in_cgroup_ || cgroup_.has(pid); }
    // What init kept for it: at most one of each role.
    Fd take_kept(std::uint8_t role);
    // From now on init keeps these instead. ERRORS: those of SecondStageLink::store_slot_fds.
    Result<> keep_instead(const std::vector<SecondStageLink::SlotFd>& fds);
    const SlotRef& slot() const { return slot_; }

    // Nobody wants to know any more: no callback comes; what still runs is killed and reaped.
    void abandon();
    // The same of one that was only followed, which is left as it is.
    void let_go();

  private:
    friend class Processes;
    explicit Process(Processes& owner) : owner_(owner) {}
    void ended(int wait_status);
    void watch_cgroup();
    void end_cgroup_watch();
    void acknowledge();
    void check_gone();
    bool group_remains() const;
    void be_executed() const;
    void signal_group(int number) const;

    Processes& owner_;
    SlotRef slot_;
    pid_t pid_ = 0;
    uint64_t since_ = 0; // CLOCK_MONOTONIC, nanoseconds
    Fd pidfd_;
    Watch end_watch_; // of the pidfd, by ourselves only
    Cgroup cgroup_;
    Fd cgroup_events_; // of a leftover
    int wait_status_ = 0;
    Watch cgroup_watch_;
    std::shared_ptr<Flight> flight_; // it may not have executed yet
    std::vector<std::pair<std::uint8_t, Fd>> kept_;
    bool acknowledged_ = false; // its end, under init
    bool waiting_ = false;      // adopted, not attached
    bool in_cgroup_ = false;
    bool followed_ = false; // its tree is another one's
    bool running_ = true;
    bool gone_ = false;
    bool killed_ = false;
    bool out_of_memory_ = false;
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

    using Events = Process::Events;
    // What is to survive us: called with the slot before the process is made, and descriptors for
    // init to keep.
    struct Survival {
        std::function<void(SlotRef)> claimed;
        std::vector<SecondStageLink::SlotFd> kept;
    };
    struct Started {
        Ref<Process> process;
        Error failure;                    // could not be executed; `exited` will say 127
        std::vector<std::string> remarks; // limits that could not be set
        bool under_way = false;           // Process::settle is to say what `failure` is
    };
    // `name` for the slot and the cgroup. The request's cgroup, parent and pid cell are filled in
    // here. Both events come from the event loop, never from within this call; a Process may be
    // dropped in them. With `launch` it need not have executed yet (Spawner::launch). Errors: those
    // of Spawner::spawn, no slot, no cgroup.
    Result<Started> start(std::string_view name, SpawnRequest request, Events events,
                          Survival survival = {}, bool launch = false);

    // A process in the tree of another one, whose parent is init or will be: its end is told as
    // well, once the callback is attached, also after our own death. Its tree is not watched, nor
    // ended. `claimed` is called before init knows of it. Null: without init, or without a slot.
    Ref<Process> follow(std::string_view name, pid_t pid,
                        const std::function<void(SlotRef)>& claimed);

    // Takes over the processes that are in the slots. REQUIRES: nothing was started yet.
    void adopt(std::vector<SecondStageLink::Kept::Slot> kept);
    // The adopted process in this slot, or null; once.
    Ref<Process> claim_adopted(SlotRef slot);
    // The same of one that was only followed.
    Ref<Process> follow_adopted(SlotRef slot);
    // One that ended, with all its tree, before anybody heard of it.
    Ref<Process> gone_already(int wait_status);
    // Kills and forgets the adopted ones that were not claimed; how many there were.
    size_t end_unclaimed();

    // To be called for every `status` record; those of strangers are acknowledged at once.
    Result<> on_status(const records::Status& status);

    const CgroupTree& cgroups() const { return tree_; }
    // What a program is started through that needs more than a clone can do: init and "--exec".
    // Empty: there is none.
    const std::vector<std::string>& exec_stub() const { return exec_stub_; }
    void set_exec_stub(std::vector<std::string> command) { exec_stub_ = std::move(command); }
    size_t count() const { return processes_.size(); } // not yet gone
    size_t left() const { return left_.size(); }       // trees left to themselves, not yet empty

  private:
    friend class Process;
    void finished(Process& process);
    Result<> acknowledge(SlotRef slot, pid_t pid);
    void keep_left(Cgroup group);
    std::vector<std::string>
    set_limits(const Cgroup& group,
               const std::vector<std::pair<std::string, std::string>>& settings) const;

    EventLoop& loop_;
    SecondStageLink& link_;
    Spawner spawner_;
    CgroupTree tree_;
    OomKills oom_kills_;
    bool to_flush_ = false; // acknowledgements, at the end of this round
    std::vector<std::string> exec_stub_;
    // Of trees that were left to themselves: to be removed when they are empty.
    struct Left {
        Cgroup group;
        Fd events;
        Watch watch;
    };
    std::vector<std::unique_ptr<Left>> left_;
    std::unordered_map<uint32_t, Ref<Process>> by_slot_;   // running
    std::unordered_map<Process*, Ref<Process>> processes_; // not gone
    std::unordered_map<uint32_t, Ref<Process>> adopted_;   // by slot, not claimed
};

} // namespace muster::services
