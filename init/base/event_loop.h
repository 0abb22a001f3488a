// One epoll loop: descriptors, timers, and a hook that runs when a round of events is done.
//
// Life of a round: wait until a descriptor is ready or a timer is due; call the watchers of ready
// descriptors, then the timers that are due, then `after_round`. Reads are level-triggered
// (epoll(7)): a watcher may take as little as it likes and is called again.
// Watches and timers may be destroyed in any callback, their own included; a destroyed one is not
// called any more. Everything runs on the thread that calls `run`.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "init/base/fd.h"
#include "init/base/patience.h"
#include "init/base/result.h"

namespace muster {

// CLOCK_MONOTONIC in nanoseconds.
uint64_t monotonic_now();
inline constexpr uint64_t millisecond = 1'000'000;
inline constexpr uint64_t second = 1'000'000'000;

class EventLoop;

// A descriptor being watched; destroying it ends the watch. The descriptor stays the caller's and
// must outlive the watch. The loop may end first: then nothing is watched any more.
class Watch {
  public:
    Watch() = default;
    Watch(Watch&& other) noexcept;
    Watch& operator=(Watch&& other) noexcept;
    ~Watch() { cancel(); }

    // Changes what is waited for: EPOLLIN, EPOLLOUT, both or 0 (errors and hang-ups still come).
    void want(uint32_t events);
    void cancel();
    explicit operator bool() const { return slot_ != nullptr; }

  private:
    friend class EventLoop;
    struct Slot;
    EventLoop* loop_ = nullptr;
    Slot* slot_ = nullptr;
};

// A timer that fires once; destroying it cancels it.
class Timer {
  public:
    Timer() = default;
    Timer(Timer&& other) noexcept;
    Timer& operator=(Timer&& other) noexcept;
    ~Timer() { cancel(); }
    void cancel();
    bool pending() const { return slot_ != nullptr; }

  private:
    friend class EventLoop;
    struct Slot;
    explicit Timer(Slot* slot);
    Slot* slot_ = nullptr;
};

class EventLoop {
  public:
    static Result<std::unique_ptr<EventLoop>> create();
    ~EventLoop();
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;

    // Calls `ready` with the epoll events whenever `fd` has some of `events`.
    Result<Watch> watch(int fd, uint32_t events, std::function<void(uint32_t)> ready);
    // Calls `due` once, `nanoseconds` from now.
    Timer after(uint64_t nanoseconds, std::function<void()> due);
    // Called after each round, and once before the first blocks. If it returns true there is more
    // to do at once: the next round does not block.
    void set_after_round(std::function<bool()> hook) {
        after_round_ = std::move(hook);
        more_ = true;
    }

    // Calls `action` once, at the end of this round, after the hook: to write what many callers
    // of this round have gathered.
    void defer(std::function<void()> action) { deferred_.push_back(std::move(action)); }

    // Calls `action` once in the next round, which does not block, after the watchers and timers.
    void next_round(std::function<void()> action) {
        next_.push_back(std::move(action));
        more_ = true;
    }

    // Runs until `stop`.
    void run();
    // One round; blocks for the first event if `may_block` and nothing is left to do.
    void run_once(bool may_block);
    void stop() { stopping_ = true; }

  private:
    friend class Watch;
    friend class Timer;
    EventLoop(Fd epoll, Fd timer);
    int wait(epoll_event* events, int most);
    void fire_due_timers();
    void sweep();
    void arm();
    void heap_remove(Timer::Slot* slot);
    size_t sift_up(size_t index);
    void sift_down(size_t index);

    Fd epoll_;
    Fd timer_;           // timerfd, armed for heap_[0]
    uint64_t armed_ = 0; // what it is armed for; 0: disarmed
    std::vector<Watch::Slot*> watches_;
    std::vector<Watch::Slot*> dead_; // cancelled; kept until the round is over
    std::vector<Timer::Slot*> heap_; // by due time
    Patience patience_;
    std::function<bool()> after_round_;
    std::vector<std::function<void()>> deferred_;
    std::vector<std::function<void()>> next_;
    bool stopping_ = false;
    bool more_ = false; // the next round must not block
};

} // namespace muster
