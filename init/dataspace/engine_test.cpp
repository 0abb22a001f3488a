#include "init/dataspace/engine.h"

#include <string>
#include <vector>

#include "init/base/catch.h"

using namespace muster;
using namespace muster::dataspace;

namespace {

using Log = std::vector<std::string>;

std::string text_of(const Value& value) {
    return std::string(value.view().as_symbol().value_or("?"));
}

// Takes single messages at once, and says how each event came.
class Quick final : public Entity {
  public:
    explicit Quick(Log& log) : log_(log) {}
    void on_assert(Turn&, const Value& value, Handle) override {
        log_.push_back("+" + text_of(value));
    }
    void on_retract(Turn&, Handle) override { log_.push_back("-"); }
    void on_message(Turn&, const Value& body) override {
        log_.push_back("in a turn: " + text_of(body));
    }
    bool take_message(const Ref<Account>& account, const Value& body) override {
        log_.push_back("at once: " + text_of(body));
        debt = account->debt();
        return true;
    }

    int64_t debt = -1;

  private:
    Log& log_;
};

struct World {
    Engine engine;
    Log log;
    Ref<Quick> quick = make_ref<Quick>(log);
    CapRef cap;
    Ref<Actor> receiver;

    World() {
        receiver = engine.spawn("receiver", [this](Turn& turn) {
            cap = turn.make_cap(quick);
            hold = KeepAlive(Ref<Facet>(&turn.current()));
        });
        engine.run();
    }
    ~World() { hold = KeepAlive(); }
    void act(TurnAction action) {
        engine.spawn("sender", std::move(action));
        engine.run();
    }
    KeepAlive hold;
};

Value word(std::string_view text) { return preserves::symbol(text); }

} // namespace

TEST_CASE("engine: a single message to who needs no turn is taken when its turn commits") {
    World world;
    world.act([&](Turn& turn) {
        turn.message(world.cap, word("a"));
        CHECK(world.log.empty()); // the turn may still fail
    });
    CHECK(world.log == Log{"at once: a"});
    CHECK(world.quick->debt == 1); // of the turn that sent it, and nothing more
    world.act([&](Turn& turn) {
        turn.message(world.cap, word("b"));
        turn.fail(Error{"no"});
    });
    CHECK(world.log == Log{"at once: a"});
}

TEST_CASE("engine: what waits for an actor is not overtaken") {
    World world;
    KeepAlive sender;
    world.act([&](Turn& turn) {
        sender = KeepAlive(Ref<Facet>(&turn.current()));
        Handle handle = turn.assert_(world.cap, word("up"));
        // Later turns of the same actor, while that waits.
        turn.engine().external(Ref<Facet>(&turn.current()), [&, handle](Turn& later) {
            later.retract(handle);
            later.engine().external(Ref<Facet>(&later.current()),
                                    [&](Turn& last) { last.message(world.cap, word("c")); });
        });
    });
    CHECK(world.log == Log{"+up", "-", "in a turn: c"});
    world.log.clear();
    // Two in one turn stay together; one behind an assertion waits for it.
    world.act([&](Turn& turn) {
        turn.message(world.cap, word("d"));
        turn.message(world.cap, word("e"));
    });
    CHECK(world.log == Log{"in a turn: d", "in a turn: e"});
    world.log.clear();
    world.act([&](Turn& turn) {
        turn.assert_(world.cap, word("up"));
        turn.message(world.cap, word("f"));
    });
    CHECK(world.log == Log{"+up", "in a turn: f"});
}

TEST_CASE("engine: two turns queued for an actor, the second one's message waits for the first") {
    World world;
    Ref<Actor> one = world.engine.spawn("one", [&](Turn& turn) {
        turn.message(world.cap, word("first")), turn.message(world.cap, word("second"));
    });
    Ref<Actor> two =
        world.engine.spawn("two", [&](Turn& turn) { turn.message(world.cap, word("third")); });
    world.engine.run();
    CHECK(world.log == Log{"in a turn: first", "in a turn: second", "in a turn: third"});
}

TEST_CASE("engine: what is taken at once counts for the budget") {
    World world;
    size_t turns = 0;
    for (int i = 0; i < 10; ++i)
        world.engine.spawn("sender", [&](Turn& turn) {
            ++turns;
            turn.message(world.cap, word("x"));
        });
    CHECK(world.engine.run(10));
    CHECK(turns == 5);
    CHECK_FALSE(world.engine.run(1000));
    CHECK(turns == 10);
    CHECK(world.log.size() == 10);
}

TEST_CASE("engine: nobody is there any more") {
    World world;
    world.hold = KeepAlive();
    world.engine.external(Ref<Facet>(&world.receiver->root()),
                          [](Turn& turn) { turn.stop_actor(); });
    world.engine.run();
    world.act([&](Turn& turn) { turn.message(world.cap, word("a")); });
    CHECK(world.log.empty());
}
