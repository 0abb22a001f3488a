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

void Facet::link(Outbound& assertion) {
    assertion.older = newest_;
    if (newest_) newest_->newer = &assertion;
    newest_ = &assertion;
}

void Facet::unlink(Outbound& assertion) {
    if (assertion.newer)
        assertion.newer->older = assertion.older;
    else
        newest_ = assertion.older;
    if (assertion.older) assertion.older->newer = assertion.newer;
}

Actor::Actor(Engine& engine, std::string name) : engine_(engine), name_(std::move(name)) {
    root_ = Ref<Facet>(new Facet(*this, nullptr));
}

Turn::Turn(Engine& engine, Ref<Actor> actor, Ref<Account> account)
    : engine_(engine), actor_(std::move(actor)), account_(std::move(account)),
      facet_(&actor_->root()), number_(engine.next_turn_++) {}

void Turn::queue(Event event) {
    Actor& target = event.target->actor();
    if (!target.running()) {
        event.target->drop_entity();
        return;
    }
    if (target.outbox_turn_ != number_) {
        target.outbox_turn_ = number_;
        target.outbox_slot_ = static_cast<uint32_t>(outboxes_.size());
        outboxes_.push_back({Ref<Actor>(&target), {}});
    }
    outboxes_[target.outbox_slot_].events.push_back(std::move(event));
}

Handle Turn::assert_(const CapRef& target, const Value& value) {
    if (!target || !facet_->alive() || failed_) return 0;
    Value seen = value;
    if (target->caveats()) {
        std::optional<Value> rewritten = target->caveats()->apply(value);
        if (!rewritten) return 0;
        seen = std::move(*rewritten);
    }
    Handle handle = engine_.next_handle_++;
    auto [entry, fresh] =
        actor_->outbound_.emplace(handle, Outbound{handle, target, facet_, nullptr, nullptr});
    facet_->link(entry->second);
    queue({Event::Kind::assert_, target, std::move(seen), handle, {}});
    return handle;
}

void Turn::retract(Handle handle) {
    auto found = actor_->outbound_.find(handle);
    if (found == actor_->outbound_.end() || failed_) return;
    Facet* facet = found->second.facet;
    CapRef target = std::move(found->second.target);
    facet->unlink(found->second);
    actor_->outbound_.erase(found);
    if (facet->inert()) maybe_inert_.push_back(facet);
    queue({Event::Kind::retract, std::move(target), {}, handle, {}});
}

Handle Turn::replace(const CapRef& target, Handle old, const Value& value) {
    Handle fresh = assert_(target, value);
    retract(old);
    return fresh;
}

void Turn::message(const CapRef& target, const Value& body) {
    if (!target || failed_) return;
    if (target->caveats()) {
        std::optional<Value> rewritten = target->caveats()->apply(body);
        if (rewritten) queue({Event::Kind::message, target, std::move(*rewritten), 0, {}});
        return;
    }
    queue({Event::Kind::message, target, body, 0, {}});
}

void Turn::sync(const CapRef& target, const CapRef& peer) {
    if (!target || failed_) return;
    queue({Event::Kind::sync, target, {}, 0, peer});
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
    Ref<Facet> child(new Facet(*actor_, facet_));
    if (!facet_->alive()) { // nothing can live here any more
        child->alive_ = false;
        return child;
    }
    child->index_ = facet_->children_.size();
    facet_->children_.push_back(child);
    in(*child, setup);
    maybe_inert_.push_back(child);
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
        if (!facet.alive_) continue;
        // Stop actions may have made children here, in the context of one that stopped before.
        if (!facet.children_.empty()) {
            order.push_back(Ref<Facet>(&facet));
            for (const Ref<Facet>& child : facet.children_)
                order.push_back(child);
            i = order.size();
            continue;
        }
        while (facet.newest_)
            retract(facet.newest_->handle);
        facet.alive_ = false;
        if (Facet* parent = facet.parent_) {
            Ref<Facet> self(&facet);
            Ref<Facet>& last = parent->children_.back();
            last->index_ = facet.index_;
            std::swap(parent->children_[facet.index_], last);
            parent->children_.pop_back();
            facet.parent_ = nullptr;
            if (parent->inert()) maybe_inert_.push_back(parent);
        }
        stopped_.push_back(Ref<Facet>(&facet));
    }
}

Ref<Actor> Turn::spawn(std::string name, TurnAction boot, Ref<Account> account) {
    Ref<Actor> actor = engine_.create_actor(std::move(name));
    births_.push_back({actor, std::move(boot), account ? std::move(account) : account_});
    return actor;
}

void Turn::on_exit(std::function<void(const Error*)> hook) {
    actor_->exit_hooks_.push_back(std::move(hook));
}

void Turn::fail(Error error) {
    if (failed_) return;
    failed_ = true;
    error_ = std::move(error);
}

void Turn::before_commit(TurnAction action) { before_commit_.push_back(std::move(action)); }

// Runs what was put off to the end of the turn, and stops facets that were left inert, until
// nothing more comes of it.
void Turn::settle() {
    while (!failed_ && (!before_commit_.empty() || !maybe_inert_.empty())) {
        std::vector<TurnAction> actions = std::move(before_commit_);
        before_commit_.clear();
        for (const TurnAction& action : actions)
            if (actor_->root().alive()) in(actor_->root(), action);
        std::vector<Ref<Facet>> candidates = std::move(maybe_inert_);
        maybe_inert_.clear();
        for (const Ref<Facet>& facet : candidates)
            if (facet->alive() && facet->inert()) stop(*facet);
    }
}

void Turn::commit() {
    for (Birth& birth : births_) {
        Ref<Facet> root(&birth.actor->root());
        engine_.queue_.push_back({std::move(birth.actor),
                                  {},
                                  std::move(root),
                                  std::move(birth.boot),
                                  Loan(birth.account, 1)});
    }
    for (Outbox& outbox : outboxes_) {
        if (engine_.tracer_) engine_.tracer_->turn_sends(outbox.events);
        Loan loan(account_, static_cast<int64_t>(outbox.events.size()));
        engine_.queue_.push_back(
            {std::move(outbox.actor), std::move(outbox.events), {}, {}, std::move(loan)});
    }
}

} // namespace muster::dataspace
