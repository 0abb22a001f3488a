#include "init/pid1.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/base/wait_status.h"
#include "init/line.h"
#include "init/link.h"

namespace muster::pid1 {

namespace {

using records::Action;
using records::Kind;
using records::Record;

constexpr std::uint32_t kFailedStarts = 5;     // in a row, then the shell
constexpr std::int64_t kMoreTimeMargin = 3000; // milliseconds, until the next such record
constexpr std::uint32_t kBriefRuns = 5;        // in a row, then every start waits
constexpr std::int64_t kAgainMs = 200;         // KILL is repeated: a fork may have slipped through

// As glibc counts, which is what engines and tools send: 32 and 33 are the library's own.
constexpr int kRtMin = 34;

const char* action_name(Action action) {
    switch (action) {
    case Action::poweroff:
        return "power off";
    case Action::reboot:
        return "reboot";
    case Action::halt:
        return "halt";
    case Action::exit:
        return "exit";
    case Action::switch_root:
        return "switch root";
    case Action::none:
        break;
    }
    return "nothing";
}

// `main`: a container with a main service, which gets what is not for the container itself.
Action action_of_signal(int signal, bool container, bool main) {
    if (main && (signal == SIGUSR1 || signal == SIGUSR2)) return Action::none;
    switch (signal) {
    case SIGUSR1:
        return Action::halt; // as busybox init has it
    case SIGUSR2:
        return Action::poweroff;
    case SIGPWR:
        return Action::poweroff;
    case SIGTERM:
        return container ? Action::poweroff : Action::reboot;
    case SIGINT:
        return container ? Action::poweroff : Action::reboot; // Ctrl-Alt-Del
    case kRtMin + 3:
        return container ? Action::poweroff : Action::halt; // as systemd has them
    case kRtMin + 4:
        return Action::poweroff;
    case kRtMin + 5:
        return Action::reboot;
    default:
        return Action::none;
    }
}

} // namespace

HowEnded::HowEnded(int wait_status)
    : what(WIFSIGNALED(wait_status) ? "signal " : "exit status "),
      number(WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status)) {}
void Pid1::enter(Phase phase, std::int64_t limit_ms) {
    state_.phase = phase;
    state_.phase_since_ms = kernel_.now_ms();
    state_.deadline_ms = limit_ms > 0 ? state_.phase_since_ms + limit_ms : 0;
}

// --- starting ---

void Pid1::begin() {
    more_to_reap_ = true; // children of an earlier self
    if (state_.phase == Phase::running && state_.second_stage_pid == 0) state_.phase = Phase::start;
    if (state_.phase != Phase::start) return;
    if (state_.command_line.emergency && !state_.shell_done) {
        state_.shell_done = true;
        start_shell("the kernel command line asks for a shell");
    } else {
        start_second_stage();
    }
}

void Pid1::start_second_stage() {
    if (!ending()) enter(Phase::running, 0); // else the limit of the end goes on
    state_.greeted = false;
    state_.up = false;
    state_.kept_at = 0;
    state_.kept_statuses = 0;
    state_.kept_fds = 0;
    state_.kept_slot_at = 0;
    state_.kept_slots = 0;
    state_.kept_done = false;
    state_.replacing = false;
    state_.statuses.resend_all();
    int ends[2];
    pid_t pid = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        pid = -errno;
    } else {
        Record welcome = records::make_record(Kind::welcome);
        auto& text = welcome.payload.welcome;
        text.flags =
            (state_.container ? records::kContainer : 0) |
            (state_.cgroup2 ? records::kCgroup2 : 0) |
            (state_.cgroup_kill ? records::kCgroupKill : 0) | (state_.quiet ? records::kQuiet : 0) |
            (state_.initramfs ? records::kInitramfs : 0) | (ending() ? records::kEnding : 0);
        text.starts = state_.starts;
        text.slots = records::kSlots;
        text.stored_fds = records::kStoredFds;
        text.init_start_ms = state_.init_start_ms;
        text.stop_limit_ms = state_.limits.stop;
        text.state_version = State::kVersion;
        text.state_size = sizeof(State);
        copy_field(text.init_program, sizeof text.init_program, state_.own_path);
        int sent = send_record(ends[0], welcome, state_.shared_fd);
        pid = sent < 0 ? sent : kernel_.start(Helper::second_stage, state_, ends[1]);
        close(ends[1]);
        if (pid <= 0) close(ends[0]);
    }
    if (pid <= 0) {
        warn("cannot start ", state_.second_stage, ": ", strerror(-pid));
        ++state_.failures;
        ending() ? terminate() : wait_then_start(state_.limits.wait);
        return;
    }
    state_.link_fd = ends[0];
    state_.second_stage_pid = pid;
    ++state_.starts;
}

void Pid1::start_shell(std::string_view why) {
    warn(why, "; the boot goes on when it ends");
    enter(Phase::shell, 0);
    pid_t pid = kernel_.start(Helper::shell, state_, -1);
    if (pid <= 0) {
        warn("cannot start a shell: ", strerror(-pid));
        wait_then_start(state_.limits.shell_wait);
        return;
    }
    state_.helper_pid = pid;
}

void Pid1::wait_then_start(std::int64_t ms) { enter(Phase::waiting, ms); }

void Pid1::start_or_shell() {
    if (state_.failures >= kFailedStarts) {
        state_.failures = 0;
        if (state_.container && !state_.terminal) {
            warn(state_.second_stage, " failed ", kFailedStarts, " times in a row, giving up");
            ask_end(Action::exit, 1, 0);
            return;
        }
        start_shell("the second stage failed five times in a row: emergency shell");
    } else if (state_.briefs > kBriefRuns) {
        wait_then_start(state_.limits.wait);
    } else {
        start_second_stage();
    }
}

// --- exits ---

void Pid1::reap() {
    more_to_reap_ = false;
    for (int count = 0; count < kRound; ++count) {
        Exited exited{};
        pid_t pid = kernel_.look(exited);
        if (pid == -ECHILD) {
            if (state_.phase == Phase::terminating)
                kill_all();
            else if (state_.phase == Phase::killing)
                finish();
            return;
        }
        if (pid <= 0) return;
        handle_exit(exited);
        kernel_.reap(pid);
    }
    more_to_reap_ = true;
}

void Pid1::handle_exit(const Exited& exited) {
    if (exited.pid == state_.second_stage_pid) {
        second_stage_died(exited.wait_status);
        return;
    }
    if (exited.pid == state_.helper_pid) {
        helper_ended(exited.wait_status);
        return;
    }
    if (exited.pid == state_.main_pid) {
        state_.main_pid = 0;
        state_.exit_status = shell_status(exited.wait_status);
    }
    std::uint32_t slot = state_.statuses.find(shared_, exited.pid);
    if (slot == StatusTable::kNone) return; // a stranger
    book(slot, exited);
}

void Pid1::book(std::uint32_t slot, const Exited& exited) {
    // The acknowledgement for the slot's earlier process was sent before the slot was used again,
    // so it is at hand.
    if (state_.statuses.occupied(slot)) read_records(kRound);
    state_.statuses.forget_earlier(shared_, slot);
    if (state_.statuses.occupied(slot)) {
        warn("process ", exited.pid, " was started in slot ", slot,
             " whose earlier status is not acknowledged: its status is lost");
        return;
    }
    records::Status status{};
    status.slot = slot;
    status.generation = shared_.slots[slot].generation;
    status.pid = exited.pid;
    status.wait_status = exited.wait_status;
    status.when_ms = kernel_.now_ms();
    status.user_us = exited.user_us;
    status.system_us = exited.system_us;
    status.max_rss_kib = exited.max_rss_kib;
    state_.statuses.book(status);
    send_pending();
}

void Pid1::second_stage_died(int wait_status) {
    state_.second_stage_pid = 0;
    read_records(kRound); // its last words
    close_link();
    if (state_.phase > Phase::stopping) return;
    HowEnded how(wait_status);
    if (state_.phase == Phase::stopping) {
        died_while_stopping(how);
        return;
    }
    if (state_.replacing) {
        say("the second stage is replaced");
        state_.failures = 0;
    } else if (state_.up) {
        warn("the second stage died (", how.what, how.number, "), starting it again");
        bool brief = kernel_.now_ms() - state_.phase_since_ms < state_.limits.brief;
        state_.briefs = brief ? state_.briefs + 1 : 0;
        state_.failures = 0;
    } else {
        ++state_.failures;
        warn("the second stage died before it was up (", how.what, how.number, "), attempt ",
             state_.failures, " of ", kFailedStarts);
    }
    start_or_shell();
}

// The next one takes over what still runs and goes on with the end. The limit stays where it is, so
// there is no time for pauses: each death counts, also of one that was up.
void Pid1::died_while_stopping(const HowEnded& how) {
    ++state_.failures;
    warn("the second stage died while it stopped the services (", how.what, how.number,
         "), attempt ", state_.failures, " of ", kFailedStarts);
    if (state_.failures >= kFailedStarts) {
        terminate();
        return;
    }
    state_.stop_sent = false;
    start_second_stage();
}

void Pid1::helper_ended(int wait_status) {
    state_.helper_pid = 0;
    switch (state_.phase) {
    case Phase::shell: {
        bool brief = kernel_.now_ms() - state_.phase_since_ms < state_.limits.brief;
        if (brief) {
            HowEnded how(wait_status);
            warn("the shell ended at once (", how.what, how.number, ")");
            wait_then_start(state_.limits.shell_wait);
        } else {
            start_second_stage();
        }
        break;
    }
    case Phase::finishing:
        if (wait_status != 0) {
            HowEnded how(wait_status);
            warn("not everything could be unmounted (", how.what, how.number, ")");
        }
        act();
        break;
    default:
        break;
    }
}

// --- the end ---

void Pid1::on_signal(int signal) {
    if (signal == SIGCHLD) {
        reap();
        return;
    }
    Action action = action_of_signal(signal, state_.container, state_.main_words > 0);
    if (action != Action::none) {
        ask_end(action, 0, signal);
    } else if (state_.link_fd >= 0 && state_.greeted) {
        Record record = records::make_record(Kind::signal);
        record.payload.signal.signal = signal;
        send_record(state_.link_fd, record);
    }
}

void Pid1::ask_end(Action action, int exit_status, int signal) {
    if (state_.phase == Phase::over) return;
    // Asked a second time by someone who does not want to wait. Who stops a container whose main
    // service has just ended by itself asks for the first time.
    bool again = state_.phase == Phase::stopping && signal != 0 &&
                 (!state_.container || state_.stop_signal != 0);
    state_.action = action;
    // A signal while the end goes on takes the status of nobody away.
    if (action == Action::exit) state_.exit_status = exit_status;
    state_.stop_signal = signal;
    if (signal != 0)
        say(action_name(action), " (signal ", signal, ")");
    else
        say(action_name(action));
    if (again) {
        terminate();
    } else if (!ending() && state_.up && state_.link_fd >= 0) {
        enter(Phase::stopping, state_.limits.stop);
        state_.stop_sent = false;
        send_pending();
    } else if (!ending()) {
        terminate();
    }
}

// Dead or hanging it asks for nothing: then the limit stays where it is.
void Pid1::give_more_time(std::int64_t left_ms) {
    if (state_.phase != Phase::stopping || state_.container || left_ms < 0) return;
    std::int64_t longest = state_.phase_since_ms + records::kLongestStop;
    std::int64_t until = longest;
    if (left_ms < records::kLongestStop) until = kernel_.now_ms() + left_ms + kMoreTimeMargin;
    if (until > longest) until = longest;
    if (until > state_.deadline_ms) state_.deadline_ms = until;
}

void Pid1::terminate() {
    enter(Phase::terminating, state_.limits.grace);
    kernel_.kill(-1, SIGTERM);
    kernel_.kill(-1, SIGHUP);
    kernel_.kill(-1, SIGCONT);
    more_to_reap_ = true;
}

void Pid1::kill_all() {
    if (state_.phase != Phase::killing) enter(Phase::killing, state_.limits.kill);
    kernel_.kill(-1, SIGKILL);
    more_to_reap_ = true;
}

void Pid1::finish() {
    close_link();
    state_.second_stage_pid = 0;
    state_.helper_pid = 0;
    if (state_.container || state_.action == Action::switch_root) {
        act();
        return;
    }
    enter(Phase::finishing, state_.limits.finish);
    pid_t pid = kernel_.start(Helper::finish, state_, -1);
    if (pid > 0) {
        state_.helper_pid = pid;
        return;
    }
    warn("cannot unmount: ", strerror(-pid));
    act();
}

void Pid1::act() {
    if (state_.action == Action::switch_root) {
        int error = kernel_.switch_root(state_.switch_root, state_);
        warn("switch root to ", state_.switch_root.new_root, ": ", strerror(-error));
        state_.action = Action::none;
        start_shell("the root was not switched: emergency shell");
        return;
    }
    enter(Phase::over, 0);
    int error = kernel_.end(state_.action, state_.exit_status, state_.container);
    if (error < 0) warn(action_name(state_.action), ": ", strerror(-error));
}

// --- time ---

int Pid1::timeout_ms() {
    if (more_to_reap_ || more_to_read_) return 0;
    if (state_.deadline_ms == 0) return -1;
    std::int64_t left = state_.deadline_ms - kernel_.now_ms();
    if (left < 0) left = 0;
    if (state_.phase == Phase::killing && left > kAgainMs) left = kAgainMs;
    return left > 1 << 30 ? 1 << 30 : static_cast<int>(left);
}

void Pid1::on_time() {
    if (more_to_read_) read_records(kRound);
    if (more_to_reap_) reap();
    if (state_.deadline_ms == 0) return;
    bool over = kernel_.now_ms() >= state_.deadline_ms;
    if (!over) {
        if (state_.phase == Phase::killing) kernel_.kill(-1, SIGKILL);
        return;
    }
    switch (state_.phase) {
    case Phase::waiting:
        state_.briefs = 0 < state_.briefs ? kBriefRuns : 0; // the next brief one waits again
        start_or_shell();
        break;
    case Phase::stopping:
        warn("the services did not stop in time");
        terminate();
        break;
    case Phase::terminating:
        kill_all();
        break;
    case Phase::killing:
        warn("some processes cannot be killed, going on without them");
        finish();
        break;
    case Phase::finishing:
        warn("unmounting takes too long, going on without it");
        if (state_.helper_pid > 0) kernel_.kill(state_.helper_pid, SIGKILL);
        state_.helper_pid = 0;
        act();
        break;
    default:
        break;
    }
}

} // namespace muster::pid1
