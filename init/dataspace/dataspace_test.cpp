#include "init/dataspace/dataspace.h"

#include <string>
#include <vector>

#include "init/base/catch.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::dataspace;
namespace pat = muster::dataspace::pattern;

namespace {

Value text(std::string_view source) {
    Result<Value> value = preserves::parse_text(source);
    REQUIRE(value);
    return *value;
}

// An actor on one dataspace that writes down what it sees.
struct World {
    Engine engine;
    CapRef space = spawn_dataspace(engine, "space");
    std::vector<std::string> log;

    Ref<Actor> act(TurnAction action) {
        Ref<Actor> actor = engine.spawn("actor", std::move(action));
        engine.run();
        return actor;
    }
    void stop(const Ref<Actor>& actor) {
        engine.external(Ref<Facet>(&actor->root()), [](Turn& turn) { turn.stop_actor(); });
        engine.run();
    }
    Ref<Actor> watch(Value pattern) {
        return act([this, pattern](Turn& turn) {
            observe(
                turn, space, pattern,
                [this](Turn&, View seen) { log.push_back("+" + preserves::to_text(seen)); },
                [this](Turn&, View seen) { log.push_back("-" + preserves::to_text(seen)); });
            on_message(turn, space, pattern,
                       [this](Turn&, View seen) { log.push_back("!" + preserves::to_text(seen)); });
        });
    }
    Ref<Actor> say(std::string_view source) {
        Value value = text(source);
        return act([this, value](Turn& turn) { turn.assert_(space, value); });
    }
    std::vector<std::string> take() { return std::exchange(log, {}); }
};

using Log = std::vector<std::string>;

} // namespace

TEST_CASE("an observer sees what is there, what comes and what goes") {
    World world;
    world.say("<present 1>");
    auto observer = world.watch(pat::record("present", {pat::bind()}));
    CHECK(world.take() == Log{"+[1]"});
    auto second = world.say("<present 2>");
    CHECK(world.take() == Log{"+[2]"});
    world.say("<absent 2>");
    world.stop(second);
    CHECK(world.take() == Log{"-[2]"});
}

TEST_CASE("equal assertions count once, until the last copy goes") {
    World world;
    world.watch(pat::record("present", {pat::bind()}));
    auto first = world.say("<present 1>");
    auto second = world.say("<present 1>");
    CHECK(world.take() == Log{"+[1]"});
    world.stop(first);
    CHECK(world.take().empty());
    world.stop(second);
    CHECK(world.take() == Log{"-[1]"});
}

TEST_CASE("different assertions with the same captures are one for the observer") {
    World world;
    world.watch(pat::record("at", {pat::bind(), pat::discard()}));
    auto first = world.say("<at 1 a>");
    auto second = world.say("<at 1 b>");
    CHECK(world.take() == Log{"+[1]"});
    world.stop(first);
    CHECK(world.take().empty());
    world.stop(second);
    CHECK(world.take() == Log{"-[1]"});
}

TEST_CASE("groups are open, and positions that are named must exist") {
    World world;
    world.watch(pat::record("p", {pat::bind(), pat::discard()}));
    world.say("<p 1>");
    CHECK(world.take().empty());
    world.say("<p 2 x y>");
    CHECK(world.take() == Log{"+[2]"});
    world.watch(pat::dictionary({{"a", pat::bind()}}));
    world.say("{a: 1, b: 2}");
    world.say("{b: 2}");
    CHECK(world.take() == Log{"+[1]"});
}

TEST_CASE("constants select, also nested ones and strings of another kind") {
    World world;
    world.watch(
        pat::record("device", {pat::literal(text("block")), pat::bind(),
                               pat::dictionary({{"NAME", pat::literal(text("\"vda\""))}})}));
    world.say("<device block \"/a\" {NAME: \"vda\", SIZE: \"1\"}>");
    world.say("<device block \"/b\" {NAME: vda}>");
    world.say("<device net \"/c\" {NAME: \"vda\"}>");
    CHECK(world.take() == Log{"+[\"/a\"]"});
}

TEST_CASE("captures come outer before inner, keys ascending") {
    World world;
    world.watch(
        pat::bind(pat::record("r", {pat::bind(pat::sequence({pat::bind()})), pat::bind()})));
    world.say("<r [1] 2>");
    CHECK(world.take() == Log{"+[<r [1] 2>, [1], 1, 2]"});
}

TEST_CASE("patterns that fix no class see everything") {
    World world;
    world.say("1");
    world.say("[a]");
    auto observer = world.watch(pat::bind());
    world.say("#{x}");
    Log seen = world.take();
    CHECK(seen.size() == 5); // and the two that observe, themselves
    CHECK(seen.back() == "+[#{x}]");
    world.stop(observer); // it holds itself: what it saw has its own capability
}

TEST_CASE("an entity that saw its own capability is gone with its actor") {
    World world;
    auto observed = make_ref<Account>("counts who holds it");
    auto observer = world.act([&](Turn& turn) {
        observe(turn, world.space, pat::bind(pat::record("Observe", {pat::discard()})),
                [observed](Turn&, View) {}, {});
    });
    CHECK(observed->references() > 1);
    world.stop(observer);
    CHECK(observed->references() == 1);
}

TEST_CASE("messages reach those who observe, once for each message") {
    World world;
    world.watch(pat::record("say", {pat::bind()}));
    Value hello = text("<say 1>");
    world.act([&](Turn& turn) {
        turn.message(world.space, hello);
        turn.message(world.space, hello);
        turn.message(world.space, text("<other 1>"));
    });
    CHECK(world.take() == Log{"![1]", "![1]"});
}

TEST_CASE("an observer that goes is told that its matches are gone") {
    World world;
    world.say("<present 1>");
    std::vector<std::string> log;
    Ref<Facet> inner;
    auto actor = world.act([&](Turn& turn) {
        turn.on_stop([](Turn&) {});
        inner = turn.facet([&](Turn& t) {
            during(t, world.space, pat::record("present", {pat::bind()}), [&](Turn& match, View) {
                log.push_back("in");
                match.on_stop([&](Turn&) { log.push_back("out"); });
                match.assert_(world.space, text("<seen>"));
            });
        });
    });
    CHECK(log == Log{"in"});
    world.watch(pat::record("seen", {}));
    CHECK(world.take() == Log{"+[]"});
    world.engine.external(inner, [](Turn& turn) { turn.stop_current(); });
    world.engine.run();
    CHECK(log == Log{"in", "out"});
    CHECK(world.take() == Log{"-[]"});
}

TEST_CASE("replacing shows no gap") {
    World world;
    world.watch(pat::record("state", {pat::discard()}));
    world.take();
    auto actor = world.act([&](Turn& turn) {
        Handle handle = turn.assert_(world.space, text("<state a>"));
        turn.sync(world.space, [&world, handle](Turn& later) {
            later.replace(world.space, handle, text("<state b>"));
        });
    });
    CHECK(world.take() == Log{"+[]"});
    world.stop(actor);
    CHECK(world.take() == Log{"-[]"});
}

TEST_CASE("a failed turn has no effect and its actor's assertions go") {
    World world;
    std::string failure;
    world.engine.set_on_failure([&](const Actor&, const Error& error) { failure = error.message; });
    world.watch(pat::record("present", {pat::bind()}));
    world.act([&](Turn& turn) {
        Handle handle = turn.assert_(world.space, text("<present 1>"));
        turn.sync(world.space, [&world, handle](Turn& later) {
            later.assert_(world.space, text("<present 2>"));
            later.retract(handle);
            later.fail(Error{"impossible"});
        });
    });
    CHECK(failure == "impossible");
    CHECK(world.take() == Log{"+[1]", "-[1]"});
}

TEST_CASE("observers can be observed") {
    World world;
    world.watch(pat::record(
        "Observe",
        {pat::record("group", {pat::record("rec", {pat::literal(text("x"))})}), pat::discard()}));
    CHECK(world.take().empty());
    auto observer = world.watch(pat::record("x", {pat::bind()}));
    // The same pattern twice, once for assertions and once for messages: one capture sequence.
    CHECK(world.take() == Log{"+[]"});
    world.stop(observer);
    CHECK(world.take() == Log{"-[]"});
}

TEST_CASE("a long goodbye leaves in slices, newest first") {
    World world;
    size_t gone = 0;
    auto actor = world.act([&](Turn& turn) {
        for (int i = 0; i < 2500; ++i)
            turn.assert_(world.space, preserves::record("n", {preserves::integer(i)}));
    });
    CHECK(assertion_count(*world.space) == 2500);
    world.engine.external(Ref<Facet>(&actor->root()), [](Turn& turn) { turn.fail(Error{"gone"}); });
    world.engine.set_on_failure([&](const Actor&, const Error&) { ++gone; });
    world.engine.run(1);
    CHECK(gone == 1);
    world.engine.run(1);
    CHECK(assertion_count(*world.space) == 1500);
    world.engine.run();
    CHECK(assertion_count(*world.space) == 0);
}

TEST_CASE("an actor that ends in order says a long goodbye in slices, too") {
    World world;
    auto actor = world.act([&](Turn& turn) {
        for (int i = 0; i < 1500; ++i)
            turn.assert_(world.space, preserves::record("n", {preserves::integer(i)}));
        turn.facet([&](Turn& inner) {
            for (int i = 1500; i < 3500; ++i)
                inner.assert_(world.space, preserves::record("n", {preserves::integer(i)}));
        });
    });
    auto first = preserves::record("n", {preserves::integer(0)});
    auto last = preserves::record("n", {preserves::integer(3499)});
    auto watcher_of_first = world.watch(pat::literal(first));
    auto watcher_of_last = world.watch(pat::literal(last));
    CHECK(world.take() == Log{"+[]", "+[]"});
    world.engine.external(Ref<Facet>(&actor->root()), [](Turn& turn) { turn.stop_actor(); });
    world.engine.run(3);
    CHECK_FALSE(actor->running());
    CHECK(assertion_count(*world.space) > 1000);
    world.engine.run(1'000'000);
    CHECK(world.take() == Log{"-[]", "-[]"});
    CHECK(assertion_count(*world.space) == 4); // what the two observe
}

TEST_CASE("a stop action that fails ends the actor and all it asserted") {
    World world;
    size_t gone = 0;
    world.engine.set_on_failure([&](const Actor&, const Error&) { ++gone; });
    auto actor = world.act([&](Turn& turn) {
        turn.assert_(world.space, preserves::symbol("a"));
        turn.on_stop([](Turn& inner) { inner.fail(Error{"no"}); });
    });
    world.engine.external(Ref<Facet>(&actor->root()), [](Turn& turn) { turn.stop_actor(); });
    world.engine.run();
    CHECK(gone == 1);
    CHECK(assertion_count(*world.space) == 0);
}

TEST_CASE("debts are repaid when everything is done") {
    World world;
    auto account = make_ref<Account>("test", 100);
    world.watch(pat::record("n", {pat::bind()}));
    world.engine.spawn(
        "producer",
        [&](Turn& turn) {
            for (int i = 0; i < 300; ++i)
                turn.message(world.space, preserves::record("n", {preserves::integer(i)}));
        },
        account);
    world.engine.run(1);
    CHECK_FALSE(account->clear());
    world.engine.run();
    CHECK(account->debt() == 0);
    CHECK(world.take().size() == 300);
}

TEST_CASE("a dataspace that nobody holds ends") {
    World world;
    size_t before = world.engine.actor_count();
    CapRef other = spawn_dataspace(world.engine, "other");
    world.engine.run();
    CHECK(world.engine.actor_count() == before + 1);
    other = nullptr;
    world.engine.run();
    CHECK(world.engine.actor_count() == before);
}

TEST_CASE("values that are demanded in full") {
    auto constant = [](std::string_view wire) {
        Value value = pat::constant_value(text(wire));
        return value.valid() ? preserves::to_text(value) : std::string("no");
    };
    CHECK(constant("<group <rec daemon> {0: <lit x>}>") == "<daemon x>");
    CHECK(constant("<bind <group <rec daemon> {0: <bind <lit x>>}>>") == "<daemon x>");
    CHECK(constant("<group <rec daemon> {1: <lit x>}>") == "no");
    CHECK(constant("<group <rec daemon> {0: <_>}>") == "no");
    CHECK(constant("<group <arr> {}>") == "[]");
    CHECK(constant("<group <dict> {a: <lit 1>}>") == "{a: 1}");
    CHECK(constant("<lit #t>") == "#t");
}
