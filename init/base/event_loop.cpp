#include "init/base/event_loop.h"

#include <sched.h>
#include <sys/timerfd.h>
#include <time.h>

#include <algorithm>
#include <cerrno>

namespace muster {

uint64_t monotonic_now() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * second + static_cast<uint64_t>(now.tv_nsec);
}

struct Watch::Slot {
    int fd;
    bool dead = false;
    uint32_t wanted;
    Watch* owner = nullptr;
    size_t index = 0; // in the loop's list
    std::function<void(uint32_t)> ready;
};

Watch::Watch(Watch&& other) noexcept
    : loop_(std::exchange(other.loop_, nullptr)), slot_(std::exchange(other.slot_, nullptr)) {
    if (slot_) slot_->owner = this;
}

Watch& Watch::operator=(Watch&& other) noexcept {
    if (this != &other) {
        cancel();
        loop_ = std::exchange(other.loop_, nullptr);
        slot_ = std::exchange(other.slot_, nullptr);
        if (slot_) slot_->owner = this;
    }
    return *this;
}

void Watch::want(uint32_t events) {
    if (!slot_ || slot_->wanted == events) return;
    slot_->wanted = events;
    epoll_event event{.events = events, .data = {.ptr = slot_}};
    epoll_ctl(loop_->epoll_.get(), EPOLL_CTL_MOD, slot_->fd, &event);
}

void Watch::cancel() {
    if (!slot_) return;
    epoll_ctl(loop_->epoll_.get(), EPOLL_CTL_DEL, slot_->fd, nullptr);
    // The slot stays until the round is over: its callback may be running, and events that were
    // fetched already may name it.
    slot_->dead = true;
    loop_->dead_.push_back(slot_);
    Slot* last = loop_->watches_.back();
    last->index = slot_->index;
    loop_->watches_[slot_->index] = last;
    loop_->watches_.pop_back();
    slot_ = nullptr;
    loop_ = nullptr;
}

struct Timer::Slot {
    EventLoop* loop;
    Timer* owner;
    uint64_t due;
    size_t index;
    std::function<void()> action;
};

Timer::Timer(Slot* slot) : slot_(slot) { slot_->owner = this; }

Timer::Timer(Timer&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {
    if (slot_) slot_->owner = this;
}

Timer& Timer::operator=(Timer&& other) noexcept {
    if (this != &other) {
        cancel();
        slot_ = std::exchange(other.slot_, nullptr);
        if (slot_) slot_->owner = this;
    }
    return *this;
}

void Timer::cancel() {
    if (!slot_) return;
    slot_->loop->heap_remove(slot_);
    delete std::exchange(slot_, nullptr);
}

EventLoop::EventLoop(Fd epoll, Fd timer) : epoll_(std::move(epoll)), timer_(std::move(timer)) {}

// What callbacks hold may own watches and timers of this loop: their owners lose them first.
EventLoop::~EventLoop() {
    for (Timer::Slot* slot : heap_)
        slot->owner->slot_ = nullptr;
    for (Watch::Slot* slot : watches_) {
        slot->owner->slot_ = nullptr;
        slot->owner->loop_ = nullptr;
    }
    for (Timer::Slot* slot : std::exchange(heap_, {}))
        delete slot;
    for (Watch::Slot* slot : std::exchange(watches_, {}))
        delete slot;
    for (Watch::Slot* slot : std::exchange(dead_, {}))
        delete slot;
    while (!deferred_.empty() || !next_.empty()) {
        std::exchange(deferred_, {}).clear();
        std::exchange(next_, {}).clear();
    }
}

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
    Fd epoll(epoll_create1(EPOLL_CLOEXEC));
    if (!epoll) return system_error("epoll_create1", errno);
    Fd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!timer) return system_error("timerfd_create", errno);
    epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
    if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, timer.get(), &event) != 0) {
        return system_error("epoll_ctl", errno);
    }
    return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(timer)));
}

Result<Watch> EventLoop::watch(int fd, uint32_t events, std::function<void(uint32_t)> ready) {
    auto slot = std::make_unique<Watch::Slot>();
    slot->fd = fd;
    slot->wanted = events;
    slot->ready = std::move(ready);
    epoll_event event{.events = events, .data = {.ptr = slot.get()}};
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
        return system_error("epoll_ctl", errno);
    }
    Watch watch;
    watch.loop_ = this;
    watch.slot_ = slot.get();
    slot->owner = &watch;
    slot->index = watches_.size();
    watches_.push_back(slot.release());
    return watch;
}

Timer EventLoop::after(uint64_t nanoseconds, std::function<void()> due) {
    auto* slot = new Timer::Slot{.loop = this,
                                 .owner = nullptr,
                                 .due = monotonic_now() + nanoseconds,
                                 .index = heap_.size(),
                                 .action = std::move(due)};
    heap_.push_back(slot);
    sift_up(slot->index);
    return Timer(slot);
}

size_t EventLoop::sift_up(size_t index) {
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (heap_[parent]->due <= heap_[index]->due) break;
        std::swap(heap_[parent], heap_[index]);
        heap_[parent]->index = parent;
        heap_[index]->index = index;
        index = parent;
    }
    return index;
}

void EventLoop::sift_down(size_t index) {
    for (;;) {
        size_t least = index;
        for (size_t child = 2 * index + 1; child <= 2 * index + 2 && child < heap_.size(); ++child)
            if (heap_[child]->due < heap_[least]->due) least = child;
        if (least == index) return;
        std::swap(heap_[least], heap_[index]);
        heap_[least]->index = least;
        heap_[index]->index = index;
        index = least;
    }
}

void EventLoop::heap_remove(Timer::Slot* slot) {
    size_t index = slot->index;
    Timer::Slot* moved = heap_.back();
    heap_.pop_back();
    if (moved == slot) return;
    heap_[index] = moved;
    moved->index = index;
    sift_down(sift_up(index));
}

// Arms the timerfd for the first timer. A timer that was cancelled may leave it armed too early:
// one needless wake-up, then it is right again.
void EventLoop::arm() {
    uint64_t due = heap_.empty() ? 0 : heap_[0]->due;
    if (due == armed_ || (due == 0 && armed_ == 0)) return;
    armed_ = due;
    itimerspec spec{};
    spec.it_value.tv_sec = static_cast<time_t>(due / second);
    spec.it_value.tv_nsec = static_cast<long>(due % second);
    timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr);
}

void EventLoop::fire_due_timers() {
    if (heap_.empty()) return;
    uint64_t now = monotonic_now();
    while (!heap_.empty() && heap_[0]->due <= now) {
        Timer::Slot* slot = heap_[0];
        heap_remove(slot);
        slot->owner->slot_ = nullptr;
        std::function<void()> action = std::move(slot->action);
        delete slot;
        action();
    }
}

void EventLoop::sweep() {
    // Destroying a callback may cancel further watches: they are swept in the next round.
    for (Watch::Slot* slot : std::exchange(dead_, {}))
        delete slot;
}

// Waits until there is an event, awake or asleep.
int EventLoop::wait(epoll_event* events, int most) {
    const uint64_t start = monotonic_now();
    uint64_t now = start;
    if (patience_.spins()) {
        int count = 0;
        while (count == 0 && now - start <= Patience::limit) {
            sched_yield();
            count = epoll_wait(epoll_.get(), events, most, 0);
            now = monotonic_now();
        }
        patience_.spun(now - start, count != 0);
        if (count != 0) return count;
    }
    int count = epoll_wait(epoll_.get(), events, most, -1);
    patience_.slept(monotonic_now() - now);
    return count;
}

void EventLoop::run_once(bool may_block) {
    arm();
    epoll_event events[64];
    int count = may_block && !more_ ? wait(events, 64) : epoll_wait(epoll_.get(), events, 64, 0);
    for (int i = 0; i < count; ++i) {
        auto* slot = static_cast<Watch::Slot*>(events[i].data.ptr);
        if (!slot) {
            uint64_t expirations;
            (void)!read(timer_.get(), &expirations, sizeof expirations);
            armed_ = 0;
        } else if (!slot->dead) {
            slot->ready(events[i].events);
        }
    }
    fire_due_timers();
    for (const auto& action : std::exchange(next_, {}))
        action();
    sweep();
    more_ = (after_round_ && after_round_()) || !next_.empty();
    if (deferred_.empty()) return;
    while (!deferred_.empty()) {
        std::vector<std::function<void()>> actions = std::move(deferred_);
        deferred_.clear();
        for (const auto& action : actions)
            action();
    }
    // They may have caused work for the hook that must not wait for the next event (a connection
    // turned out to be broken when it was written to).
    more_ = more_ || after_round_;
}

void EventLoop::run() {
    stopping_ = false;
    while (!stopping_)
        run_once(true);
}

} // namespace muster
