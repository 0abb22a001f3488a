// The engine: queues turns and runs them, one after the other, on one thread.
//
// Nothing here blocks and nothing here knows about time or descriptors; the event loop calls
// `run` when events came in. `run` works through the queue up to a budget, so that input from
// others is looked at now and then, also under load.
#pragma once

#include "init/dataspace/assertion_table.h"
#include "init/dataspace/tracer.h"

namespace muster::dataspace {

class Engine {
  public:
    Engine();
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // An actor whose boot turn is queued.
    Ref<Actor> spawn(std::string name, TurnAction boot, Ref<Account> account = {});
    // Queues a turn that something outside caused (a timer, a descriptor) in `facet`. Dropped if
    // that is dead by then. On the engine's own account unless one is given.
    void external(const Ref<Facet>& facet, TurnAction action, Ref<Account> account = {});
    // Runs such a turn now, ahead of the queue, when no turn is running (REQUIRES that).
    template <typename Action>
    void run_now(const Ref<Facet>& facet, Action&& action, const Ref<Account>& account = {}) {
        if (closing_ || !facet->alive()) return;
        Loan loan(account ? account : account_, 1);
        if (tracer_) tracer_->turn_begins(facet->actor(), {});
        Turn turn(*this, facet->actor(), loan.account(), scratch_, next_turn_++);
        turn.facet_ = facet.get();
        action(turn);
        finish_action(turn, facet);
        if (tracer_) tracer_->turn_ends();
    }

    // The same as running now, in a facet that lives, an action that sends `body` to `target` and
    // does nothing else, without the cost of a turn; if nothing else waits, the target handles it
    // here. Only if nobody traces and there are no caveats: false says that nothing was done.
    bool pass_on(const CapRef& target, Value&& body, const Ref<Account>& account);

    // Runs queued turns until the queue is empty or `budget` turns are done. True if more waits.
    bool run(size_t budget = 10'000);
    size_t queued() const { return queue_.size(); }
    bool idle() const { return queue_.empty() && goodbyes_.empty(); }

    const Ref<Account>& account() const { return account_; }
    // Where whoever produces work opens an account.
    Accounts& accounts() const { return *accounts_; }
    bool closing() const { return closing_; }
    // Called for each actor that failed: its name and why. Default: a line on stderr.
    void set_on_failure(std::function<void(const Actor&, const Error&)> hook) {
        on_failure_ = std::move(hook);
    }
    // Something was dropped beyond a bound: it is said once for each actor and bound. (Not as a
    // failure: nobody ends.)
    void exceeded(Actor& actor, Bound bound);
    // Called for that. Default: a line on stderr.
    void set_on_exceeded(std::function<void(const Actor&, Bound)> hook) {
        on_exceeded_ = std::move(hook);
    }
    // Must outlive the engine or be taken away again (null).
    void set_tracer(Tracer* tracer) { tracer_ = tracer; }
    // All actors that run, for status.
    size_t actor_count() const { return actors_.size(); }

    // How many retractions of a dead actor leave in one turn, and as how many turns that counts:
    // input from others is looked at after each few.
    static constexpr size_t goodbye_slice = 1'000;
    static constexpr size_t slice_turns = 2'500;

  private:
    friend class Turn;
    friend class Actor;
    // What a dead actor still has to retract, newest last.
    using Goodbye = std::vector<Handle>;

    Ref<Actor> create_actor(std::string name);
    Batch* new_batch(Actor& actor);
    void enqueue(Batch* batch) {
        ++batch->actor->waiting_;
        queue_.add(batch);
    }
    // What a turn sent to one actor, at its commit.
    void send(Batch* batch, const Ref<Account>& account);
    // The same for a message that is all a turn of `sender` sent, if it needs no turn of its own.
    bool hand_over(const CapRef& target, const Value& body, const Actor& sender,
                   const Ref<Account>& account);
    void run_batch(Batch& batch);
    void deliver(Turn& turn, const Batch& batch);
    void deliver(Turn& turn, Event::Kind kind, const CapRef& target, const Value& value,
                 Handle handle);
    void done_with(Batch* batch);
    void finish_action(Turn& turn, const Ref<Facet>& facet);
    void finish(Turn& turn);
    void finish_failed(Turn& turn);
    void collect_assertions(Actor& actor, Goodbye& goodbye);
    void terminate(Actor& actor, const Error* error, Goodbye goodbye = {});
    void say_goodbye(Goodbye& goodbye);
    // Takes what is in `newest_first`.
    void say_goodbye_later(Goodbye& newest_first);
    void forget(Actor& actor);

    AssertionTable assertions_;
    TurnScratch scratch_;
    BatchQueue spare_; // empty, for their memory
    BatchQueue queue_;
    std::deque<Goodbye> goodbyes_;
    std::vector<Ref<Actor>> actors_;
    Ref<Accounts> accounts_;
    Ref<Account> account_;
    std::function<void(const Actor&, const Error&)> on_failure_;
    std::function<void(const Actor&, Bound)> on_exceeded_;
    Tracer* tracer_ = nullptr;
    uint64_t next_turn_ = 1;
    size_t sent_at_once_ = 0; // by the batch that runs
    bool closing_ = false;
};

} // namespace muster::dataspace
