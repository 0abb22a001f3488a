// Services that speak the protocol on their standard input and output: real shells and a real
// relay.
#include "init/preserves/encoder.h"
#include "services/daemon/supervisor_world.h"

#include "services/daemon/daemons.h"

using namespace muster;
using namespace muster::services;
using services::test::World;
using Strings = std::vector<std::string>;

namespace {

// A shell that reads its first dictionary and finds the oids in it as $config and $machine.
std::string service(const std::string& script, const std::string& fields = "") {
    std::string text = "IFS= read -r line; "
                       "config=${line#*config: #:?0, }; config=${config%%]*}; "
                       "machine=${line#*machine: #:?0, }; machine=${machine%%]*}; " +
                       script;
    return "{argv: " + preserves::to_text(preserves::string(text)) +
           " protocol: text/syndicate readyOnStart: #f " + fields + "}";
}

} // namespace

TEST_CASE("channel: a service gets its capabilities and says that it is ready") {
    World world;
    world.run("x", service("echo \"$line\" >&2;"
                           "echo \"[[$config <A <service-state <daemon x> ready> 1>]]\";"
                           "read stop; echo end >&2"));
    world.until_state("x ready");
    CHECK(world.phase("x") == "running");
    CHECK(world.take_states() == Strings{"+x started", "+x ready"});
    REQUIRE(world.lines.size() == 1);
    CHECK(world.lines[0].starts_with("x stderr: [[0, <A {config: #:[0, 0], machine: #:[0, 1]} "));
    // What it said goes as soon as it is asked to stop, the rest when it is gone.
    world.stop("x");
    CHECK(world.now == std::set<std::string>{"x started"});
    world.until_gone("x");
    CHECK(world.now.empty());
}

TEST_CASE("channel: its own object is published, and what is sent there reaches it") {
    World world;
    dataspace::CapRef object;
    world.act([&](dataspace::Turn& turn) {
        namespace pattern = dataspace::pattern;
        dataspace::observe(
            turn, world.config,
            pattern::record("service-object",
                            {pattern::record("daemon", {pattern::discard()}), pattern::bind()}),
            [&](dataspace::Turn&, preserves::View captures) {
                object = dataspace::cap_of(captures.at(0));
            },
            [&](dataspace::Turn&, preserves::View) { object = {}; });
    });
    world.run("x", service("read -r line; echo \"$line\" >&2; read stop"));
    world.until([&] { return static_cast<bool>(object); });
    world.act(
        [&](dataspace::Turn& turn) { turn.message(object, services::test::parse("<hello>")); });
    world.until_line("x stderr: [[0, <M <hello>>]]");
    world.stop("x");
    world.until_gone("x");
    world.until([&] { return !object; });
}

TEST_CASE("channel: only its own state passes, and its view of the machine is for looking") {
    World world;
    world.act([&](dataspace::Turn& turn) {
        turn.assert_(world.machine, services::test::parse("<device block \"/x\">"));
    });
    world.run(
        "x",
        service(
            "echo \"[[$config <A <service-state <daemon y> ready> 1>]]\";"
            "echo \"[[$config <A <require-service <daemon y>> 2>]]\";"
            "echo \"[[$machine <A <device block forged> 3>]]\";"
            "echo \"[[$machine <A <Observe <group <rec device> {1: <bind <_>>}> #:[0 9]> 4>]]\";"
            "read -r line; echo \"$line\" >&2; read stop"));
    world.until([&] {
        for (const std::string& line : world.lines)
            if (line.starts_with("x stderr: [[9, <A [\"/x\"] ")) return true;
        return false;
    });
    CHECK(dataspace::assertion_count(*world.machine) == 2); // the device and the interest
    CHECK(world.now == std::set<std::string>{"x started"});
    CHECK(world.has_line("x supervisor: may only assert <service-state <daemon x> …> in its "
                         "$config, not <service-state <daemon y> ready>"));
}

TEST_CASE("channel: an attacker learns nothing and moves nothing") {
    World world;
    world.act([&](dataspace::Turn& turn) {
        turn.assert_(world.machine, services::test::parse("<device block \"/x\">"));
        // Others observe there, and somebody has left a capability.
        preserves::Value cap = dataspace::embed(world.config);
        turn.assert_(world.machine, preserves::record("left", {cap}));
        turn.assert_(world.machine,
                     preserves::record("Observe", {dataspace::pattern::record("x", {}), cap}));
        turn.assert_(world.config, services::test::parse("<bind <ref {key: topsecret}> 1 #f>"));
    });
    world.run("x",
              service("echo \"[[$config <A <Observe <bind <_>> #:[0 1]> 1>]"
                      " [$config <A <Observe <group <rec bind> {0: <bind <_>>}> #:[0 2]> 2>]"
                      " [$machine <A <Observe <bind <_>> #:[0 3]> 3>]"
                      " [$machine <A <Observe <group <rec Observe> {1: <bind <_>>}> #:[0 4]> 4>]"
                      " [$config <A <Observe <group <rec ServiceRunning> {0: <lit y>}> #:[0 5]> 5>]"
                      " [$config <A <RequireService y> 6>] [$machine <A <RequireService y> 7>]"
                      " [$config <M <system poweroff>>] [$machine <M <left 1>>]]\";"
                      "while read -r line; do echo \"$line\" >&2; done"));
    world.until([&] {
        for (const std::string& line : world.lines)
            if (line.find("[<device block \"/x\">]") != std::string::npos) return true;
        return false;
    });
    for (const std::string& line : world.lines)
        for (const char* secret : {"topsecret", "Observe <", "#:", "[2, ", "[4, ", "left"})
            if (line.starts_with("x stderr")) CHECK(line.find(secret) == std::string::npos);
}

TEST_CASE("channel: more is granted by the specification") {
    World world;
    std::string plain =
        service("echo \"$line\" >&2; read stop", "grant: {answer: 42 config: none}");
    world.run("x", plain);
    world.until([&] { return !world.lines.empty(); });
    CHECK(world.lines[0].starts_with(
        "x stderr: [[0, <A {answer: 42, config: none, machine: #:[0, 0]} "));
}

TEST_CASE("channel: garbage ends the process by its policy and nobody else") {
    for (bool groups : {true, false}) {
        World world(World::short_times(), groups);
        world.run("y", service("echo \"[[$config <A <service-state <daemon y> ready> 1>]]\";"
                               "read stop"));
        world.run("x", service("echo \"[[$config <A <service-state <daemon x> ready> 1>]]\";"
                               "echo ']garbage'; read stop; exec sleep 1000"));
        world.until_state("y ready");
        int64_t pid = world.number("y", "pid");
        world.until([&] { return world.number("x", "restarts") >= 2; });
        bool named = false;
        for (const std::string& line : world.lines)
            if (line.starts_with("x supervisor: protocol: ") &&
                line.find("next start in") != std::string::npos)
                named = true;
        CHECK(named);
        CHECK(world.number("y", "pid") == pid);
        CHECK(world.now.count("y ready") == 1);
        world.stop("x");
        world.stop("y");
        world.until_gone("x");
        world.until_gone("y");
        CHECK(world.processes->count() == 0);
    }
}

TEST_CASE("channel: the last message of a one-shot arrives") {
    World world;
    std::vector<std::string> heard;
    dataspace::CapRef ear;
    world.act([&](dataspace::Turn& turn) {
        dataspace::on_message(turn, world.config,
                              dataspace::pattern::record("news", {dataspace::pattern::bind()}),
                              [&](dataspace::Turn&, preserves::View captures) {
                                  heard.push_back(preserves::to_text(captures.at(0)));
                              });
        // What a service may do is what it is given.
        std::string text = "{argv: \"IFS= read -r line; news=${line#*news: #:?0, }; "
                           "echo \\\"[[${news%%]*} <M <news 1>>]]\\\"\" "
                           "protocol: text/syndicate restart: on-error}";
        preserves::Value spec = services::test::parse(text);
        preserves::Encoder with_grant;
        with_grant.begin_dictionary();
        for (preserves::View item : spec.view().items())
            with_grant.value(item);
        with_grant.symbol("grant");
        with_grant.value(preserves::dictionary({{"news", dataspace::embed(world.config)}}));
        with_grant.end();
        turn.assert_(world.config,
                     preserves::record("daemon", {preserves::symbol("x"), *with_grant.finish()}));
    });
    world.say("<run-service <daemon x>>");
    world.until_state("x complete");
    world.until([&] { return !heard.empty(); });
    CHECK(heard == Strings{"1"});
}
