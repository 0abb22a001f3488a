#include "services/daemon/gathering.h"

namespace muster::services {

void Gathering::add(const Ref<dataspace::Facet>& facet, dataspace::TurnAction action) {
    if (waiting_ && waiting_->size() >= most) begin_turn();
    if (!waiting_) {
        waiting_ = std::make_shared<Actions>();
        loop_.next_round([weak = weak_from_this()] {
            if (auto self = weak.lock()) self->begin_turn();
        });
    }
    waiting_->emplace_back(facet, std::move(action));
}

void Gathering::begin_turn() {
    if (!waiting_) return; // it was more than one turn's
    engine_.external(facet_, [actions = std::move(waiting_)](dataspace::Turn& turn) {
        for (const auto& [facet, action] : *actions)
            if (facet->alive()) turn.in(*facet, action);
    });
    waiting_ = nullptr;
}

} // namespace muster::services
