// One process of a daemon: it is started, watched, started again, and stopped.
//
// A daemon has an instance for each of its specifications (daemon.h). The life of an instance:
//
//   idle       to be started as soon as its daemon allows it
//     |  start: clone, exec, descriptors; a failure to do so is treated as an end with failure
//     v
//   starting   the commands of `startPre` run, then the process, not ready yet; then those of
//     |        `startPost`. A command that fails, or `startTimeout`, is an end with failure
//     |  a newline on the `notify` descriptor, READY=1, a health probe that succeeds; or at once,
//     |  with readyOnStart
//     v
//   running    the process runs and is ready; or only its own assertion of <service-state … ready>
//     |        in `$config` makes it so, which counts for the daemon, not here
//     |  the process ends by itself
//     v
//   ending     what it left behind is killed (SIGKILL), unless it is complete: then the rest of its
//     |        tree stays until the daemon is stopped
//     |  nothing of the tree is left; what it wrote has been read; `stopPost` is done
//     v
//   what the policy `restart` says about this end (success is exit code 0, or what
//   `success` lists):
//
//                always    on-error   all                  never
//     success    backoff   complete   complete             complete
//     failure    backoff   backoff    backoff, and all     failed; backoff if it
//                                     other processes of   could not be started for
//                                     the daemon too       want of something
//   backoff    waiting for its time, then idle
//   complete   done, until the daemon is restarted or stopped
//   failed     given up, until the daemon is restarted or stopped; also a wrong specification
//
//   starting, running --stop--> stopping: `stopSignal` (TERM) to the process group, and after
//     `stopTimeout` SIGKILL to the whole tree; when the process has ended in between, TERM to what
//     it left behind (`killMode` has it otherwise). When nothing is left, and `stopPost` is done:
//     gone, or idle again if it was for a restart.
//   starting, running --a watchdog or health probe fails--> ending, as after a failure, with the
//     stop signal (of the watchdog: ABRT) and its time.
//
// Delays are counted from the last start: at least 200 ms lie between two starts, twice as much
// each time, up to 30 s. After a run of 10 s or more it begins anew, so that a process which ran
// for a while is started again at once.
//
// What a successor of this second stage must know stands in the ledger (ledger.h): all of the above
// when a turn ends, the intent to start a process before it is made, an end as soon as it is known.
// An adopted instance goes on where it was; it is started again only when the configuration has its
// specification. A channel that can resume does (design 6), any other has come to its end.
//
// Ready goes as soon as the process ends or is asked to stop, and with it what the process itself
// asserted about its state (own_state.h). What else it asserted over its channel goes with it too,
// unless it may *linger*: then it stays, stale, until the next process is ready, which will have
// asserted the same again, so that nobody sees a gap; or until its time is over.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "init/protocol/relay.h"
#include "services/daemon/adoption.h"
#include "services/daemon/commands.h"
#include "services/daemon/context.h"
#include "services/daemon/failure.h"
#include "services/daemon/liveness.h"
#include "services/daemon/log_lines.h"
#include "services/daemon/s6_folder.h"
#include "services/daemon/s6_logger.h"
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
    pid_t pid() const;
    // What the process says about itself (sd_notify), for people.
    std::string status_text() const { return liveness_ ? liveness_->status() : std::string(); }
    bool reloading() const { return liveness_ && liveness_->reloading(); }
    uint64_t restarts() const { return starts_ > 0 ? starts_ - 1 : 0; }
    // The last end or failure in words; empty if there was none.
    const std::string& last() const { return last_; }
    uint64_t delay() const { return delay_; } // of the backoff, in nanoseconds
    // How long its stop may take in all, as far as that is known, in nanoseconds.
    uint64_t stop_limit() const { return stop_limit_; }
    // Null: it has not failed yet.
    const Failure* failure() const { return failure_.get(); }
    // What a process that has ended asserted is still there.
    bool stale() const { return static_cast<bool>(lingering_); }
    // Its process is ready, whoever said so: what lingers of the one before may go.
    void successor_ready() {
        linger_end_.cancel();
        lingering_ = protocol::Connection();
    }

    // Goes on with what a second stage before us had begun. REQUIRES: new.
    void adopt(Turn& turn, LedgerEntry entry);
    // Adopted, and not yet found in the configuration.
    bool unconfirmed() const { return unconfirmed_; }
    // It is there: `spec`, which is ours but for capabilities.
    void confirm(Turn& turn, Value spec);
    // Whether `spec` is ours, which an adopted one knows without its capabilities.
    bool runs(const Value& spec) const;
    // Writes to the ledger how it is.
    void remember();

    // REQUIRES: idle.
    void start(Turn& turn);
    // Ends it for good; Daemon::instance_gone is called when nothing of it is left.
    void retire(Turn& turn);
    // Ends it to be started anew (idle), as if for the first time.
    void reset(Turn& turn);

  private:
    enum class Outcome : uint8_t { none, backoff, complete, failed };

    // What init keeps of a run; the numbers go from one second stage to the next.
    enum class KeptRole : uint8_t {
        standard_output = 1,
        standard_error = 2,
        notify = 3,
        channel_input = 4,
        channel_output = 5,
        report = 6,
        notify_socket = 7,
        logger_read = 8,
        logger_write = 9,
    };

    // A process about to be started.
    struct Ends {
        Program program;
        Fd input, output; // of the protocol
        Fd notify;
        std::vector<SecondStageLink::SlotFd> kept; // ours, for init to keep
        void keep(KeptRole role, int fd) { kept.push_back({static_cast<uint8_t>(role), fd}); }
    };

    Result<> begin(Turn& turn);
    void begun_before(Turn& turn, const Error& failure);
    Result<> prepare(Ends& ends);
    Result<> prepare_output(Ends& ends);
    Result<> launch(Turn& turn);
    void executed(Turn& turn);
    void not_executed(Turn& turn, const Error& why);
    void open_channel(Turn& turn, Fd input, Fd output, bool resumed);
    Process::Events process_events(bool end_known);
    Result<> register_run();
    void claimed(SlotRef slot);
    void note_notifying(bool yes) const;
    void note_heard(bool ready);
    void carry();
    void adopt_sockets(Turn& turn);
    void adopt_carried();
    void adopt_failure(const Carried& carried);
    bool resume_before(Turn& turn);
    void run_before(Turn& turn);
    bool resumes(std::string_view what) const;
    void end_resume();
    void run_commands(std::string what, std::vector<Command> commands,
                      std::vector<std::string> environment, uint64_t limit, Commands::Done done);
    void end_commands();
    void adopt_logger(PipeEnds pipe);
    std::unique_ptr<S6Logger> make_logger(PipeEnds pipe);
    void remember_stop(uint64_t grace);
    void remember_signalled() const;
    void adopt_process(Turn& turn, Ref<Process> process);
    void adopt_descriptors(Turn& turn, bool notifying);
    void adopt_company(Turn& turn);
    void resume_channel(Turn& turn);
    Commands::Owner commands_owner() const;
    void watch_report(Fd fd);
    Error take_report();
    void could_not_start(Turn& turn, const Error& why);
    void now_ready(Turn& turn);
    void make_liveness();
    Result<> reread_s6();
    void give_up_on(Turn& turn, const std::string& why, int signal);
    void main_exited(Turn& turn, int wait_status, bool out_of_memory);
    void end_tree(int signal);
    void send_signal(int signal);
    bool main_is_due() const;
    void ended_in_stop(Failure failure);
    bool waits_for_tree() const;
    void end_rest_in_stop();
    void kill_after(uint64_t grace);
    void stop_may_take(Turn& turn, uint64_t time);
    void end_rest();
    bool limit_reached() const;
    std::string_view result_of_run() const;
    bool clean_up(Turn& turn);
    void cleaned_up(Turn& turn, const std::string& failure, int status);
    void after_run(Turn& turn);
    uint64_t first_delay() const;
    uint64_t longest_delay() const;
    void watch_notify(Fd fd);
    void became_ready(Turn& turn);
    void stop(Turn& turn);
    void tell_exited(Turn& turn, int wait_status);
    void process_ended(Turn& turn, int wait_status);
    void ended(Turn& turn, bool success, bool exhausted = false);
    void failed_by(Failure failure);
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
    bool tree_gone_ = false;
    bool killed_ = false;            // by us, after stopTimeout
    bool over_ = false;              // nothing of the run is left
    bool main_over_ = false;         // the process that it named as the one that counts has ended
    std::optional<int> main_status_; // and how
    bool dying_ = false;             // in the destructor
    bool channel_open_ = false;
    bool unconfirmed_ = false;
    bool down_counts_ = true; // a file `down` keeps it from being started

    int wait_status_ = -1; // of the last process
    pid_t last_pid_ = 0;
    Fd notify_;
    Fd kept_input_, kept_output_; // of a channel that is to resume
    Fd report_;                   // of `init --exec`

    Ref<Process> process_;
    uint64_t run_ = 0;                 // number of the process, for `later`
    std::unique_ptr<Failure> failure_; // the last one
    std::unique_ptr<LogLines> log_lines_;
    protocol::Connection channel_;
    protocol::Connection lingering_; // of the process before
    Timer linger_end_;
    dataspace::KeepAlive run_keep_;
    Ref<Facet> run_facet_; // what the process asserts about itself
    Watch notify_watch_;
    LedgerEntry entry_;
    std::unique_ptr<Adoption::Peer> resuming_;
    Watch report_watch_;
    std::unique_ptr<Error> reported_;        // what it said, not yet acted upon
    std::vector<Ref<ListenSocket>> sockets_; // open from the first start on
    std::unique_ptr<Liveness> liveness_;
    std::unique_ptr<Commands> commands_; // that run now
    std::unique_ptr<S6Folder> s6_;
    std::unique_ptr<S6Logger> logger_;
    std::vector<uint64_t> start_times_; // within restartLimit
    Timer timer_;                       // of the backoff, the stop, or the channel's end

    // Commands under way, for the ledger; and those of a second stage before us, until they go on.
    std::unique_ptr<CommandPlace> place_;
    std::unique_ptr<CommandPlace> logger_place_; // of the finish of its logger
    struct Resume {
        CommandPlace place;
        Ref<Process> process; // may be null
        Ref<Process> main;    // the one that it had named; may be null
        std::string says;     // of Liveness
        bool reloading = false;
    };
    std::unique_ptr<Resume> resume_;
    size_t before_ = 0; // commands of startPre that were done already when it is started

    uint64_t starts_ = 0;
    uint64_t started_at_ = 0; // CLOCK_MONOTONIC, nanoseconds
    uint64_t next_delay_ = 0;
    uint64_t next_start_ = 0; // CLOCK_MONOTONIC, nanoseconds
    uint64_t delay_ = 0;
    uint64_t stop_began_ = 0; // CLOCK_MONOTONIC, nanoseconds
    uint64_t stop_limit_ = 0; // from there
    std::string last_;
};

} // namespace muster::services
