// Actors, facets, turns, entities, capabilities (reference 2.10).
//
// An *entity* receives assertions, retractions, messages and syncs. A *capability* (Cap) points to
// an entity and says in which facet it runs, and may be attenuated by caveats. An *actor* is a tree
// of *facets*; each facet owns the assertions that were made in it, stop actions, and children.
//
// A *turn* is one event, or the batch of events that one turn of another actor caused, handled by
// one actor. It is a transaction: what it asserts, retracts, sends and spawns is queued, and leaves
// when the turn commits. If an entity calls `Turn::fail` nothing of it leaves, and the actor ends.
// What one turn sends to one actor arrives there as one turn, in order. Between two actors order is
// kept; an event to an entity of the same actor is a later turn.
//
// Life of a facet:
//   alive    created by Turn::facet within its parent. If the code that sets it up leaves it
//            *inert* (no children, no assertions, nothing that keeps it alive) it is stopped again
//            at the end of that turn.
//   stopping by Turn::stop, or because its parent stops, or because it became inert when its last
//            child or assertion went: first its children stop, then its stop actions run in the
//            context of its parent, then its assertions are retracted.
//   dead     its entities are inert: events for them are dropped.
// An actor ends when its root facet is dead, or when a turn fails; then everything it asserted is
// retracted, newest first, in slices so that nobody waits for a long goodbye, and its exit hooks
// run. Stop actions do not run when an actor fails.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "init/base/result.h"
#include "init/dataspace/account.h"
#include "init/dataspace/caveat.h"
#include "init/preserves/value.h"

namespace muster::dataspace {

using preserves::Value;
using preserves::View;

// Names one assertion in this process; never reused; 0 is none. The lower half alone names it among
// the live ones (see AssertionTable).
using Handle = uint64_t;

class Actor;
class Cap;
class Engine;
class Facet;
class Turn;
using CapRef = Ref<Cap>;

class Entity : public Counted {
  public:
    // `value` may be kept (a copy shares the block).
    virtual void on_assert(Turn&, const Value& /*value*/, Handle) {}
    virtual void on_retract(Turn&, Handle) {}
    virtual void on_message(Turn&, const Value& /*body*/) {}
    // The same without a turn, for who needs none: takes no part in the dataspace, only charges
    // what it does to `account`. Called when nothing else waits for its actor. False: not done.
    virtual bool take_message(const Ref<Account>& /*account*/, const Value& /*body*/) {
        return false;
    }
    // Everything sent here before has been handled: answer by the message #t to `peer`.
    virtual void on_sync(Turn&, const CapRef& peer);
};

// A capability. Equality is identity: attenuating makes a new one.
class Cap final : public preserves::Embedded {
  public:
    Cap(Ref<Facet> facet, Ref<Entity> entity, Ref<Caveats> caveats = {});
    ~Cap() override;

    // REQUIRES: the facet is alive.
    Entity& entity() const { return *entity_; }
    // Its facet is dead, so the entity will never run again. It may hold this very capability:
    // dropping it cuts the circle.
    void drop_entity() { entity_ = nullptr; }
    Facet& facet() const { return *facet_; }
    Actor& actor() const;
    const Ref<Caveats>& caveats() const { return caveats_; }
    // The same entity with these caveats instead: Caveats::join makes them from its own and more.
    CapRef attenuate(const Ref<Caveats>& more) const;

  private:
    Ref<Facet> facet_;
    Ref<Entity> entity_;
    Ref<Caveats> caveats_;
};

// The capability that is embedded in `view`, or null.
CapRef cap_of(View view);
Value embed(const CapRef& cap);

using TurnAction = std::function<void(Turn&)>;
struct Batch;

class Facet : public Counted {
  public:
    bool alive() const { return alive_; }
    Actor& actor() const { return *actor_; }
    Facet* parent() const { return parent_; }

  private:
    friend class Turn;
    friend class Engine;
    friend class Actor;
    friend class KeepAlive;
    Facet(Actor& actor, Facet* parent);
    ~Facet() override;
    bool inert() const { return children_.empty() && !newest_ && keepers_ == 0; }

    Ref<Actor> actor_;
    Facet* parent_;    // null for the root; children_ of the parent owns this one
    size_t index_ = 0; // in the parent's children_
    std::vector<Ref<Facet>> children_;
    uint32_t newest_ = 0; // own live assertions, a list in the AssertionTable; 0: none
    std::vector<TurnAction> stop_actions_;
    int keepers_ = 0;
    bool alive_ = true;
};

// Keeps a facet from being stopped for inertness (a timer or a process will wake it). Dropping it
// outside a turn does not stop the facet by itself.
class KeepAlive {
  public:
    KeepAlive() = default;
    explicit KeepAlive(Ref<Facet> facet) : facet_(std::move(facet)) { ++facet_->keepers_; }
    KeepAlive(KeepAlive&&) noexcept = default;
    KeepAlive& operator=(KeepAlive&& other) noexcept {
        std::swap(facet_, other.facet_);
        return *this;
    }
    ~KeepAlive() {
        if (facet_) --facet_->keepers_;
    }

  private:
    Ref<Facet> facet_;
};

// One queued event.
struct Event {
    enum class Kind : uint8_t { assert_, retract, message, sync };
    Event(Kind k, const CapRef& t, Value v, Handle h)
        : kind(k), target(t), value(std::move(v)), handle(h) {}
    Kind kind;
    CapRef target;
    Value value;   // assert_, message; sync: the embedded peer
    Handle handle; // assert_, retract; else 0
};

class Actor : public Counted {
  public:
    const std::string& name() const { return name_; }
    Engine& engine() const { return engine_; }
    bool running() const { return running_; }
    // REQUIRES: running().
    Facet& root() const { return *root_; }
    // Runs when the actor is gone, however that came, also with the engine: for entities to let go
    // of what may hold themselves. Must not touch the engine.
    void on_forget(std::function<void()> hook) { forget_hooks_.push_back(std::move(hook)); }

  private:
    friend class Engine;
    friend class Turn;
    friend class Facet;
    Actor(Engine& engine, std::string name);

    Engine& engine_;
    std::string name_;
    Ref<Facet> root_;
    std::vector<std::function<void(const Error*)>> exit_hooks_;
    std::vector<std::function<void()>> forget_hooks_;
    bool running_ = true;
    size_t index_ = 0;         // in the engine's list
    size_t waiting_ = 0;       // batches in the queue
    uint64_t outbox_turn_ = 0; // the turn that outbox_ belongs to
    Batch* outbox_ = nullptr;  // what that turn sends here
    uint8_t exceeded_ = 0;     // what was said about it, by Bound
};

// What waits to become a turn: the events that one turn sent to one actor, or an action in a facet.
struct Batch {
    Batch* next = nullptr; // in a queue
    Ref<Actor> actor;
    std::vector<Event> events;
    Ref<Facet> facet; // of the action
    TurnAction action;
    Loan loan;
    bool retracts = false; // there are retractions among the events
};

// A queue of batches, which it owns.
class BatchQueue {
  public:
    BatchQueue() = default;
    BatchQueue(const BatchQueue&) = delete;
    BatchQueue& operator=(const BatchQueue&) = delete;
    ~BatchQueue() {
        while (!empty())
            delete take();
    }
    bool empty() const { return first_ == nullptr; }
    size_t size() const { return size_; }
    Batch* first() const { return first_; }
    void add(Batch* batch) {
        batch->next = nullptr;
        (last_ ? last_->next : first_) = batch;
        last_ = batch;
        ++size_;
    }
    Batch* take() {
        Batch* batch = first_;
        first_ = batch->next;
        if (!first_) last_ = nullptr;
        --size_;
        return batch;
    }

  private:
    Batch* first_ = nullptr;
    Batch* last_ = nullptr;
    size_t size_ = 0;
};

// Called at the end of a turn that asked for it, before it commits. Cheaper than a TurnAction.
class Committer {
  public:
    virtual void before_commit(Turn& turn) = 0;

  protected:
    ~Committer() = default;
};

// What a turn gathers. The engine keeps one and hands it from turn to turn, for its memory.
struct TurnScratch {
    struct Birth {
        Ref<Actor> actor;
        TurnAction boot;
        Ref<Account> account;
    };

    BatchQueue outboxes;
    std::vector<Birth> births;
    std::vector<TurnAction> before_commit;
    std::vector<Ref<Facet>> maybe_inert;
    std::vector<Ref<Facet>> stopped; // in this turn; kept until their code has returned
    std::vector<Handle> goodbye;     // what the actor retracts later, because it ends; newest first
};

// What an entity may do. Lives for one turn; never keep a reference to it.
class Turn {
  public:
    Engine& engine() const { return engine_; }
    Actor& actor() const { return actor_; }
    Facet& current() const { return *facet_; }
    const Ref<Account>& account() const { return account_; }

    // Asserts `value` at `target`, owned by the current facet: retracted when that stops. 0 if the
    // capability's caveats reject the value (silently, reference 2.8) or the facet is dead.
    Handle assert_(const CapRef& target, const Value& value);
    void retract(Handle handle); // 0 and unknown handles are ignored
    // Asserts the new value, then retracts the old one: no gap for observers. Returns the new one.
    Handle replace(const CapRef& target, Handle old, const Value& value);
    void message(const CapRef& target, const Value& body);
    // `peer` gets #t when everything sent to `target` before has been handled.
    void sync(const CapRef& target, const CapRef& peer);
    // Runs `then` in the current facet when `target` has handled everything sent to it before.
    void sync(const CapRef& target, TurnAction then);

    // What the receiver of an assertion has noted about it: how it finds what it knows of the
    // assertion without a search. Only for the one entity that the assertion was delivered to,
    // from `on_assert` to `on_retract`, both included; null at first.
    void*& note(Handle handle);

    // A capability to an entity that runs in the current facet.
    CapRef make_cap(Ref<Entity> entity);

    // A child of the current facet, set up by `setup`.
    Ref<Facet> facet(const TurnAction& setup);
    // Stops a facet of this actor and its children. Then runs `then` in the parent's context.
    void stop(Facet& facet);
    void stop_current() { stop(current()); }
    // Ends the whole actor in order.
    void stop_actor() { stop(actor().root()); }
    // Runs when the current facet stops, in its parent's context.
    void on_stop(TurnAction action);
    // Runs `action` within another facet of this actor (nothing if that is dead).
    void in(Facet& facet, const TurnAction& action);

    // A new actor, started when this turn commits, on an account of its own if one is given.
    Ref<Actor> spawn(std::string name, TurnAction boot, Ref<Account> account = {});
    // Runs once when this actor is gone; the error is null if it ended in order. Not in a turn.
    void on_exit(std::function<void(const Error*)> hook);

    // Something impossible happened: nothing of this turn takes effect and the actor ends. The
    // error is empty if it has been reported already.
    void fail(Error error);
    bool failed() const { return failed_; }

    // Runs after the events of this turn, before it commits; in order of registration.
    void before_commit(TurnAction action);
    // The same, before all of those, for an object that lives until the turn is over. One a turn.
    void before_commit(Committer& committer) { committer_ = &committer; }

  private:
    friend class Engine;
    // REQUIRES: the actor and the account outlive it.
    Turn(Engine& engine, Actor& actor, const Ref<Account>& account, TurnScratch& scratch,
         uint64_t number)
        : engine_(engine), actor_(actor), account_(account), scratch_(scratch),
          facet_(&actor.root()), number_(number) {}
    ~Turn() {
        if (used_) clear_scratch();
    }

    // Where events for the target's actor gather; null if that is gone.
    Batch* outbox(const CapRef& target);
    // What the target's caveats make of `value`, if anything.
    std::optional<Value> narrowed(const Cap& target, const Value& value);
    void message_rewritten(const CapRef& target, const Value& body);
    // Puts the only message so far where it would be if it had not been alone.
    void box_only_message();
    void note_inert(Facet* facet);
    void clear_scratch();
    void settle_further();
    void stop_tree(Facet& facet);
    // The first `room` of its assertions with this turn, the others later.
    void retract_all(Facet& facet, size_t& room);
    void settle();
    void commit();

    Engine& engine_;
    Actor& actor_;
    const Ref<Account>& account_;
    TurnScratch& scratch_;
    Facet* facet_;
    uint64_t number_;
    bool failed_ = false;
    bool used_ = false; // the scratch, but for the outboxes
    Committer* committer_ = nullptr;
    // A message that is all that is sent, as most are: it is kept here until there is more.
    CapRef only_target_;
    Value only_body_;
    Error error_;
};

} // namespace muster::dataspace
