#include "init/dataspace/engine.h"

#include <algorithm>
#include <cstdio>

namespace muster::dataspace {

Engine::Engine() : accounts_(make_ref<Accounts>()), account_(accounts_->open("engine")) {
    on_failure_ = [](const Actor& actor, const Error& error) {
        std::fprintf(stderr, "dataspace: actor %s failed: %s\n", actor.name().c_str(),
                     error.message.c_str());
    };
}

// Actors hold each other through capabilities, also in circles: cut everything first.
Engine::~Engine() {
    closing_ = true;
    std::vector<Ref<Actor>> actors = std::move(actors_);
    for (const Ref<Actor>& actor : actors) {
        actor->exit_hooks_.clear();
        forget(*actor);
    }
    queue_.clear();
    goodbyes_.clear();
}

// Takes apart what an actor is made of, so that nothing holds itself.
void Engine::forget(Actor& actor) {
    actor.running_ = false;
    std::vector<Ref<Facet>> facets;
    if (actor.root_) facets.push_back(std::move(actor.root_));
    actor.root_ = nullptr;
    for (size_t i = 0; i < facets.size(); ++i) {
        Facet& facet = *facets[i];
        for (const Ref<Facet>& child : facet.children_)
            facets.push_back(child);
        facet.alive_ = false;
        facet.parent_ = nullptr;
        facet.newest_ = nullptr;
        facet.children_.clear();
        facet.stop_actions_.clear();
    }
    auto outbound = std::move(actor.outbound_);
    actor.outbound_.clear();
    auto hooks = std::move(actor.forget_hooks_);
    actor.forget_hooks_.clear();
    for (const auto& hook : hooks)
        hook();
}

Ref<Actor> Engine::create_actor(std::string name) {
    Ref<Actor> actor(new Actor(*this, std::move(name)));
    actor->index_ = actors_.size();
    actors_.push_back(actor);
    if (tracer_) tracer_->actor_starts(*actor);
    return actor;
}

Ref<Actor> Engine::spawn(std::string name, TurnAction boot, Ref<Account> account) {
    Ref<Actor> actor = create_actor(std::move(name));
    external(Ref<Facet>(&actor->root()), std::move(boot), std::move(account));
    return actor;
}

void Engine::external(const Ref<Facet>& facet, TurnAction action, Ref<Account> account) {
    if (closing_) return;
    queue_.push_back({Ref<Actor>(&facet->actor()),
                      {},
                      facet,
                      std::move(action),
                      Loan(account ? std::move(account) : account_, 1)});
}

void Engine::run_now(const Ref<Facet>& facet, const TurnAction& action, Ref<Account> account) {
    if (closing_) return;
    Activation activation{Ref<Actor>(&facet->actor()),
                          {},
                          facet,
                          action,
                          Loan(account ? std::move(account) : account_, 1)};
    run_activation(activation);
}

bool Engine::run(size_t budget) {
    while (budget > 0 && !idle()) {
        size_t round = std::min(queue_.size(), budget);
        for (size_t i = 0; i < round; ++i) {
            // The loan in it is repaid when what it caused has been queued.
            Activation activation = std::move(queue_.front());
            queue_.pop_front();
            run_activation(activation);
        }
        budget -= round;
        if (!goodbyes_.empty()) {
            Goodbye goodbye = std::move(goodbyes_.front());
            goodbyes_.pop_front();
            say_goodbye(goodbye);
            if (!goodbye.empty()) goodbyes_.push_back(std::move(goodbye));
            if (budget > 0) --budget;
        }
    }
    return !idle();
}

void Engine::run_activation(Activation& activation) {
    Actor& actor = *activation.actor;
    if (!actor.running_) return;
    Turn turn(*this, activation.actor, activation.loan.account());
    if (activation.action && !activation.facet->alive()) return;
    if (tracer_) tracer_->turn_begins(actor, activation.events);
    if (activation.action) {
        turn.in(*activation.facet, activation.action);
        if (activation.facet->alive() && activation.facet->inert())
            turn.maybe_inert_.push_back(activation.facet);
    }
    for (Event& event : activation.events) {
        Facet& facet = event.target->facet();
        if (!facet.alive()) {
            event.target->drop_entity();
            continue;
        }
        turn.facet_ = &facet;
        Entity& entity = event.target->entity();
        switch (event.kind) {
        case Event::Kind::assert_:
            entity.on_assert(turn, event.value, event.handle);
            break;
        case Event::Kind::retract:
            entity.on_retract(turn, event.handle);
            break;
        case Event::Kind::message:
            entity.on_message(turn, event.value);
            break;
        case Event::Kind::sync:
            entity.on_sync(turn, event.peer);
            break;
        }
        if (turn.failed_) break;
        if (facet.alive() && facet.inert()) turn.maybe_inert_.push_back(Ref<Facet>(&facet));
    }
    turn.facet_ = &actor.root();
    finish(turn);
    if (tracer_) tracer_->turn_ends();
}

void Engine::finish(Turn& turn) {
    turn.settle();
    Actor& actor = *turn.actor_;
    if (!turn.failed_) {
        turn.commit();
        if (!actor.root_->alive()) terminate(actor, nullptr);
        return;
    }
    // What the turn retracted is still there for the others: it goes with the actor.
    Goodbye goodbye;
    for (Turn::Outbox& outbox : turn.outboxes_)
        for (Event& event : outbox.events)
            if (event.kind == Event::Kind::retract)
                goodbye.emplace_back(event.handle, std::move(event.target));
    for (Turn::Birth& birth : turn.births_)
        terminate(*birth.actor, nullptr);
    terminate(actor, &turn.error_, std::move(goodbye));
}

void Engine::terminate(Actor& actor, const Error* error, Goodbye goodbye) {
    Ref<Actor> self(&actor);
    if (error && on_failure_) on_failure_(actor, *error);
    if (tracer_) tracer_->actor_ends(actor, error);
    goodbye.reserve(goodbye.size() + actor.outbound_.size());
    for (auto& [handle, outbound] : actor.outbound_)
        goodbye.emplace_back(handle, std::move(outbound.target));
    std::sort(goodbye.begin(), goodbye.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::function<void(const Error*)>> hooks = std::move(actor.exit_hooks_);
    actor.exit_hooks_.clear();
    actors_.back()->index_ = actor.index_;
    std::swap(actors_[actor.index_], actors_.back());
    actors_.pop_back();
    forget(actor);
    if (!goodbye.empty()) {
        say_goodbye(goodbye);
        if (!goodbye.empty()) goodbyes_.push_back(std::move(goodbye));
    }
    for (const auto& hook : hooks)
        hook(error);
}

// Queues the next slice of retractions, newest first, grouped by actor as a turn would.
void Engine::say_goodbye(Goodbye& goodbye) {
    std::vector<Activation> activations;
    uint64_t number = next_turn_++;
    for (size_t i = 0; i < goodbye_slice && !goodbye.empty(); ++i) {
        auto [handle, target] = std::move(goodbye.back());
        goodbye.pop_back();
        Actor& actor = target->actor();
        if (!actor.running_) {
            target->drop_entity();
            continue;
        }
        if (actor.outbox_turn_ != number) {
            actor.outbox_turn_ = number;
            actor.outbox_slot_ = static_cast<uint32_t>(activations.size());
            activations.push_back({Ref<Actor>(&actor), {}, {}, {}, Loan(account_, 0)});
        }
        activations[actor.outbox_slot_].events.push_back(
            {Event::Kind::retract, std::move(target), {}, handle, {}});
    }
    for (Activation& activation : activations)
        queue_.push_back(std::move(activation));
}

} // namespace muster::dataspace
