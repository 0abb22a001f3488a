// Whether it pays to ask again at once instead of going to sleep: waking a process costs more than
// handling a packet, and whoever sent one often sends the next when it has the answer.
//
// Life: asleep waits are timed. After one that was short the next is spun (asked again and again,
// giving way to others in between) for at most `limit`. A spin without a result, or one in which
// something else ran for longer than that, is a failure: the next 1, 3, 7 … 255 waits are slept
// through without trying. Success forgets the failures. So what comes now and then is never spun
// for, and a steady stream just slower than `limit` costs one spin in 256 waits.
#pragma once

#include <algorithm>
#include <cstdint>

namespace muster {

class Patience {
  public:
    static constexpr uint64_t limit = 50'000;       // nanoseconds
    static constexpr uint64_t short_wait = 250'000; // nanoseconds, with the time to wake up

    // Spin now?
    bool spins() {
        if (!promising_) return false;
        if (skip_ == 0) return true;
        --skip_;
        return false;
    }
    // A spin brought something after `nanoseconds`, or not.
    void spun(uint64_t nanoseconds, bool success) {
        if (success && nanoseconds <= limit) {
            failures_ = 0;
            return;
        }
        failures_ = std::min(failures_ + 1, 8u);
        skip_ = (1u << failures_) - 1;
    }
    void slept(uint64_t nanoseconds) { promising_ = nanoseconds <= short_wait; }

  private:
    bool promising_ = false;
    uint32_t failures_ = 0;
    uint32_t skip_ = 0;
};

} // namespace muster
