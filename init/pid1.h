// PID 1 as a state machine: what it does when something happens.
//
// It owns nothing: all it knows is in a State (plain data, so that it survives an exec of init),
// all it does goes through a Kernel (so that a test can script it) and through the link's socket.
// It allocates nothing and waits for nothing; run.h has the loop that calls it.
//
// The phases and what leads from one to the next:
//
//   start        begin(): `emergency` on the kernel command
//                line -> shell, else a second stage is started -> running
//   shell        the shell ends -> running; at once if it lasted, through `waiting` if it was brief
//   running      The second stage dies -> shell, waiting, or the next one -> running. A failed
//   start (it could not be executed, died
//                before `up`, or its link broke and it was killed) is counted; `up` sets the count
//                to zero. The fifth in a row makes the shell come before the next start.
//   waiting      time is over -> running. Only after several deaths shortly after `up`, or a shell
//                that ended at once, so that a loop of them leaves the machine usable.
//   any of these a signal or a record asks for the end -> stopping if a second stage is up,
//                else terminating
//   stopping     `services_stopped`, a second request by signal, or the limit -> terminating. The
//                second stage dies -> the next one goes on, within the same limit; the fifth death
//                -> terminating
//   terminating  TERM, HUP and CONT went to all; none left, or the limit -> killing
//   killing      KILL went to all; none left, or the limit -> finishing. For a switch of the root:
//                the switch, which does not return; if it fails, a shell.
//   finishing    the helper that syncs and unmounts ends, or is killed at the limit -> the action
//   over         the action was refused by the kernel: children are reaped, nothing else
//
// In a container a failed fifth start without a terminal ends everything with exit status 1, since
// nobody could see a shell; and finishing has nothing to unmount, the namespace goes with us.
//
// A message is one line, in lower case, after "init: ". Routine lines are left out under `quiet`.
#pragma once

#include <cstdint>
#include <string_view>

#include "init/kernel.h"
#include "init/line.h"
#include "init/link.h"
#include "init/records.h"
#include "init/state.h"

namespace muster::pid1 {

struct HowEnded;

class Pid1 {
  public:
    // `shared` is the state memfd, mapped.
    Pid1(State& state, const records::SharedState& shared, Kernel& kernel)
        : state_(state), shared_(shared), kernel_(kernel) {}

    // After start-up or, with a state that is not new, after init executed itself again.
    void begin();

    // Signals as they come from signalfd(2). SIGCHLD reaps.
    void on_signal(int signal);
    // The link can be read, or has hung up.
    void on_link_readable();
    // The link can be written.
    void on_link_writable();
    // Time may be over: call when timeout_ms() has passed, or at any time.
    void on_time();

    // For poll(2): milliseconds until on_time() has something to do; -1: never.
    int timeout_ms();
    // The link's socket or -1, and whether there is something to send on it.
    int link_fd() const { return state_.link_fd; }
    bool wants_to_write() const;

  private:
    static constexpr int kRound = 4096; // records or exits handled before others have a turn

    // A routine line, left out under `quiet`; one that is always said.
    template <typename... Parts>
    void say(const Parts&... parts) {
        if (!state_.quiet) warn(parts...);
    }
    template <typename... Parts>
    void warn(const Parts&... parts) {
        kernel_.print(Line("init: ", parts...).view());
    }

    void reap();
    void handle_exit(const Exited& exited);
    void book(std::uint32_t slot, const Exited& exited);
    void second_stage_died(int wait_status);
    void died_while_stopping(const HowEnded& how);
    void helper_ended(int wait_status);

    void start_second_stage();
    void start_shell(std::string_view why);
    void start_or_shell();
    void failed_start();
    void wait_then_start(std::int64_t ms);

    void read_records(int limit);
    void handle_record(const records::Record& record, Attached& attached);
    void handle_acknowledge(const records::Acknowledge& acknowledge);
    void handle_store(const records::NamedFd& named, int fd);
    void handle_store_slot(const records::SlotFds& named, Attached& attached);
    void handle_upgrade(const records::Upgrade& to);
    void handle_shutdown(const records::Shutdown& shutdown);
    void handle_switch_root(const records::SwitchRoot& to);
    void greet();
    void send_pending();
    void close_link();
    void link_broken(int error);
    void refuse(std::uint16_t kind, int error, std::string_view reason);

    void ask_end(records::Action action, int exit_status, int signal);
    bool stop_is_due() const;
    void terminate();
    void kill_all();
    void finish();
    void act();
    void enter(Phase phase, std::int64_t limit_ms);
    void give_more_time(std::int64_t left_ms);
    bool ending() const { return state_.phase >= Phase::stopping; }

    State& state_;
    const records::SharedState& shared_;
    Kernel& kernel_;
    bool more_to_reap_ = false;
    bool more_to_read_ = false;
    bool no_children_ = false;
};

// "exit status 3", "signal 9": how a process ended, for messages.
struct HowEnded {
    explicit HowEnded(int wait_status);
    const char* what;
    int number;
};

} // namespace muster::pid1
