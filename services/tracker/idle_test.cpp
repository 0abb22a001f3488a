#include "init/base/catch.h"
#include "services/tracker/tracked_world.h"

using namespace muster;
using namespace muster::services;
using namespace muster::services::test;

TEST_CASE("idle: a service goes on for a while when nobody needs it, and then stops") {
    Tracked world;
    world.say("<idle-stop <daemon a> 0.1>");
    world.define("a", sleeper);
    world.need("a");
    world.until_word("a", "running");
    world.release("a");
    world.act([](dataspace::Turn&) {});
    world.until([&] { return world.facts["<daemon a>"].view().get("idle").as_bool() == true; });
    CHECK(world.word("a") == "running");
    world.need("a"); // in time
    world.until([&] { return !world.facts["<daemon a>"].view().get("idle").valid(); });
    CHECK(world.count("-a ready") == 0);
    world.release("a");
    world.until_gone("a");
    CHECK(world.count("+a started") == 1);
    world.need("a"); // and once more
    world.until([&] { return world.count("+a started") == 2; });
}

TEST_CASE(
    "idle: interest starts it, and its end begins the time; what the need made stays as long") {
    Tracked world;
    world.say("<idle-stop <daemon a> 0.05>");
    // As a template does: it is defined while it is needed.
    world.act([&](dataspace::Turn& turn) {
        dataspace::during(
            turn, world.config, parse("<group <rec require-service> {0: <bind <_>>}>"),
            [&](dataspace::Turn& inner, preserves::View seen) {
                if (!(seen.at(0) == parse("<daemon a>").view())) return;
                inner.assert_(world.config, parse("<daemon a [\"/bin/sleep\" \"1000\"]>"));
            });
    });
    dataspace::Handle interest = 0;
    world.act([&](dataspace::Turn& turn) {
        interest = dataspace::observe(
            turn, world.config,
            dataspace::pattern::record("ServiceRunning",
                                       {dataspace::pattern::literal(parse("<daemon a>"))}),
            {}, {});
    });
    world.until_word("a", "running");
    world.act([&](dataspace::Turn& turn) { turn.retract(interest); });
    world.until_gone("a");
    CHECK(world.count("+a started") == 1);
    CHECK(world.count("-a ready") == 1);
}

TEST_CASE("idle: what is taken over from a second stage before, and needed by nobody, goes on") {
    Tracked world;
    world.define("a", sleeper);
    world.define("b", sleeper);
    world.adopting = true;
    for (const char* each : {"<run-service <daemon a>>", "<run-service <daemon b>>"})
        world.say(each); // as if it had run
    world.until_state("a ready");
    world.until_state("b ready");
    world.say("<idle-stop <daemon a> 0.1>");
    world.until([&] { return world.facts["<daemon a>"].view().get("idle").valid(); });
    world.adopting = false;
    for (const char* each : {"<run-service <daemon a>>", "<run-service <daemon b>>"})
        world.unsay(each);
    world.until_gone("b");
    CHECK(world.count("-a ready") == 0);
    world.until_gone("a");
}

TEST_CASE("idle: stopped by an operator it stops at once") {
    Tracked world;
    world.say("<idle-stop <daemon a> 1000>");
    world.define("a", sleeper);
    world.need("a");
    world.until_word("a", "running");
    world.release("a");
    world.until([&] { return world.facts["<daemon a>"].view().get("idle").valid(); });
    world.send("<stop-service <daemon a>>");
    world.until_gone("a");
}

TEST_CASE("idle: a time that is none is named") {
    Tracked world;
    world.say("<idle-stop <daemon a> soon>");
    bool said = false;
    for (const std::string& line : world.lines)
        said = said || line.find("soon is no number of seconds above 0") != std::string::npos;
    CHECK(said);
}

TEST_CASE("a one-shot that is run once more bounces nobody") {
    Tracked world;
    world.define("once", "<one-shot \"echo done\">");
    world.define("a", sleeper);
    world.say("<depends-on <daemon a> <service-state <daemon once> complete>>");
    world.say("<depends-on <milestone m> <service-state <daemon once> up>>");
    world.say("<depends-on <milestone m> <service-state <daemon a> up>>");
    world.say("<require-service <milestone m>>");
    world.until_word("<milestone m>", "running");
    world.lines.clear();
    world.take_states();
    world.send("<restart-service <daemon once>>");
    world.until([&] { return world.count("+once complete") == 1; });
    CHECK(world.has_line("once stdout: done"));
    CHECK(world.count("-a ready") == 0);
    CHECK(world.word("<milestone m>") == "running");
    CHECK(world.word("a") == "running");
}

TEST_CASE("a one-shot that fails when it is run once more is not complete any more") {
    char file[] = "/tmp/muster-once-XXXXXX";
    int made = mkstemp(file);
    REQUIRE(made >= 0);
    close(made);
    {
        Tracked world;
        world.define("once", "{argv: [\"/bin/rm\" \"" + std::string(file) +
                                 "\"] restart: never readyOnStart: #f}");
        world.define("a", sleeper);
        world.say("<depends-on <daemon a> <service-state <daemon once> complete>>");
        world.need("a");
        world.until_word("a", "running");
        world.send("<restart-service <daemon once>>");
        world.until_word("a", "waiting");
        CHECK(world.word("once") == "failed");
    }
    unlink(file);
}

TEST_CASE("a milestone that was reached stays while what it needs is started again") {
    Tracked world;
    world.define("a", sleeper);
    world.define("b", sleeper);
    world.say("<depends-on <milestone m> <service-state <daemon a> up>>");
    world.say("<depends-on <daemon b> <service-state <milestone m> up>>");
    world.need("b");
    world.until_word("b", "running");
    world.take_states();
    kill(static_cast<pid_t>(world.number("a", "pid")), SIGKILL);
    world.until([&] { return world.count("+a ready") == 1; });
    CHECK(world.count("-a ready") == 1);
    CHECK(world.count("-b ready") == 0);
    CHECK(world.word("<milestone m>") == "running");
    world.send("<stop-service <daemon a>>");
    world.until_word("b", "waiting");
    CHECK(world.word("<milestone m>") == "waiting");
}
