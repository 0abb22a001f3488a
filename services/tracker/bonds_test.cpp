#include "services/tracker/bonds.h"

#include "init/base/catch.h"
#include "services/tracker/tracked_world.h"

using namespace muster;
using namespace muster::services;
using namespace muster::services::test;

TEST_CASE("bonds: what is wanted is started and waited for, and may end afterwards") {
    Tracked world;
    world.say("<wants <daemon a> <service-state <daemon b> up>>");
    world.define("a", sleeper);
    world.define("b", silent);
    world.need("a");
    world.until_word("b", "starting");
    CHECK(world.word("a") == "waiting");
    CHECK(world.waits_for("a") == "[<service-state <daemon b> up>]");
    world.say("<service-state <daemon b> ready>");
    world.until_word("a", "running");
    world.unsay("<service-state <daemon b> ready>");
    world.send("<stop-service <daemon b>>");
    world.until_word("b", "stopped");
    CHECK(world.word("a") == "running");
    CHECK(world.count("-a ready") == 0);
    world.release("a");
    world.until_gone("a");
}

TEST_CASE("bonds: what is wanted and fails is done without") {
    Tracked world;
    world.say("<wants <daemon a> <service-state <daemon b> up>>");
    world.define("a", sleeper);
    world.define("b", "{argv: [\"/bin/false\"] restart: never readyOnStart: #f}");
    world.need("a");
    world.until_word("a", "running");
    CHECK(world.word("b") == "failed");
}

TEST_CASE("bonds: what nobody brings about is not waited for without end") {
    Tracked world;
    world.say("<wants <daemon a> <service-state <daemon nowhere> up>>");
    world.say("<wants <daemon a> <service-state <daemon b> up>>");
    world.say("<depends-on <daemon b> <weather fine>>");
    world.define("a", sleeper);
    world.define("b", sleeper);
    world.need("a");
    world.until_word("a", "running");
    CHECK(world.word("b") == "waiting");
    world.say("<weather fine>"); // and now it comes after all
    world.until_word("b", "running");
    CHECK(world.count("-a ready") == 0);
}

TEST_CASE("bonds: a dependency that is wanted besides is needed") {
    Tracked world;
    world.say("<wants <daemon a> <service-state <daemon b> up>>");
    world.say("<depends-on <daemon a> <service-state <daemon b> up>>");
    world.define("a", sleeper);
    world.define("b", sleeper);
    world.need("a");
    world.until_word("a", "running");
    world.send("<stop-service <daemon b>>");
    world.until_word("a", "waiting");
    world.unsay("<depends-on <daemon a> <service-state <daemon b> up>>");
    world.until_word("a", "running");
}

TEST_CASE("bonds: what is to come before is waited for, if anybody needs it") {
    Tracked world;
    world.say("<before <daemon a> <daemon b>>");
    world.define("a", silent);
    world.define("b", sleeper);
    world.need("b");
    world.until_word("b", "running");
    CHECK(world.word("a") != "starting"); // nobody needs it
    world.release("b");
    world.until_gone("b");
    world.act([&](dataspace::Turn& turn) {
        world.say(turn, "<require-service <daemon b>>");
        world.say(turn, "<require-service <daemon a>>");
    });
    world.until_word("a", "starting");
    CHECK(world.word("b") == "waiting");
    world.say("<service-state <daemon a> ready>");
    world.until_word("b", "running");
}

TEST_CASE("bonds: what conflicts gives way, is gone before the other starts, and comes back") {
    Tracked world;
    world.say("<conflicts <daemon a> <daemon b>>");
    world.define("a",
                 "{argv: \"trap 'echo last words; exit' TERM; echo up; while :; do sleep 1000 & "
                 "wait; done\"}");
    world.define("b", sleeper);
    world.need("a");
    world.until_line("a stdout: up");
    world.take_states();
    world.need("b");
    world.until_word("b", "running");
    CHECK(world.has_line("a stdout: last words"));
    CHECK(world.word("a") == "waiting");
    CHECK(world.waits_for("a") == "[<service-state <daemon b> stopped>]");
    auto states = world.take_states();
    auto at = [&](const std::string& state) {
        return std::find(states.begin(), states.end(), state) - states.begin();
    };
    CHECK(at("-a started") < at("+b started"));
    world.release("b");
    world.until_word("a", "running");
}

TEST_CASE("bonds: of two that conflict both ways the one with the lesser name runs") {
    Tracked world;
    world.say("<conflicts <daemon a> <daemon b>>");
    world.say("<conflicts <daemon b> <daemon a>>");
    world.define("a", sleeper);
    world.define("b", sleeper);
    world.need("b");
    world.until_word("b", "running");
    world.need("a");
    world.until_word("a", "running");
    CHECK(world.word("b") == "waiting");
    world.release("a");
    world.until_word("b", "running");
}

TEST_CASE("bonds: a name is provided by the first who can, and by the next if that is given up") {
    Tracked world;
    world.say("<provides <daemon exim> <daemon mail>>");
    world.say("<provides <daemon smail> <daemon mail>>");
    world.say("<depends-on <daemon news> <service-state <daemon mail> up>>");
    world.define("exim",
                 "{argv: \"read -r line < /dev/null; exit 1\" restart: never readyOnStart: #f}");
    world.define("smail", sleeper);
    world.define("news", sleeper);
    world.need("news");
    world.until_word("news", "running");
    CHECK(world.word("mail") == "running");
    CHECK(world.word("exim") != "running");
    CHECK(world.word("smail") == "running");
    CHECK(world.count("+exim started") == 1);
    CHECK(world.facts["<daemon mail>"].view().get("provider") == parse("<daemon smail>").view());
    world.send("<stop-service <daemon smail>>");
    world.until_word("news", "waiting");
    world.send("<release-service <daemon smail>>");
    world.until_word("news", "running");
    world.release("news");
    world.until_gone("smail");
    world.until_word("mail", "stopped");
}

TEST_CASE("bonds: who runs already provides the name, and nobody else is started") {
    Tracked world;
    world.say("<provides <daemon a> <mail>>");
    world.say("<provides <daemon b> <mail>>");
    world.define("a", sleeper);
    world.define("b", sleeper);
    world.need("b");
    world.until_word("b", "running");
    world.say("<require-service <mail>>");
    world.until_word("<mail>", "running");
    CHECK(world.count("+a started") == 0);
    world.release("b"); // it is needed for the name still
    world.until([&] { return world.word("<mail>") == "running" && world.word("b") == "running"; });
    world.unsay("<require-service <mail>>");
    world.until_gone("b");
}

TEST_CASE("bonds: a disabled service runs only if an operator says so") {
    Tracked world;
    world.say("<disable-service <daemon a>>");
    world.define("a", sleeper);
    world.define("b", sleeper);
    world.say("<depends-on <daemon b> <service-state <daemon a> up>>");
    world.need("b");
    world.until_word("b", "waiting");
    CHECK(world.word("a") == "stopped");
    CHECK(world.facts["<daemon a>"].view().get("disabled").as_bool() == true);
    world.send("<start-service <daemon a>>");
    world.until_word("b", "running");
    world.send("<release-service <daemon a>>");
    world.until_word("b", "waiting");
    world.unsay("<disable-service <daemon a>>");
    world.until_word("b", "running");
}

TEST_CASE("bonds: what is no state of a service cannot be wanted") {
    Tracked world;
    world.define("a", sleeper);
    world.say("<wants <daemon a> <daemon b>>");
    world.need("a");
    world.until_word("a", "running");
    bool said = false;
    world.act([&](dataspace::Turn&) {});
    for (const std::string& line : world.lines)
        said = said || line.find("which is no <service-state S STATE>") != std::string::npos;
    CHECK(said);
}

TEST_CASE("bonds: a chain that moves is under way, one that waits for a device is not") {
    ServiceTable services;
    auto add = [&](const char* name) -> Service& {
        Value value = parse(name);
        Service& each = services[value];
        each.name = value;
        each.needed = each.defined = true;
        return each;
    };
    auto wait_for = [](Service& each, const Value& key, const Value& service) {
        each.dependencies.made()[key].service = service;
        each.missing.made().insert(key);
    };
    Service& a = add("<daemon a>");
    Service& b = add("<daemon b>");
    Service& c = add("<daemon c>");
    wait_for(a, parse("<service-state <daemon b> up>"), b.name);
    wait_for(b, parse("<service-state <daemon c> up>"), c.name);
    c.run = 1;
    CHECK(under_way(services, a.name));
    c.states.insert(parse("failed"));
    CHECK_FALSE(under_way(services, a.name));
    c.states.erase(parse("failed"));
    wait_for(b, parse("<present <device>>"), Value());
    CHECK_FALSE(under_way(services, a.name));
    wait_for(c, parse("<service-state <daemon a> up>"), a.name);
    b.missing.made().erase(parse("<present <device>>"));
    c.run = 0;
    CHECK_FALSE(under_way(services, a.name)); // in a circle
}

namespace {

// The lines about cycles, as one text.
std::string cycles_named(const Tracked& world) {
    std::string all;
    for (const std::string& line : world.lines)
        if (line.find("dependency cycle") != std::string::npos) all += line + "\n";
    return all;
}

bool shows_cycle(Tracked& world, const std::string& id) {
    preserves::Value facts = world.facts["<daemon " + id + ">"];
    return facts.valid() && facts.view().get("cycle").valid();
}

} // namespace

TEST_CASE("bonds: a circle of weak ties is named, and broken at one of them") {
    auto bonds = GENERATE(values<std::vector<std::string>>({
        {"<before <daemon a> <daemon b>>", "<before <daemon b> <daemon a>>"},
        {"<wants <daemon a> <service-state <daemon b> up>>",
         "<wants <daemon b> <service-state <daemon a> up>>"},
        {"<wants <daemon a> <service-state <daemon b> up>>", "<before <daemon a> <daemon b>>"},
        {"<depends-on <daemon a> <service-state <daemon b> up>>", "<before <daemon a> <daemon b>>"},
        {"<wants <daemon a> <service-state <daemon b> up>>",
         "<wants <daemon b> <service-state <daemon c> up>>",
         "<depends-on <daemon c> <service-state <daemon a> up>>"},
        {"<wants <daemon a> <service-state <daemon b> up>>",
         "<depends-on <daemon b> <service-state <daemon c> up>>", "<before <daemon b> <daemon c>>"},
    }));
    INFO(bonds[0] << " " << bonds[1]);
    Tracked world;
    for (const std::string& bond : bonds)
        world.say(bond);
    for (const char* id : {"a", "b", "c"})
        world.define(id, sleeper);
    world.act([&](dataspace::Turn& turn) {
        for (const char* id : {"a", "b", "c"})
            world.say(turn, std::string("<require-service <daemon ") + id + ">>");
    });
    world.until([&] { return shows_cycle(world, "b"); });
    for (const char* id : {"a", "b", "c"})
        world.until_word(id, "running");
    world.until([&] { return !shows_cycle(world, "b"); });
    bool stopped = false;
    world.tracker.stop_all(*world.engine, [&] { stopped = true; });
    world.loop->run_once(false);
    world.until([&] { return stopped; });
    std::string named = cycles_named(world);
    CHECK(std::count(named.begin(), named.end(), '\n') == 1);
    CHECK(named.find("one of these goes on without the next") != std::string::npos);
}

TEST_CASE("bonds: what is outside a circle of weak ties waits until that is broken") {
    Tracked world;
    world.say("<wants <daemon a> <service-state <daemon b> up>>");
    world.say("<wants <daemon b> <service-state <daemon c> up>>");
    world.say("<wants <daemon c> <service-state <daemon b> up>>");
    world.define("a", sleeper);
    world.define("b", sleeper);
    world.define("c", sleeper);
    world.need("a");
    world.take_states();
    world.until_word("a", "running");
    auto states = world.take_states();
    auto at = [&](const std::string& state) {
        return std::find(states.begin(), states.end(), state) - states.begin();
    };
    CHECK(at("+b ready") < at("+a started"));
}

TEST_CASE("bonds: a circle that no weak tie is on is named beside one that is broken") {
    Tracked world;
    world.say("<before <daemon a> <daemon b>>");
    world.say("<depends-on <daemon a> <service-state <daemon b> up>>");
    world.say("<depends-on <daemon b> <service-state <daemon c> up>>");
    world.say("<depends-on <daemon c> <service-state <daemon b> up>>");
    world.define("a", sleeper);
    world.define("b", sleeper);
    world.define("c", sleeper);
    world.act([&](dataspace::Turn& turn) {
        for (const char* id : {"a", "b", "c"})
            world.say(turn, std::string("<require-service <daemon ") + id + ">>");
    });
    world.until([&] { return shows_cycle(world, "c"); });
    CHECK(world.word("a") == "waiting");
    std::string named = cycles_named(world);
    CHECK(std::count(named.begin(), named.end(), '\n') == 1);
    CHECK(named.find("none of these can start") != std::string::npos);
}

TEST_CASE("bonds: what gives way to who wants it is not waited for") {
    Tracked world;
    world.say("<wants <daemon a> <service-state <daemon b> up>>");
    world.say("<conflicts <daemon b> <daemon a>>");
    world.define("a", sleeper);
    world.define("b", sleeper);
    world.need("a");
    world.until_word("a", "running");
    CHECK(world.word("b") == "waiting");
}

TEST_CASE("bonds: of those that conflict in a circle the one with the least name runs") {
    Tracked world;
    for (const char* pair : {"<daemon a> <daemon b>", "<daemon b> <daemon c>",
                             "<daemon c> <daemon d>", "<daemon d> <daemon a>"})
        world.say(std::string("<conflicts ") + pair + ">");
    for (const char* id : {"a", "b", "c", "d"}) {
        world.define(id, sleeper);
        world.need(id);
    }
    world.until_word("a", "running");
    for (const char* id : {"b", "c", "d"})
        world.until_word(id, "waiting");
    world.release("c"); // it is no circle any more
    world.until_word("b", "running");
    world.until_word("a", "waiting");
    world.need("c");
    world.until_word("a", "running");
    world.until_word("b", "waiting");
    world.unsay("<conflicts <daemon c> <daemon d>>");
    world.until_word("c", "running");
    world.until_word("a", "waiting");
}
