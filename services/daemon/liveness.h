// How a service with more than a process to show is watched: the time it may take to become ready,
// what it says on NOTIFY_SOCKET, its watchdog, its health probe.
//
//   begun     its time to become ready runs
//     |  READY=1; or a probe that succeeds, if that is what makes it ready -> `ready`
//     v
//   ready     the watchdog waits for WATCHDOG=1, probes are made
//     |  too late, too often unhealthy -> `failed`, once
//     v
//   over, or, if it is to stop, stopping: it is still heard, and may ask for more time
//
// All events come from the event loop; after `end` only that the main process has ended.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "services/daemon/commands.h"
#include "services/daemon/notify_socket.h"

namespace muster::services {

class Liveness {
  public:
    struct Events {
        std::function<void()> ready;
        // `signal`: what it is to be ended with.
        std::function<void(std::string why, int signal)> failed;
        // The process that it named as the one that counts has ended, and how is known; -1: it is
        // not, which is told when the service is over or to stop, and is a failure else.
        std::function<void(int wait_status, bool out_of_memory)> main_exited;
        std::function<void()> changed; // what people see: `status`, `main_pid`, `reloading`
        // It said something, which is gone when this returns: `main_pid`, `watchdog_asked`.
        std::function<void(bool ready)> heard;
        std::function<void(std::string line)> say;
        std::function<void(uint64_t nanoseconds)> more_time; // to stop
        std::function<bool(pid_t)> owns;                     // a process of the service
    };

    // `spec` must outlive it. `ready_by_probe`: nothing else makes it ready.
    Liveness(Commands::Owner owner, const DaemonSpec& spec, bool ready_by_probe, Events events);
    ~Liveness();
    Liveness(const Liveness&) = delete;
    Liveness& operator=(const Liveness&) = delete;

    // Before the start: what its environment and its descriptors need.
    Result<> open(std::vector<std::string>& environment, std::vector<std::string>& pid_variables);
    // Instead of `open`, for a process that runs already.
    void adopt(Fd socket) { socket_ = NotifySocket::adopt(std::move(socket)); }
    // What it had said before. `started`: process_started of it, which tells it from a later one
    // of the same number. `process`: if its end is told; may be null.
    void adopt_main(pid_t pid, uint64_t started, Ref<Process> process);
    void adopt_watchdog(uint64_t asked);
    void adopt_status(std::string status, bool reloading) {
        status_ = std::move(status);
        reloading_ = reloading;
    }
    const NotifySocket& socket() const { return socket_; }

    void begin();
    void started(pid_t pid);
    void became_ready();
    void stop_begins();
    void end();
    // Takes what was said and not read yet: the last words of a process come before its end.
    void hear();

    const std::string& status() const { return status_; }
    bool reloading() const { return reloading_; }
    bool stopping() const { return stopping_; }
    // The process that it named as the one that counts; 0: none.
    pid_t main_pid() const { return main_pid_; }
    // Where it is followed; generation 0: nowhere.
    SlotRef main_slot() const { return main_slot_; }
    // It has one whose end has not been told.
    bool main_is_due() const { return main_due_; }
    void signal_main(int number) const;
    // Nothing is left of the service. Whether it had a main process, whose end is told soon if it
    // has not been.
    bool await_main();
    // The time of its watchdog, if it asked for another one than the specification says; else 0.
    uint64_t watchdog_asked() const { return watchdog_asked_; }

  private:
    void end_limits();
    void listen();
    void take(const Notification& said);
    void follow(pid_t pid);
    void watch_main();
    void forget_main();
    bool names_another();
    void main_exited(int wait_status);
    void main_ended();
    void arm_watchdog();
    void probe_later(uint64_t delay);
    void probe();
    void probed(const std::string& failure, bool ran);
    void fail(std::string why, int signal);

    Commands::Owner owner_;
    const DaemonSpec& spec_;
    bool ready_by_probe_;
    Events events_;
    NotifySocket socket_;
    Watch socket_watch_;
    Timer start_timer_;
    Timer watchdog_timer_;
    Timer probe_timer_;
    std::unique_ptr<Commands> probe_;
    Fd main_pidfd_;
    Watch main_watch_;
    Timer main_end_; // it has ended, how is not known yet
    Ref<Process> main_;
    SlotRef main_slot_;
    pid_t pid_ = 0;
    pid_t main_pid_ = 0;
    uint64_t watchdog_;
    uint64_t watchdog_asked_ = 0;
    unsigned misses_ = 0;
    bool ready_ = false;
    bool reloading_ = false;
    bool stopping_ = false;
    bool over_ = false;
    bool told_to_stop_ = false;
    bool main_due_ = false;
    std::string status_;
};

// When it was started, in ticks since the machine was; 0: there is no such process (proc(5)).
uint64_t process_started(pid_t pid);

} // namespace muster::services
