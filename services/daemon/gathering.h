// Turns that are caused from outside, many in one: when hundreds of processes end together, who
// follows their states hears of them together, and not hundreds of times.
//
// What is added in a round of the loop is done in the next one, in the order in which it came, and
// after the turns that were asked for before.
#pragma once

#include <memory>
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
    static constexpr size_t most = 256; // in one turn

    void begin_turn();

    EventLoop& loop_;
    dataspace::Engine& engine_;
    Ref<dataspace::Facet> facet_;
    std::shared_ptr<Actions> waiting_;
};

} // namespace muster::services
