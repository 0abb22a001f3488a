// How one version of a script takes over from another (script.h).

#include "init/config/script.h"

#include "init/base/catch.h"
#include "init/config/script_world.h"

using namespace muster;
using namespace muster::config;
using Facts = std::set<std::string>;
using Strings = std::vector<std::string>;

TEST_CASE("same content: layout and comments do not count, and places can be renewed") {
    Ref<Script> one = World::parse("<a 1>\n? <b ?x> [<c $y>]");
    Ref<Script> two = World::parse("# new\n<a   1>\n\n\n? <b ?x> [\n<c $y>]");
    Ref<Script> three = World::parse("<a 1> ? <b ?x> [<c $x>]");
    REQUIRE((one && two && three));
    CHECK(one->same_content(*two));
    CHECK_FALSE(one->same_content(*three));
    World world;
    world.turn([&](dataspace::Turn& turn) {
        run_script(turn, one, world.environment, [&](dataspace::Turn&, const Problem& problem) {
            world.problems.push_back(to_string(problem));
        });
    });
    one->take_places(*two);
    world.add("<b 1>");
    CHECK(world.problems == std::vector<std::string>{"test.pr:6:4: undefined variable $y"});
}

TEST_CASE("a rehearsal shows nothing until it is released, derived things included") {
    World world;
    Running old = world.start("<a 1> ? <x ?n> [ <b $n> ? <y> <d> ] ?? <m> ! <old>");
    world.add("<x 1>");
    world.add("<y>");
    REQUIRE(world.has("<d>"));
    world.events.clear();
    Running next = world.start("<a 1> <a 2> ? <x ?n> [ <b $n> ? <y> [ <d> <e> ] ] "
                               "?? <m> ! <new> ? <x ?n> ?- ! <undone>",
                               &old);
    CHECK(world.events.empty());
    world.send("<m>");
    CHECK(world.events == std::vector<std::string>{"!<m>", "!<old>"});
    world.events.clear();
    world.turn([&](dataspace::Turn& turn) {
        release(turn, next);
        turn.stop(*old.facet);
    });
    // What both say did not blink.
    CHECK(world.events == std::vector<std::string>{"+<a 2>", "+<e>"});
    world.send("<m>");
    CHECK(world.events.back() == "!<new>");
    world.stop(next);
    CHECK(world.facts == Facts{"<x 1>", "<y>"});
    CHECK(std::count(world.events.begin(), world.events.end(), "!<undone>") == 1);
}

TEST_CASE("a rehearsal that nobody lets out leaves nothing behind, whatever it has captured") {
    World world;
    Running old = world.start("<x 1>");
    // Its own observation is among what it captures.
    Running next = world.start("? ?x [ <b $x> ? <d> <e> ]", &old);
    CHECK(world.facts == Facts{"<x 1>"});
} // a leak is found at the end of the tests

TEST_CASE("capabilities narrowed in the same way are the same, from version to version") {
    World world;
    const char* script = "? <x ?n> [ let ?c = <* $config [<accept <a $n>>]> <give $n $c> ]";
    Running old = world.start(script);
    world.add("<x 1>");
    world.add("<x 2>");
    Facts before = world.facts;
    CHECK(before.size() == 4);
    world.events.clear();
    Running next = world.start(std::string("<more>") + script, &old);
    world.turn([&](dataspace::Turn& turn) {
        release(turn, next);
        turn.stop(*old.facet);
    });
    CHECK(world.events == std::vector<std::string>{"+<more>"});
}
