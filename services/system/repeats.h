// What is said again and again for as long as it lasts: heard once, and once when it is over.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>

#include "init/base/event_loop.h"

namespace muster::services {

class Repeats {
  public:
    // It is over when it was not said again for `quiet` nanoseconds. `loop` must outlive this.
    Repeats(EventLoop& loop, uint64_t quiet, std::function<void(const std::string&)> say)
        : loop_(loop), quiet_(quiet), say_(std::move(say)) {}

    void say(const std::string& line);

  private:
    static constexpr size_t most = 64; // lines that last; more are said each time

    EventLoop& loop_;
    uint64_t quiet_;
    std::function<void(const std::string&)> say_;
    std::unordered_map<std::string, Timer> lasting_;
};

} // namespace muster::services
