// Turns that are caused from outside, many in one: when hundreds of processes end together, who
// follows their states hears of them together, and not hundreds of times.
//
// What is added in a round of the loop is done in the next one, after the turns that were asked for
// before. What concerns one facet comes in turns of its own, in order: everybody sees each of its
// states, as when a process ends and nothing is left of it at the same time.
#pragma once

#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "init/base/event_loop.h"
#include "init/dataspace/engine.h"

namespace muster::services {

class Gathering : public std::enable_shared_from_this<Gathering> {
  public:
    // `loop` and `engine` must outlive this. `facet`: the turns' own; all others are of its actor.
    Gathering(EventLoop& loop, dataspace::Engine& engine, Ref<dataspace::Facet> facet)
        : loop_(loop), engine_(engine), facet_(std::move(facet)) {}

    // `action` in `facet`, unless that has ended by then.
    void add(const Ref<dataspace::Facet>& facet, dataspace::TurnAction action);

  private:
    using Actions = std::vector<std::pair<Ref<dataspace::Facet>, dataspace::TurnAction>>;
    static constexpr size_t most = 256; // at once

    void begin_turns();

    EventLoop& loop_;
    dataspace::Engine& engine_;
    Ref<dataspace::Facet> facet_;
    std::vector<std::shared_ptr<Actions>> turns_; // shared, as what a function holds must be
    std::unordered_map<const dataspace::Facet*, size_t> turns_of_; // how many have one of its own
    size_t count_ = 0;                                             // of actions in all of them
};

} // namespace muster::services
