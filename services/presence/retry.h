// Something that the system refused for now is tried again, later each time: after 0.2 s, at last
// every 30 s. What is wrong is said when it is new, not each time.
#pragma once

#include <algorithm>
#include <functional>
#include <string>

#include "init/base/event_loop.h"

namespace muster::services {

class Retry {
  public:
    // `loop` must outlive it.
    explicit Retry(EventLoop& loop) : loop_(loop) {}

    // `again` comes from the event loop. Whether `what` is to be said.
    bool later(const std::string& what, std::function<void()> again) {
        timer_ = loop_.after(delay_, std::move(again));
        delay_ = std::min(delay_ * 2, longest);
        return std::exchange(said_, what) != what;
    }
    // It has succeeded, or is not wanted any more.
    void done() {
        timer_.cancel();
        delay_ = first;
        said_.clear();
    }

  private:
    static constexpr uint64_t first = 200 * millisecond;
    static constexpr uint64_t longest = 30 * second;

    EventLoop& loop_;
    Timer timer_;
    uint64_t delay_ = first;
    std::string said_;
};

} // namespace muster::services
