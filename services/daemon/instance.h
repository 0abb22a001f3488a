// One process of a daemon: it is started, watched, started again, and stopped.
//
// A daemon has an instance for each of its specifications (daemon.h). The life of an instance:
//
//   idle       to be started as soon as its daemon allows it
//     |  start: clone, exec, descriptors; a failure to do so is treated as an end with failure
//     v
//   starting   the process runs, not ready yet: readyOnStart is #f
//     |  a newline on the `notify` descriptor (or at once, with readyOnStart)
//     v
//   running    the process runs and is ready; or only its own assertion of <service-state … ready>
//     |        in `$config` makes it so, which counts for the daemon, not here
//     |  the process ends by itself
//     v
//   ending     what it left behind is killed (SIGKILL), unless it is complete: then the rest of its
//     |        tree stays until the daemon is stopped
//     |  nothing of the tree is left; what it wrote has been read
//     v
//   what the policy `restart` says about this end (success is exit code 0):
//
//                always    on-error   all                  never
//     success    backoff   complete   complete             complete
//     failure    backoff   backoff    backoff, and all     failed
//                                     other processes of
//                                     the daemon too
//   backoff    waiting for its time, then idle
//   complete   done, until the daemon is restarted or stopped
//   failed     given up, until the daemon is restarted or stopped; also a wrong specification
//
//   starting, running --stop--> stopping: `stopSignal` (TERM) to the process group, and after
//     `stopTimeout` SIGKILL to the whole tree; when the process has ended in between, TERM to what
//     it left behind. When nothing is left: gone, or idle again if it was for a restart.
//
// Delays are counted from the last start: at least 200 ms lie between two starts, twice as much
// each time, up to 30 s. After a run of 10 s or more it begins anew, so that a process which ran
// for a while is started again at once.
//
// Ready goes as soon as the process ends or is asked to stop, and with it what the process itself
// asserted about its state (own_state.h). What else it asserted over its channel goes with it too,
// unless it may *linger*: then it stays, stale, until the next process is ready, which will have
// asserted the same again, so that nobody sees a gap; or until its time is over.
#pragma once

#include <memory>
#include <string>

#include "init/protocol/relay.h"
#include "services/daemon/context.h"
#include "services/daemon/log_lines.h"
#include "services/daemon/spec.h"

namespace muster::services {

using dataspace::CapRef;
using dataspace::Facet;
using dataspace::Turn;
using dataspace::TurnAction;

class Daemon;

class Instance : public Counted {
  public:
    enum class Phase : uint8_t {
        idle,
        starting,
        running,
        ending,
        stopping,
        backoff,
        complete,
        failed,
    };

    // `owner` must outlive it. `spec` as it stands in the configuration.
    Instance(Daemon& owner, Value spec);
    ~Instance() override;

    const Value& spec() const { return spec_; }
    Phase phase() const { return phase_; }
    bool ready() const { return ready_; }
    bool retired() const { return retired_; }
    bool restarts_all() const { return restarts_all_; }
    // It has ended badly and waits for its delay or was given up.
    bool failed() const;
    pid_t pid() const { return process_ && process_->running() ? process_->pid() : 0; }
    uint64_t restarts() const { return starts_ > 0 ? starts_ - 1 : 0; }
    // The last end or failure in words; empty if there was none.
    const std::string& last() const { return last_; }
    uint64_t delay() const { return delay_; } // of the backoff, in nanoseconds
    // What a process that has ended asserted is still there.
    bool stale() const { return static_cast<bool>(lingering_); }
    // Its process is ready, whoever said so: what lingers of the one before may go.
    void successor_ready() {
        linger_end_.cancel();
        lingering_ = protocol::Connection();
    }

    // REQUIRES: idle.
    void start(Turn& turn);
    // Ends it for good; Daemon::instance_gone is called when nothing of it is left.
    void retire(Turn& turn);
    // Ends it to be started anew (idle), as if for the first time.
    void reset(Turn& turn);

  private:
    enum class Outcome : uint8_t { none, backoff, complete, failed };

    // The pipes of a process about to be started: the child's ends, closed after the start.
    struct Ends;

    Result<> prepare(SpawnRequest& request, Ends& ends);
    Result<> launch(Turn& turn);
    void open_channel(Turn& turn, Ends& ends);
    void watch_notify(Fd fd);
    void became_ready(Turn& turn);
    void stop(Turn& turn);
    void process_ended(Turn& turn, int wait_status);
    void ended(Turn& turn, bool success);
    void tree_gone(Turn& turn);
    void channel_closed(Turn& turn, const std::string& reason);
    void run_is_over(Turn& turn);
    void linger(Turn& turn);
    void back_off(Turn& turn);
    void idle_again(Turn& turn);
    void say(Turn& turn, const std::string& line);
    // A turn of the daemon's facet that something outside caused: dropped if by then the process
    // is another one.
    void later(std::function<void(Instance&, Turn&)> action);

    Daemon& owner_;
    Value spec_;
    Result<DaemonSpec> parsed_;
    Phase phase_ = Phase::idle;
    Outcome outcome_ = Outcome::none;
    bool ready_ = false;
    bool retired_ = false;
    bool restarts_all_ = false;
    bool remarked_ = false; // the remarks on the specification have been said

    Ref<Process> process_;
    uint64_t run_ = 0; // number of the process, for `later`
    bool tree_gone_ = false;
    bool killed_ = false; // by us, after stopTimeout
    bool over_ = false;   // nothing of the run is left
    bool dying_ = false;  // in the destructor
    std::unique_ptr<LogLines> log_lines_;
    protocol::Connection channel_;
    bool channel_open_ = false;
    protocol::Connection lingering_; // of the process before
    Timer linger_end_;
    dataspace::KeepAlive run_keep_;
    Ref<Facet> run_facet_; // what the process asserts about itself
    Fd notify_;
    Watch notify_watch_;
    Timer timer_; // of the backoff, the stop, or the channel's end

    uint64_t starts_ = 0;
    uint64_t started_at_ = 0; // CLOCK_MONOTONIC, nanoseconds
    uint64_t next_delay_ = 0;
    uint64_t next_start_ = 0; // CLOCK_MONOTONIC, nanoseconds
    uint64_t delay_ = 0;
    std::string last_;
};

} // namespace muster::services
