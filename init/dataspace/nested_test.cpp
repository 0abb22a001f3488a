// A dataspace inside an actor that lives in another dataspace: what is said in one is relayed to
// the other by observers, both ways.

#include <set>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::dataspace;
namespace pat = muster::dataspace::pattern;

namespace {

Value text(std::string_view source) { return *preserves::parse_text(source); }

// Asserts in `to` what is asserted as `<LABEL _>` in `from`, and sends on such messages, as
// `<relayed LABEL VALUE>`: from the current facet.
void relay(Turn& turn, const CapRef& from, const CapRef& to, std::string_view label) {
    auto wrapped = [label = std::string(label)](View captured) {
        return preserves::record("relayed", {preserves::symbol(label), captured.at(0)});
    };
    Value pattern = pat::record(label, {pat::bind()});
    during(turn, from, pattern,
           [to, wrapped](Turn& inner, View seen) { inner.assert_(to, wrapped(seen)); });
    on_message(turn, from, pattern,
               [to, wrapped](Turn& inner, View seen) { inner.message(to, wrapped(seen)); });
}

struct World {
    Engine engine;
    CapRef outer = spawn_dataspace(engine, "outer");
    CapRef inner; // within the actor `house`
    Ref<Actor> house;
    Ref<Facet> passer;
    KeepAlive keep;
    std::set<std::string> outside, inside; // what is relayed there
    std::vector<std::string> messages;

    World() {
        engine.set_on_failure([](const Actor&, const Error&) {});
        house = engine.spawn("house", [this](Turn& turn) {
            inner = make_dataspace(turn);
            relay(turn, outer, inner, "in");
            relay(turn, inner, outer, "out");
        });
        engine.spawn("passer-by", [this](Turn& turn) {
            passer = Ref<Facet>(&turn.current());
            keep = KeepAlive(passer);
            watch(turn, outer, outside);
        });
        engine.run();
        act([this](Turn& turn) { watch(turn, inner, inside); });
    }
    void watch(Turn& turn, const CapRef& space, std::set<std::string>& facts) {
        Value pattern = pat::bind(pat::record("relayed", {pat::discard(), pat::discard()}));
        observe(
            turn, space, pattern,
            [&](Turn&, View seen) { facts.insert(preserves::to_text(seen.at(0))); },
            [&](Turn&, View seen) { facts.erase(preserves::to_text(seen.at(0))); });
        on_message(turn, space, pattern,
                   [&](Turn&, View seen) { messages.push_back(preserves::to_text(seen.at(0))); });
    }
    void act(const TurnAction& action) {
        engine.external(passer, action);
        engine.run();
    }
};

using Facts = std::set<std::string>;

} // namespace

TEST_CASE("a dataspace within an actor is joined with the one around it, both ways") {
    World world;
    Handle in = 0, out = 0;
    world.act([&](Turn& turn) {
        in = turn.assert_(world.outer, text("<in 1>"));
        out = turn.assert_(world.inner, text("<out 2>"));
        turn.message(world.outer, text("<in 3>"));
        turn.message(world.inner, text("<out 4>"));
        // What nobody relays stays where it is.
        turn.assert_(world.inner, text("<secret 5>"));
    });
    CHECK(world.inside == Facts{"<relayed in 1>"});
    CHECK(world.outside == Facts{"<relayed out 2>"});
    CHECK(world.messages == std::vector<std::string>{"<relayed in 3>", "<relayed out 4>"});
    world.act([&](Turn& turn) {
        turn.retract(in);
        turn.retract(out);
    });
    CHECK(world.inside.empty());
    CHECK(world.outside.empty());
}

TEST_CASE("capabilities cross between nested dataspaces") {
    World world;
    std::vector<std::string> heard;
    world.act([&](Turn& turn) {
        // Inside, somebody gives away a place; outside, somebody talks to it.
        CapRef place = make_dataspace(turn);
        on_message(turn, place, pat::bind(),
                   [&](Turn&, View seen) { heard.push_back(preserves::to_text(seen.at(0))); });
        turn.assert_(world.inner, preserves::record("out", {embed(place)}));
        during(turn, world.outer, pat::record("relayed", {pat::discard(), pat::bind()}),
               [](Turn& inner, View seen) {
                   inner.message(cap_of(seen.at(0)), preserves::string("hello"));
               });
    });
    CHECK(heard == std::vector<std::string>{"\"hello\""});
}

TEST_CASE("a nested dataspace ends with its actor, and all that came out of it") {
    World world;
    world.act([&](Turn& turn) {
        turn.assert_(world.outer, text("<in 1>"));
        turn.assert_(world.inner, text("<out 2>"));
    });
    CHECK(world.outside.size() == 1);
    CHECK(world.inside.size() == 1);
    size_t before = assertion_count(*world.outer);
    world.engine.external(Ref<Facet>(&world.house->root()),
                          [](Turn& turn) { turn.fail(Error{"the house burns"}); });
    world.engine.run();
    CHECK(!world.house->running());
    CHECK(world.outside.empty());
    CHECK(assertion_count(*world.outer) < before);
    CHECK(assertion_count(*world.inner) == 0);
    // What is said there from now on is heard by nobody.
    world.act([&](Turn& turn) { turn.assert_(world.inner, text("<out 3>")); });
    CHECK(world.outside.empty());
}
