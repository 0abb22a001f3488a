#include "services/daemon/gathering.h"

namespace muster::services {

void Gathering::add(const Ref<dataspace::Facet>& facet, dataspace::TurnAction action) {
    if (count_ >= most) begin_turns();
    if (count_++ == 0)
        loop_.next_round([weak = weak_from_this()] {
            if (auto self = weak.lock()) self->begin_turns();
        });
    size_t turn = turns_of_[facet.get()]++;
    if (turn == turns_.size()) turns_.push_back(std::make_shared<Actions>());
    turns_[turn]->emplace_back(facet, std::move(action));
}

void Gathering::begin_turns() {
    for (std::shared_ptr<Actions>& each : turns_)
        engine_.external(facet_, [actions = std::move(each)](dataspace::Turn& turn) {
            for (const auto& [facet, action] : *actions)
                if (facet->alive()) turn.in(*facet, action);
        });
    turns_.clear();
    turns_of_.clear();
    count_ = 0;
}

} // namespace muster::services
