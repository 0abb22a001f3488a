// Something that the system refused for now is tried again, later each time: after 0.2 s, at last
// every 30 s. What is wrong is said when it is new, not each time.
#pragma once

#include <algorithm>
#include <string>

#include "init/dataspace/engine.h"
#include "services/presence/presence.h"

namespace muster::services {

class Retry {
  public:
    // `context` must outlive it.
    explicit Retry(const PresenceContext& context) : context_(context) {}

    // `why` is what is wrong; `again` comes in a turn of `facet`.
    void later(dataspace::Turn& turn, const std::string& why, Ref<dataspace::Facet> facet,
               dataspace::TurnAction again) {
        timer_ = context_.loop.after(delay_,
                                     [&engine = turn.engine(), facet = std::move(facet),
                                      again = std::move(again)] { engine.external(facet, again); });
        delay_ = std::min(delay_ * 2, longest);
        if (std::exchange(said_, why) != why) context_.report(turn, why + "; tried again");
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

    const PresenceContext& context_;
    Timer timer_;
    uint64_t delay_ = first;
    std::string said_;
};

} // namespace muster::services
