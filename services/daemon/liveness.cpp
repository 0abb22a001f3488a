#include "services/daemon/liveness.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "init/base/pidfd.h"
#include "init/base/seconds_text.h"

namespace muster::services {

namespace {

// From the end of a process to init's word of how it was, at most.
constexpr uint64_t status_grace = second;

} // namespace

// proc(5): the 22nd field of stat; the second, the name, may contain anything.
uint64_t process_started(pid_t pid) {
    std::string path = "/proc/" + std::to_string(pid) + "/stat";
    Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char text[1024];
    ssize_t size = file ? ::read(file.get(), text, sizeof text - 1) : 0;
    if (size <= 0) return 0;
    text[size] = '\0';
    const char* at = std::strrchr(text, ')');
    for (int field = 2; at != nullptr && field < 22; ++field)
        at = std::strchr(at + 1, ' ');
    return at != nullptr ? std::strtoull(at, nullptr, 10) : 0;
}

Liveness::Liveness(Commands::Owner owner, const DaemonSpec& spec, bool ready_by_probe,
                   Events events)
    : owner_(std::move(owner)), spec_(spec), ready_by_probe_(ready_by_probe),
      events_(std::move(events)), watchdog_(spec.more().watchdog) {}

Liveness::~Liveness() { forget_main(); }

Result<> Liveness::open(std::vector<std::string>& environment,
                        std::vector<std::string>& pid_variables) {
    const RareFields& rare = spec_.more();
    if (!rare.notify_socket) return {};
    auto opened = NotifySocket::open(rare.net_namespace);
    if (!opened) return opened.error();
    socket_ = std::move(*opened);
    environment.push_back("NOTIFY_SOCKET=" + socket_.address());
    if (watchdog_ > 0) {
        environment.push_back("WATCHDOG_USEC=" + std::to_string(watchdog_ / 1000));
        pid_variables.push_back("WATCHDOG_PID");
    }
    return {};
}

void Liveness::begin() {
    uint64_t limit = spec_.more().start_timeout;
    if (limit == 0) return;
    start_timer_ = owner_.context.loop.after(
        limit, [this, limit] { fail("not ready in " + seconds_text(limit), spec_.stop_signal); });
}

void Liveness::started(pid_t pid) {
    pid_ = pid;
    listen();
    if (ready_by_probe_) probe_later(0);
}

void Liveness::listen() {
    if (socket_.fd() < 0) return;
    auto watch = owner_.context.loop.watch(socket_.fd(), EPOLLIN, [this](uint32_t) { hear(); });
    if (watch)
        socket_watch_ = std::move(*watch);
    else
        events_.say("notify socket: " + watch.error().message);
}

void Liveness::hear() {
    // A few at a time: others want to be heard too.
    for (int i = 0; i < 16 && (!over_ || told_to_stop_) && socket_.fd() >= 0; ++i) {
        auto said = socket_.receive(pid_);
        if (!said) return;
        take(*said);
        events_.heard(said->ready);
        socket_.consume();
    }
}

void Liveness::take(const Notification& said) {
    bool changed = false;
    if (said.status && *said.status != status_) {
        status_ = *said.status;
        changed = true;
    }
    if (said.error_number)
        events_.say("it reports an error: " + std::string(std::strerror(*said.error_number)));
    if (said.fd_store)
        events_.say("FDSTORE=1 is refused: " + *said.fd_store + " is closed, not kept");
    if (told_to_stop_) {
        if (said.stopping) stopping_ = true;
        if (changed) events_.changed();
        if (said.extend_timeout > 0) events_.more_time(said.extend_timeout);
        return;
    }
    if (said.main_pid != 0 && said.main_pid != main_pid_ && said.main_pid != pid_) {
        follow(said.main_pid);
        changed = true;
    }
    if (said.extend_timeout > 0 && start_timer_.pending()) {
        uint64_t limit = said.extend_timeout;
        start_timer_ = owner_.context.loop.after(limit, [this, limit] {
            fail("not ready in the " + seconds_text(limit) + " that it asked for",
                 spec_.stop_signal);
        });
    }
    if (said.watchdog_time > 0) watchdog_ = watchdog_asked_ = said.watchdog_time;
    if (said.reloading != reloading_ && (said.reloading || said.ready)) {
        reloading_ = said.reloading;
        changed = true;
    }
    if (said.stopping && !stopping_) {
        stopping_ = true;
        changed = true;
    }
    if (changed) events_.changed();
    if (said.ready) events_.ready();
    if (said.watchdog_trigger) return fail("watchdog: it asked to be ended", SIGABRT);
    if (said.watchdog || said.watchdog_time > 0) arm_watchdog();
}

// Only one of its own is believed: its end is the end of the service.
void Liveness::follow(pid_t pid) {
    Fd pidfd = open_pidfd(pid);
    if (!pidfd) return events_.say("MAINPID=" + std::to_string(pid) + ": no such process");
    if (!events_.owns(pid))
        return events_.say("MAINPID=" + std::to_string(pid) + ": not one of this service");
    forget_main();
    main_pidfd_ = std::move(pidfd);
    main_pid_ = pid;
    main_due_ = true;
    // Before init knows that it is to be told, we know where.
    main_ = owner_.context.processes.follow(owner_.cgroup, pid, [this](SlotRef slot) {
        main_slot_ = slot;
        events_.heard(false);
    });
    watch_main();
}

void Liveness::adopt_main(pid_t pid, uint64_t started, Ref<Process> process) {
    uint64_t now = process_started(pid);
    bool runs = now != 0 && now == started;
    if (runs && !process) return follow(pid);
    main_pid_ = pid;
    main_due_ = true;
    main_ = std::move(process);
    if (main_) main_slot_ = main_->slot();
    if (runs) main_pidfd_ = open_pidfd(pid);
    watch_main();
}

// The pidfd says that it has ended, init how. It does not if another one was its parent.
void Liveness::watch_main() {
    if (main_)
        main_->attach(
            {.exited = [this](int wait_status) { main_exited(wait_status); }, .gone = {}});
    if (!main_pidfd_) {
        await_main();
        return;
    }
    auto watch = owner_.context.loop.watch(main_pidfd_.get(), EPOLLIN, [this](uint32_t) {
        main_watch_.cancel();
        await_main();
    });
    if (watch) main_watch_ = std::move(*watch);
}

bool Liveness::await_main() {
    if (main_pid_ == 0) return false;
    if (main_due_ && !main_end_.pending()) // else it is about to be acted upon
        main_end_ = owner_.context.loop.after(main_ ? status_grace : 0, [this] { main_ended(); });
    return true;
}

void Liveness::forget_main() {
    main_watch_.cancel();
    main_end_.cancel();
    if (main_) std::exchange(main_, nullptr)->let_go();
    main_slot_ = {};
    main_due_ = false;
}

void Liveness::signal_main(int number) const {
    for (int each : {number, SIGCONT})
        (void)::syscall(424 /* pidfd_send_signal */, main_pidfd_.get(), each, nullptr, 0);
}

void Liveness::adopt_watchdog(uint64_t asked) {
    if (asked > 0) watchdog_ = watchdog_asked_ = asked;
}

// Its last words may have named a successor.
bool Liveness::names_another() {
    const pid_t before = main_pid_;
    hear();
    return main_pid_ != before;
}

void Liveness::main_exited(int wait_status) {
    Ref<Process> process = std::exchange(main_, nullptr);
    if (names_another()) return;
    forget_main();
    end_limits();
    events_.main_exited(wait_status, process->out_of_memory());
}

void Liveness::main_ended() {
    if (names_another()) return;
    forget_main();
    if (over_) return events_.main_exited(-1, false);
    fail("its main process " + std::to_string(main_pid_) + " has ended", spec_.stop_signal);
}

void Liveness::became_ready() {
    if (std::exchange(ready_, true)) return;
    start_timer_.cancel();
    arm_watchdog();
    if (!ready_by_probe_) probe_later(spec_.more().health.interval);
}

void Liveness::arm_watchdog() {
    if (watchdog_ == 0 || !ready_) return;
    watchdog_timer_ = owner_.context.loop.after(watchdog_, [this] {
        fail("watchdog: nothing was heard for " + seconds_text(watchdog_), SIGABRT);
    });
}

void Liveness::probe_later(uint64_t delay) {
    if (spec_.more().health.argv.empty() || over_) return;
    probe_timer_ = owner_.context.loop.after(delay, [this] { probe(); });
}

void Liveness::probe() {
    const RareFields::Health& health = spec_.more().health;
    probe_ = std::make_unique<Commands>(
        owner_, spec_, "health", std::vector<Command>{health.argv},
        std::vector<std::string>{"MAINPID=" + std::to_string(main_pid_ != 0 ? main_pid_ : pid_)},
        health.timeout, [this](const Error& failure, int status) {
            probed(failure.message, status >= 0 && !failure.exhausted());
        });
    probe_->start();
}

void Liveness::probed(const std::string& failure, bool ran) {
    const RareFields::Health& health = spec_.more().health;
    // The commands call us: they go when that is over.
    probe_later(failure.empty() || ready_ ? health.interval : std::min(health.interval, second));
    if (failure.empty()) {
        misses_ = 0;
        if (ready_by_probe_ && !ready_) events_.ready();
        return;
    }
    if (!ready_) return; // not yet: the start has its own limit
    // That we have no processes or descriptors left says nothing about the service.
    if (!ran) return events_.say(failure);
    ++misses_;
    if (misses_ >= health.retries)
        fail(failure + ", " + std::to_string(misses_) + (misses_ == 1 ? " time" : " times"),
             spec_.stop_signal);
    else
        events_.say(failure + " (" + std::to_string(misses_) + " of " +
                    std::to_string(health.retries) + ")");
}

void Liveness::fail(std::string why, int signal) {
    if (over_) return;
    end_limits();
    events_.failed(std::move(why), signal);
}

void Liveness::end_limits() {
    over_ = true;
    start_timer_.cancel();
    watchdog_timer_.cancel();
    probe_timer_.cancel();
}

// sd_notify(3): STATUS=, EXTEND_TIMEOUT_USEC= and BARRIER= count in the stop too.
void Liveness::stop_begins() {
    end_limits();
    probe_.reset();
    told_to_stop_ = true;
}

void Liveness::end() {
    end_limits();
    probe_.reset();
    told_to_stop_ = false;
    socket_watch_.cancel();
}

} // namespace muster::services
