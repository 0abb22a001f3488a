#include "init/dataspace/engine.h"

#include <algorithm>
#include <cstdio>

namespace muster::dataspace {

Engine::Engine() : accounts_(make_ref<Accounts>()), account_(accounts_->open("engine")) {
    on_failure_ = [](const Actor& actor, const Error& error) {
        std::fprintf(stderr, "dataspace: actor %s failed: %s\n", actor.name().c_str(),
                     error.message.c_str());
    };
    on_exceeded_ = [](const Actor& actor, Bound bound) {
        std::fprintf(stderr, "dataspace: %s: %s\n", actor.name().c_str(), to_string(bound));
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
    AssertionTable assertions = std::move(assertions_);
    while (!queue_.empty())
        delete queue_.take();
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
        facet.newest_ = 0;
        facet.children_.clear();
        facet.stop_actions_.clear();
    }
    auto hooks = std::move(actor.forget_hooks_);
    actor.forget_hooks_.clear();
    for (const auto& hook : hooks)
        hook();
}

void Engine::exceeded(Actor& actor, Bound bound) {
    const auto bit = static_cast<uint8_t>(1U << static_cast<unsigned>(bound));
    if ((std::exchange(actor.exceeded_, actor.exceeded_ | bit) & bit) == 0)
        on_exceeded_(actor, bound);
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
    Batch* batch = new_batch(facet->actor());
    batch->facet = facet;
    batch->action = std::move(action);
    batch->loan = Loan(account ? std::move(account) : account_, 1);
    enqueue(batch);
}

bool Engine::pass_on(const CapRef& target, Value&& body, const Ref<Account>& account) {
    if (closing_ || tracer_ || (target && target->caveats())) return false;
    if (!target) return true;
    if (!target->actor().running()) {
        target->drop_entity();
        return true;
    }
    if (idle()) { // then the turn that would be queued is the next one
        Turn turn(*this, target->actor(), account, scratch_, next_turn_++);
        deliver(turn, Event::Kind::message, target, body, Handle{0});
        finish(turn);
        return true;
    }
    Batch* batch = new_batch(target->actor());
    batch->events.emplace_back(Event::Kind::message, target, std::move(body), Handle{0});
    batch->loan.take_up(account, 1);
    enqueue(batch);
    return true;
}

void Engine::send(Batch* batch, const Ref<Account>& account) {
    if (tracer_) tracer_->turn_sends(batch->events);
    batch->loan.take_up(account, static_cast<int64_t>(batch->events.size()));
    enqueue(batch);
}

// To somebody who takes it without a turn, and for whom nothing waits: that is as if its turn were
// the next one.
bool Engine::hand_over(const CapRef& target, const Value& body, const Actor& sender,
                       const Ref<Account>& account) {
    if (tracer_ || !target->facet().alive()) return false;
    const Actor& actor = target->actor();
    if (actor.waiting_ > 0 || &actor == &sender) return false;
    if (!target->entity().take_message(account, body)) return false;
    ++sent_at_once_;
    return true;
}

bool Engine::run(size_t budget) {
    while (budget > 0 && !idle()) {
        for (size_t round = queue_.size(); round > 0 && budget > 0; --round) {
            Batch* batch = queue_.take();
            --batch->actor->waiting_;
            sent_at_once_ = 0;
            run_batch(*batch);
            done_with(batch);
            budget -= std::min(budget, 1 + sent_at_once_);
        }
        if (!goodbyes_.empty()) {
            Goodbye goodbye = std::move(goodbyes_.front());
            goodbyes_.pop_front();
            say_goodbye(goodbye);
            if (!goodbye.empty()) goodbyes_.push_back(std::move(goodbye));
            budget -= std::min(budget, slice_turns);
        }
    }
    return !idle();
}

// Batches come and go with every turn: some are kept for their memory.
Batch* Engine::new_batch(Actor& actor) {
    Batch* batch = spare_.empty() ? new Batch : spare_.take();
    batch->actor = Ref<Actor>(&actor);
    return batch;
}

// Delivered or not, its events are over: assertions that they retracted are gone for good. Its loan
// is repaid now that what it caused has been queued.
void Engine::done_with(Batch* batch) {
    if (batch->retracts)
        for (Event& event : batch->events)
            if (event.kind == Event::Kind::retract) assertions_.free(event.handle);
    constexpr size_t kept = 64;
    if (spare_.size() >= kept || batch->events.capacity() > kept) {
        delete batch;
        return;
    }
    batch->events.clear();
    if (batch->action) batch->action = nullptr;
    if (batch->facet) batch->facet = nullptr;
    batch->actor = nullptr;
    batch->retracts = false;
    batch->loan.repay();
    spare_.add(batch);
}

void Engine::run_batch(Batch& batch) {
    if (!batch.actor->running_) return;
    if (batch.action && !batch.facet->alive()) return;
    if (tracer_) tracer_->turn_begins(*batch.actor, batch.events);
    Turn turn(*this, *batch.actor, batch.loan.account(), scratch_, next_turn_++);
    if (!batch.action) {
        deliver(turn, batch);
    } else {
        turn.facet_ = batch.facet.get();
        batch.action(turn);
        finish_action(turn, batch.facet);
    }
    if (tracer_) tracer_->turn_ends();
}

void Engine::deliver(Turn& turn, const Batch& batch) {
    for (const Event& event : batch.events) {
        deliver(turn, event.kind, event.target, event.value, event.handle);
        if (turn.failed_) break;
    }
    finish(turn);
}

inline void Engine::deliver(Turn& turn, Event::Kind kind, const CapRef& target, const Value& value,
                            Handle handle) {
    Facet& facet = target->facet();
    if (!facet.alive()) {
        target->drop_entity();
        return;
    }
    turn.facet_ = &facet;
    Entity& entity = target->entity();
    switch (kind) {
    case Event::Kind::message:
        entity.on_message(turn, value);
        break;
    case Event::Kind::assert_:
        entity.on_assert(turn, value, handle);
        break;
    case Event::Kind::retract:
        entity.on_retract(turn, handle);
        break;
    case Event::Kind::sync:
        entity.on_sync(turn, cap_of(value));
        break;
    }
    if (!turn.failed_ && facet.alive() && facet.inert()) turn.note_inert(&facet);
}

void Engine::finish_action(Turn& turn, const Ref<Facet>& facet) {
    if (facet->alive() && facet->inert()) turn.note_inert(facet.get());
    finish(turn);
}

void Engine::finish(Turn& turn) {
    Actor& actor = turn.actor_;
    turn.facet_ = actor.root_.get();
    turn.settle();
    if (turn.failed_) {
        finish_failed(turn);
        return;
    }
    turn.commit();
    if (!actor.root_->alive()) terminate(actor, nullptr);
}

void Engine::finish_failed(Turn& turn) {
    // What the turn retracted is still there for the others: it goes with the actor.
    Goodbye goodbye = std::exchange(scratch_.goodbye, {});
    while (!scratch_.outboxes.empty()) {
        const std::unique_ptr<Batch> unsent(scratch_.outboxes.take());
        for (const Event& event : unsent->events)
            if (event.kind == Event::Kind::retract) goodbye.push_back(event.handle);
    }
    std::vector<TurnScratch::Birth> births = std::move(scratch_.births);
    scratch_.births.clear();
    for (const TurnScratch::Birth& birth : births)
        terminate(*birth.actor, nullptr);
    terminate(turn.actor_, &turn.error_, std::move(goodbye));
}

// All that the actor has asserted, behind `goodbye`: facets before their children, oldest first.
void Engine::collect_assertions(Actor& actor, Goodbye& goodbye) {
    std::vector<Facet*> facets{actor.root_.get()};
    for (size_t i = 0; i < facets.size(); ++i) {
        for (const Ref<Facet>& child : facets[i]->children_)
            facets.push_back(child.get());
        const auto first = static_cast<ptrdiff_t>(goodbye.size());
        while (facets[i]->newest_) {
            const Handle handle = assertions_.handle_of(facets[i]->newest_);
            assertions_.unlink(assertions_[handle], facets[i]->newest_);
            goodbye.push_back(handle);
        }
        std::reverse(goodbye.begin() + first, goodbye.end());
    }
}

void Engine::terminate(Actor& actor, const Error* error, Goodbye goodbye) {
    Ref<Actor> self(&actor);
    if (error && on_failure_) on_failure_(actor, *error);
    if (tracer_) tracer_->actor_ends(actor, error);
    collect_assertions(actor, goodbye);
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

void Engine::say_goodbye_later(Goodbye& newest_first) {
    std::reverse(newest_first.begin(), newest_first.end());
    goodbyes_.push_back(std::exchange(newest_first, {}));
}

// Queues the next slice of retractions, newest first, grouped by actor as a turn would.
void Engine::say_goodbye(Goodbye& goodbye) {
    BatchQueue batches;
    const uint64_t number = next_turn_++;
    for (size_t i = 0; i < goodbye_slice && !goodbye.empty(); ++i) {
        const Handle handle = goodbye.back();
        goodbye.pop_back();
        CapRef target = assertions_[handle].target;
        Actor& actor = target->actor();
        if (!actor.running_) {
            target->drop_entity();
            assertions_.free(handle);
            continue;
        }
        if (actor.outbox_turn_ != number) {
            actor.outbox_turn_ = number;
            actor.outbox_ = new_batch(actor);
            actor.outbox_->loan.take_up(account_, 0);
            actor.outbox_->retracts = true;
            batches.add(actor.outbox_);
        }
        actor.outbox_->events.emplace_back(Event::Kind::retract, target, Value(), handle);
    }
    while (!batches.empty())
        enqueue(batches.take());
}

} // namespace muster::dataspace
