#include "init/dataspace/actor.h"

#include "init/dataspace/engine.h"

namespace muster::dataspace {

void Entity::on_sync(Turn& turn, const CapRef& peer) {
    turn.message(peer, preserves::boolean(true));
}

Cap::Cap(Ref<Facet> facet, Ref<Entity> entity, Ref<Caveats> caveats)
    : facet_(std::move(facet)), entity_(std::move(entity)), caveats_(std::move(caveats)) {}

Cap::~Cap() = default;

Actor& Cap::actor() const { return facet_->actor(); }

CapRef Cap::attenuate(const Ref<Caveats>& caveats) const {
    return make_ref<Cap>(facet_, entity_, caveats);
}

CapRef cap_of(View view) { return CapRef(static_cast<Cap*>(view.as_embedded())); }

Value embed(const CapRef& cap) { return preserves::embedded(cap); }

Facet::Facet(Actor& actor, Facet* parent) : actor_(&actor), parent_(parent) {}

Facet::~Facet() = default;

Actor::Actor(Engine& engine, std::string name) : engine_(engine), name_(std::move(name)) {
    root_ = Ref<Facet>(new Facet(*this, nullptr));
}

void Turn::clear_scratch() {
    scratch_.births.clear();
    scratch_.before_commit.clear();
    scratch_.maybe_inert.clear();
    scratch_.stopped.clear();
}

Batch* Turn::outbox(const CapRef& target) {
    if (only_target_) box_only_message();
    Actor& actor = target->actor();
    if (actor.outbox_turn_ == number_) return actor.outbox_;
    if (!actor.running()) {
        target->drop_entity();
        return nullptr;
    }
    Batch* batch = engine_.new_batch(actor);
    actor.outbox_turn_ = number_;
    actor.outbox_ = batch;
    scratch_.outboxes.add(batch);
    return batch;
}

void Turn::box_only_message() {
    const CapRef target = std::move(only_target_);
    if (Batch* batch = outbox(target))
        batch->events.emplace_back(Event::Kind::message, target, std::move(only_body_), Handle{0});
}

Handle Turn::assert_(const CapRef& target, const Value& value) {
    if (!target || !facet_->alive() || failed_) return 0;
    std::optional<Value> rewritten;
    if (target->caveats()) {
        rewritten = narrowed(*target, value);
        if (!rewritten) return 0;
    }
    const Handle handle = engine_.assertions_.add(target);
    engine_.assertions_.link(handle, *facet_, facet_->newest_);
    if (Batch* batch = outbox(target))
        batch->events.emplace_back(Event::Kind::assert_, target, rewritten ? *rewritten : value,
                                   handle);
    return handle;
}

void Turn::retract(Handle handle) {
    AssertionTable::Slot* slot = engine_.assertions_.find(handle);
    if (!slot || !slot->facet || &slot->facet->actor() != &actor_ || failed_) return;
    Facet* facet = slot->facet;
    engine_.assertions_.unlink(*slot, facet->newest_);
    if (facet->inert()) note_inert(facet);
    if (Batch* batch = outbox(slot->target)) {
        batch->events.emplace_back(Event::Kind::retract, slot->target, Value(), handle);
        batch->retracts = true;
    } else {
        engine_.assertions_.free(handle);
    }
}

void Turn::note_inert(Facet* facet) {
    used_ = true;
    scratch_.maybe_inert.push_back(Ref<Facet>(facet));
}

void*& Turn::note(Handle handle) { return engine_.assertions_[handle].note; }

Handle Turn::replace(const CapRef& target, Handle old, const Value& value) {
    Handle fresh = assert_(target, value);
    retract(old);
    return fresh;
}

void Turn::message(const CapRef& target, const Value& body) {
    if (!target || failed_) return;
    if (!target->caveats())
        message_rewritten(target, body);
    else if (const std::optional<Value> rewritten = narrowed(*target, body))
        message_rewritten(target, *rewritten);
}

std::optional<Value> Turn::narrowed(const Cap& target, const Value& value) {
    std::optional<Bound> exceeded;
    std::optional<Value> result = target.caveats()->apply(value, &exceeded);
    if (exceeded) engine_.exceeded(actor_, *exceeded);
    return result;
}

void Turn::message_rewritten(const CapRef& target, const Value& body) {
    if (!only_target_ && scratch_.outboxes.empty()) {
        only_target_ = target;
        only_body_ = body;
    } else if (Batch* batch = outbox(target)) {
        batch->events.emplace_back(Event::Kind::message, target, body, Handle{0});
    }
}

void Turn::sync(const CapRef& target, const CapRef& peer) {
    if (!target || failed_) return;
    if (Batch* batch = outbox(target))
        batch->events.emplace_back(Event::Kind::sync, target, embed(peer), Handle{0});
}

namespace {

// Waits for the #t that answers a sync, and keeps its facet alive until then.
class SyncWaiter final : public Entity {
  public:
    SyncWaiter(Ref<Facet> facet, TurnAction then)
        : keep_(std::move(facet)), then_(std::move(then)) {}
    void on_message(Turn& turn, const Value&) override {
        keep_ = KeepAlive();
        TurnAction then = std::move(then_);
        then_ = nullptr;
        if (then) then(turn);
    }

  private:
    KeepAlive keep_;
    TurnAction then_;
};

} // namespace

void Turn::sync(const CapRef& target, TurnAction then) {
    if (!facet_->alive()) return;
    sync(target, make_cap(make_ref<SyncWaiter>(Ref<Facet>(facet_), std::move(then))));
}

CapRef Turn::make_cap(Ref<Entity> entity) {
    return make_ref<Cap>(Ref<Facet>(facet_), std::move(entity));
}

Ref<Facet> Turn::facet(const TurnAction& setup) {
    Ref<Facet> child(new Facet(actor_, facet_));
    if (!facet_->alive()) { // nothing can live here any more
        child->alive_ = false;
        return child;
    }
    child->index_ = facet_->children_.size();
    facet_->children_.push_back(child);
    in(*child, setup);
    note_inert(child.get());
    return child;
}

void Turn::in(Facet& facet, const TurnAction& action) {
    if (!facet.alive() || failed_) return;
    Facet* outer = facet_;
    facet_ = &facet;
    action(*this);
    facet_ = outer;
}

void Turn::on_stop(TurnAction action) { facet_->stop_actions_.push_back(std::move(action)); }

void Turn::stop(Facet& facet) {
    if (facet.alive() && !failed_) stop_tree(facet);
}

// Children before parents, without recursion: a parent precedes its descendants in `order`.
void Turn::stop_tree(Facet& top) {
    size_t room = &top == &actor_.root() ? Engine::goodbye_slice : SIZE_MAX;
    std::vector<Ref<Facet>> order{Ref<Facet>(&top)};
    for (size_t i = 0; i < order.size(); ++i)
        for (const Ref<Facet>& child : order[i]->children_)
            order.push_back(child);
    for (size_t i = order.size(); i-- > 0;) {
        Facet& facet = *order[i];
        if (!facet.alive_) continue; // a stop action of another one was faster
        Facet* context = facet.parent_ ? facet.parent_ : &facet;
        std::vector<TurnAction> actions = std::move(facet.stop_actions_);
        facet.stop_actions_.clear();
        for (const TurnAction& action : actions)
            in(*context, action);
        if (failed_) return; // the whole actor ends, with all that it still has
        if (!facet.alive_) continue;
        // Stop actions may have made children here, in the context of one that stopped before.
        if (!facet.children_.empty()) {
            order.push_back(Ref<Facet>(&facet));
            for (const Ref<Facet>& child : facet.children_)
                order.push_back(child);
            i = order.size();
            continue;
        }
        retract_all(facet, room);
        facet.alive_ = false;
        if (Facet* parent = facet.parent_) {
            Ref<Facet> self(&facet);
            Ref<Facet>& last = parent->children_.back();
            last->index_ = facet.index_;
            std::swap(parent->children_[facet.index_], last);
            parent->children_.pop_back();
            facet.parent_ = nullptr;
            if (parent->inert()) note_inert(parent);
        }
        used_ = true;
        scratch_.stopped.push_back(Ref<Facet>(&facet));
    }
}

void Turn::retract_all(Facet& facet, size_t& room) {
    while (facet.newest_) {
        const Handle handle = engine_.assertions_.handle_of(facet.newest_);
        if (room > 0) {
            --room;
            retract(handle);
        } else {
            engine_.assertions_.unlink(engine_.assertions_[handle], facet.newest_);
            scratch_.goodbye.push_back(handle);
        }
    }
}

Ref<Actor> Turn::spawn(std::string name, TurnAction boot, Ref<Account> account) {
    Ref<Actor> actor = engine_.create_actor(std::move(name));
    used_ = true;
    scratch_.births.push_back({actor, std::move(boot), account ? std::move(account) : account_});
    return actor;
}

void Turn::on_exit(std::function<void(const Error*)> hook) {
    actor_.exit_hooks_.push_back(std::move(hook));
}

void Turn::fail(Error error) {
    if (failed_) return;
    failed_ = true;
    error_ = std::move(error);
}

void Turn::before_commit(TurnAction action) {
    used_ = true;
    scratch_.before_commit.push_back(std::move(action));
}

// Runs what was put off to the end of the turn, and stops facets that were left inert, until
// nothing more comes of it.
void Turn::settle() {
    while (!failed_) {
        if (Committer* committer = std::exchange(committer_, nullptr))
            committer->before_commit(*this);
        if (!used_) return;
        if (scratch_.before_commit.empty() && scratch_.maybe_inert.empty()) return;
        settle_further();
    }
}

void Turn::settle_further() {
    std::vector<TurnAction> actions = std::move(scratch_.before_commit);
    scratch_.before_commit.clear();
    for (const TurnAction& action : actions)
        if (actor_.root().alive()) in(actor_.root(), action);
    std::vector<Ref<Facet>> candidates = std::move(scratch_.maybe_inert);
    scratch_.maybe_inert.clear();
    for (const Ref<Facet>& facet : candidates)
        if (facet->alive() && facet->inert()) stop(*facet);
}

void Turn::commit() {
    for (TurnScratch::Birth& birth : scratch_.births) {
        Batch* batch = engine_.new_batch(*birth.actor);
        batch->facet = Ref<Facet>(&birth.actor->root());
        batch->action = std::move(birth.boot);
        batch->loan.take_up(birth.account, 1);
        engine_.enqueue(batch);
    }
    if (only_target_ && !engine_.hand_over(only_target_, only_body_, actor_, account_))
        box_only_message();
    while (!scratch_.outboxes.empty())
        engine_.send(scratch_.outboxes.take(), account_);
    if (!scratch_.goodbye.empty()) engine_.say_goodbye_later(scratch_.goodbye);
}

} // namespace muster::dataspace
