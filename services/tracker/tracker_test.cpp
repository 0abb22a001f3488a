#include "services/tracker/tracker.h"

#include <stdlib.h>
#include <unistd.h>

#include <map>
#include <set>

#include "init/base/catch.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::services;
using dataspace::CapRef;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = muster::dataspace::pattern;

namespace {

Value text(std::string_view source) {
    Result<Value> value = preserves::parse_text(source);
    REQUIRE(value);
    return *value;
}

// A tracker, and somebody who asserts things and looks.
struct World {
    dataspace::Engine engine;
    CapRef config = spawn_dataspace(engine, "config");
    CapRef machine = spawn_dataspace(engine, "machine");
    CapRef status = spawn_dataspace(engine, "status");
    CapRef log = spawn_dataspace(engine, "log");
    TrackerControl tracker;
    Ref<dataspace::Facet> facet;
    dataspace::KeepAlive keep;
    std::map<std::string, dataspace::Handle> handles;
    std::multiset<std::string> seen; // in config, by text
    std::vector<std::string> runs;   // run-service as it came and went
    std::vector<std::string> lines;  // of the log

    explicit World(std::string overrides = "") {
        TrackerSpaces spaces{config, machine, status, log, overrides};
        spaces.last_to_stop = text("<daemon last>");
        tracker = track_services(engine, std::move(spaces));
        auto actor = engine.spawn("test", [this](Turn& turn) {
            facet = Ref<dataspace::Facet>(&turn.current());
            keep = dataspace::KeepAlive(facet);
            for (const char* label :
                 {"run-service", "require-service", "ServiceRunning", "service-override"})
                observe(
                    turn, config, pat::bind(pat::record(label, {pat::discard()})),
                    [this](Turn&, View v) { note(v.at(0), true); },
                    [this](Turn&, View v) { note(v.at(0), false); });
            for (const char* label : {"service", "depends-on"})
                observe(
                    turn, status, pat::bind(pat::record(label, {pat::discard()})),
                    [this](Turn&, View v) { note(v.at(0), true); },
                    [this](Turn&, View v) { note(v.at(0), false); });
            on_message(turn, log, pat::record("log", {pat::discard(), pat::bind()}),
                       [this](Turn&, View v) {
                           lines.push_back(std::string(*v.at(0).get("line").as_string()));
                       });
        });
        engine.run();
    }
    ~World() { keep = {}; }

    void note(View value, bool came) {
        std::string it = preserves::to_text(value);
        if (value.is_record("run-service"))
            runs.push_back((came ? "+" : "-") + preserves::to_text(value.at(0)));
        if (came)
            seen.insert(it);
        else
            seen.erase(seen.find(it));
    }
    // Asserts and retracts in one turn.
    void change(std::vector<std::string> in, std::vector<std::string> out = {},
                bool machine_too = false) {
        engine.external(facet, [&, in, out](Turn& turn) {
            for (const auto& each : in)
                handles[each] = turn.assert_(machine_too ? machine : config, text(each));
            for (const auto& each : out)
                turn.retract(handles[each]);
        });
        engine.run();
    }
    void send(std::string_view message) {
        Value value = text(message);
        engine.external(facet, [&, value](Turn& turn) { turn.message(config, value); });
        engine.run();
    }
    bool has(const std::string& it) const { return seen.count(it) != 0; }
    std::string word(const std::string& name) const {
        for (const auto& each : seen)
            if (each.rfind("<service " + name + " ", 0) == 0) {
                size_t start = 10 + name.size();
                return each.substr(start, each.find(' ', start) - start);
            }
        return "";
    }
    // What `$status` says of it beside the word.
    Value facts(const std::string& name) const {
        for (const auto& each : seen)
            if (each.rfind("<service " + name + " ", 0) == 0) return Value(text(each).view().at(2));
        return preserves::dictionary({});
    }
    std::vector<std::string> take_runs() { return std::exchange(runs, {}); }
};

using Runs = std::vector<std::string>;

} // namespace

TEST_CASE("a service runs while somebody needs it, however that is said") {
    auto need = GENERATE(
        std::string("<require-service <daemon a>>"), std::string("<RequireService <daemon a>>"),
        std::string("<depends-on <milestone m> <service-state <daemon a> ready>>"));
    World world;
    if (need[1] == 'd') world.change({"<require-service <milestone m>>"});
    world.take_runs();
    world.change({need});
    CHECK(world.has("<run-service <daemon a>>"));
    world.change({}, {need});
    CHECK_FALSE(world.has("<run-service <daemon a>>"));
    if (need[1] == 'd') world.change({}, {"<require-service <milestone m>>"});
    CHECK(world.seen.empty());
}

TEST_CASE("interest in ServiceRunning implies the need, unless it is not in full") {
    World world;
    dataspace::Handle full = 0;
    dataspace::Handle open = 0;
    world.engine.external(world.facet, [&](Turn& turn) {
        full = observe(turn, world.config,
                       pat::record("ServiceRunning", {pat::literal(text("<daemon a>"))}), {}, {});
        open =
            observe(turn, world.config,
                    pat::record("ServiceRunning", {pat::record("daemon", {pat::bind()})}), {}, {});
        observe(turn, world.config,
                pat::record("service-state", {pat::literal(text("<daemon b>")), pat::bind()}), {},
                {});
    });
    world.engine.run();
    CHECK(world.take_runs() == Runs{"+<daemon a>"});
    world.engine.external(world.facet, [&](Turn& turn) { turn.retract(full); });
    world.engine.run();
    CHECK(world.take_runs() == Runs{"-<daemon a>"});
}

TEST_CASE("dependencies start first, and what depends on them follows them up and down") {
    World world;
    world.change({"<depends-on <daemon a> <service-state <daemon b> ready>>",
                  "<require-service <daemon a>>"});
    CHECK(world.take_runs() == Runs{"+<daemon b>"});
    CHECK(world.word("<daemon a>") == "waiting");
    world.change({"<service-state <daemon b> ready>"});
    CHECK(world.take_runs() == Runs{"+<daemon a>"});
    CHECK(world.has("<ServiceRunning <daemon b>>"));
    world.change({}, {"<service-state <daemon b> ready>"});
    CHECK(world.take_runs() == Runs{"-<daemon a>"});
    CHECK_FALSE(world.has("<ServiceRunning <daemon b>>"));
}

TEST_CASE("up is ready or complete, and the step between them is no gap") {
    World world;
    world.change({"<depends-on <daemon a> <service-state <daemon b> up>>",
                  "<require-service <daemon a>>", "<service-state <daemon b> ready>"});
    world.take_runs();
    CHECK(world.has("<run-service <daemon a>>"));
    world.change({"<service-state <daemon b> complete>"}, {"<service-state <daemon b> ready>"});
    CHECK(world.take_runs().empty());
    CHECK(world.word("<daemon b>") == "complete");
}

TEST_CASE("a device that is replaced in one turn bounces nobody") {
    World world;
    std::string present =
        "<depends-on <daemon a> <present <group <rec device> {0: <lit block> 1: <bind <_>>}>>>";
    world.change({present, "<require-service <daemon a>>"});
    CHECK(world.take_runs().empty());
    world.change({"<device block \"/x\" {A: 1}>"}, {}, true);
    CHECK(world.take_runs() == Runs{"+<daemon a>"});
    world.change({"<device block \"/x\" {A: 2}>"}, {"<device block \"/x\" {A: 1}>"}, true);
    CHECK(world.take_runs().empty());
    world.change({}, {"<device block \"/x\" {A: 2}>"}, true);
    CHECK(world.take_runs() == Runs{"-<daemon a>"});
}

TEST_CASE("any assertion can be depended on, and it is compared as a whole") {
    World world;
    world.change({"<depends-on <daemon a> <weather fine>>", "<require-service <daemon a>>",
                  "<weather fine today>"});
    CHECK(world.take_runs().empty());
    world.change({"<weather fine>"});
    CHECK(world.take_runs() == Runs{"+<daemon a>"});
}

TEST_CASE("what is needed again at once goes on") {
    World world;
    world.change({"<require-service <daemon a>>"});
    world.take_runs();
    // Two turns: the need is away in between.
    world.engine.external(world.facet, [&](Turn& turn) {
        turn.retract(world.handles["<require-service <daemon a>>"]);
    });
    world.engine.external(world.facet, [&](Turn& turn) {
        turn.assert_(world.config, text("<require-service <daemon a>>"));
    });
    world.engine.run();
    CHECK(world.take_runs().empty());
}

TEST_CASE("a cycle is named once; what is not on it starts") {
    World world;
    world.change({"<depends-on <daemon a> <service-state <daemon b> ready>>",
                  "<depends-on <daemon b> <service-state <daemon a> ready>>",
                  "<depends-on <daemon c> <service-state <daemon d> ready>>",
                  "<require-service <daemon a>>", "<require-service <daemon c>>"});
    CHECK(world.take_runs() == Runs{"+<daemon d>"});
    REQUIRE(world.lines.size() == 1);
    CHECK(world.lines[0].find("cycle") != std::string::npos);
    CHECK((world.lines[0].find("a -> b -> a") != std::string::npos ||
           world.lines[0].find("b -> a -> b") != std::string::npos));
    world.change({}, {"<depends-on <daemon b> <service-state <daemon a> ready>>"});
    CHECK(world.take_runs() == Runs{"+<daemon b>"});
}

TEST_CASE("milestones are reached when nothing stands in their way") {
    World world;
    world.change({"<require-service <milestone m>>",
                  "<depends-on <milestone m> <service-state <daemon a> up>>"});
    CHECK_FALSE(world.has("<ServiceRunning <milestone m>>"));
    world.change({"<service-state <daemon a> complete>"});
    CHECK(world.has("<ServiceRunning <milestone m>>"));
    CHECK(world.word("<milestone m>") == "running");
}

TEST_CASE("stop beats every need until start or release") {
    World world;
    world.change({"<require-service <daemon a>>"});
    world.take_runs();
    world.send("<stop-service <daemon a>>");
    CHECK(world.take_runs() == Runs{"-<daemon a>"});
    CHECK(world.has("<service-override <daemon a> down>"));
    CHECK(world.word("<daemon a>") == "stopped");
    world.change({"<RequireService <daemon a>>"});
    CHECK(world.take_runs().empty());
    world.send("<release-service <daemon a>>");
    CHECK(world.take_runs() == Runs{"+<daemon a>"});
    world.change({}, {"<require-service <daemon a>>", "<RequireService <daemon a>>"});
    CHECK(world.take_runs() == Runs{"-<daemon a>"});
    world.send("<start-service <daemon a>>");
    CHECK(world.take_runs() == Runs{"+<daemon a>"});
    world.send("<release-service <daemon a>>");
    CHECK(world.take_runs() == Runs{"-<daemon a>"});
    CHECK(world.seen.empty());
}

TEST_CASE("overrides outlive the tracker") {
    char path[] = "/tmp/muster-overrides-XXXXXX";
    int fd = mkstemp(path);
    REQUIRE(fd >= 0);
    close(fd);
    {
        World world(path);
        world.send("<stop-service <daemon a>>");
        world.send("<start-service <daemon b>>");
    }
    World again(path);
    CHECK(again.take_runs() == Runs{"+<daemon b>"});
    again.change({"<require-service <daemon a>>"});
    CHECK(again.take_runs().empty());
    unlink(path);
}

TEST_CASE("an undefined service is shown as waiting for its definition") {
    World world;
    world.change({"<require-service <daemon a>>"});
    CHECK(world.word("<daemon a>") == "waiting");
    bool undefined = false;
    for (const auto& each : world.seen)
        undefined = undefined || each.find("undefined: #t") != std::string::npos;
    CHECK(undefined);
    world.change({"<daemon a \"true\">"});
    CHECK(world.word("<daemon a>") == "starting");
}

TEST_CASE("a service of no kind that anybody provides is shown so") {
    World world;
    world.change({"<require-service <odd one>>"});
    CHECK(world.word("<odd one>") == "waiting");
    CHECK(world.facts("<odd one>").view().get("unprovided").valid());
    world.change({"<service-state <odd one> ready>"});
    CHECK(world.word("<odd one>") == "running");
    CHECK_FALSE(world.facts("<odd one>").view().get("unprovided").valid());
}

TEST_CASE("services stop after those that depend on them") {
    World world;
    world.change({"<depends-on <daemon a> <service-state <daemon b> ready>>",
                  "<require-service <daemon a>>", "<service-state <daemon b> started>",
                  "<service-state <daemon b> ready>", "<service-state <daemon a> started>",
                  "<service-state <daemon a> ready>"});
    world.take_runs();
    bool stopped = false;
    world.tracker.stop_all(world.engine, [&] { stopped = true; });
    world.engine.run();
    CHECK(world.take_runs() == Runs{"-<daemon a>"});
    world.change({}, {"<service-state <daemon a> ready>"});
    CHECK(world.take_runs().empty());
    world.change({}, {"<service-state <daemon a> started>"});
    CHECK(world.take_runs() == Runs{"-<daemon b>"});
    CHECK_FALSE(stopped);
    world.change({}, {"<service-state <daemon b> ready>", "<service-state <daemon b> started>"});
    CHECK(stopped);
}

TEST_CASE("the last one to stop is told when all others have stopped, but for what it needs") {
    World world;
    world.change({"<depends-on <daemon last> <service-state <daemon under> ready>>",
                  "<require-service <daemon last>>", "<require-service <daemon a>>",
                  "<service-state <daemon under> started>", "<service-state <daemon under> ready>",
                  "<service-state <daemon last> started>", "<service-state <daemon last> ready>",
                  "<service-state <daemon a> started>", "<service-state <daemon a> ready>"});
    world.take_runs();
    bool stopped = false, last = false;
    world.tracker.stop_all(
        world.engine, [&] { stopped = true; }, [&] { last = true; });
    world.engine.run();
    CHECK(world.take_runs() == Runs{"-<daemon a>"});
    CHECK_FALSE(last);
    world.change({}, {"<service-state <daemon a> ready>", "<service-state <daemon a> started>"});
    CHECK(last);
    CHECK(world.take_runs() == Runs{"-<daemon last>"});
    world.change({},
                 {"<service-state <daemon last> ready>", "<service-state <daemon last> started>"});
    CHECK(world.take_runs() == Runs{"-<daemon under>"});
    CHECK_FALSE(stopped);
    world.change(
        {}, {"<service-state <daemon under> ready>", "<service-state <daemon under> started>"});
    CHECK(stopped);
}

TEST_CASE("what was stopped a moment before all are still has what it needs") {
    World world;
    world.change({"<depends-on <daemon a> <service-state <daemon b> ready>>",
                  "<require-service <daemon a>>", "<require-service <daemon b>>",
                  "<service-state <daemon b> started>", "<service-state <daemon b> ready>",
                  "<service-state <daemon a> started>", "<service-state <daemon a> ready>"});
    world.change({}, {"<require-service <daemon a>>"});
    world.take_runs();
    world.tracker.stop_all(world.engine, [] {});
    world.engine.run();
    CHECK(world.take_runs().empty());
    world.change({}, {"<service-state <daemon a> ready>", "<service-state <daemon a> started>"});
    CHECK(world.take_runs() == Runs{"-<daemon b>"});
}

TEST_CASE("services stop in the order in which they were started, whatever is configured by then") {
    World world;
    std::string dependency = "<depends-on <daemon a> <service-state <daemon b> ready>>";
    world.change({dependency, "<require-service <daemon a>>", "<require-service <daemon b>>",
                  "<service-state <daemon b> started>", "<service-state <daemon b> ready>",
                  "<service-state <daemon a> started>", "<service-state <daemon a> ready>"});
    // Now the other way round; nobody is bounced, since what is asked for is there.
    world.change({"<depends-on <daemon b> <service-state <daemon a> ready>>"}, {dependency});
    world.take_runs();
    bool stopped = false;
    world.tracker.stop_all(world.engine, [&] { stopped = true; });
    world.engine.run();
    CHECK(world.take_runs() == Runs{"-<daemon a>"});
    world.change({}, {"<service-state <daemon a> ready>", "<service-state <daemon a> started>"});
    CHECK(world.take_runs() == Runs{"-<daemon b>"});
    world.change({}, {"<service-state <daemon b> ready>", "<service-state <daemon b> started>"});
    CHECK(stopped);
}

TEST_CASE("what does not stop is given up, and what it depends on stops all the same") {
    World world;
    world.change({"<depends-on <daemon a> <service-state <daemon b> ready>>",
                  "<require-service <daemon a>>", "<service-state <daemon b> started>",
                  "<service-state <daemon b> ready>", "<service-state <daemon a> started>"});
    world.take_runs();
    bool stopped = false;
    world.tracker.stop_all(world.engine, [&] { stopped = true; });
    world.engine.run();
    REQUIRE(world.take_runs() == Runs{"-<daemon a>"});
    world.tracker.give_up(world.engine, text("<daemon a>"));
    world.engine.run();
    CHECK(world.take_runs() == Runs{"-<daemon b>"});
    CHECK_FALSE(stopped);
    world.change({}, {"<service-state <daemon b> ready>", "<service-state <daemon b> started>"});
    CHECK(stopped);
}

TEST_CASE("at the end even services that depend on each other stop") {
    World world;
    std::vector<std::string> facts{"<daemon a {}>",
                                   "<daemon b {}>",
                                   "<require-service <daemon a>>",
                                   "<require-service <daemon b>>",
                                   "<service-state <daemon a> ready>",
                                   "<service-state <daemon b> ready>",
                                   "<depends-on <daemon a> <service-state <daemon b> ready>>",
                                   "<depends-on <daemon b> <service-state <daemon a> ready>>"};
    world.change(facts);
    REQUIRE(world.take_runs().size() == 2);
    bool stopped = false;
    world.tracker.stop_all(world.engine, [&] { stopped = true; });
    world.engine.run();
    CHECK(world.take_runs().size() == 2);
    CHECK_FALSE(stopped);
    world.change({}, {"<service-state <daemon a> ready>", "<service-state <daemon b> ready>"});
    CHECK(stopped);
}

TEST_CASE("the mirror tells when a service was wanted, started and up, and what it depends on") {
    World world;
    world.change({"<depends-on <daemon a> <service-state <daemon b> ready>>", "<daemon a {}>",
                  "<require-service <daemon a>>"});
    CHECK(world.has("<depends-on <daemon a> <service-state <daemon b> ready>>"));
    auto time = [&](size_t index) {
        Value facts = world.facts("<daemon a>");
        return facts.view().get("rise").at(index).as_int().value_or(-1);
    };
    int64_t demanded = time(0);
    CHECK(demanded > 0);
    CHECK(time(1) == 0);
    world.change({"<service-state <daemon b> ready>"});
    CHECK(time(0) == demanded);
    CHECK(time(1) >= demanded);
    CHECK(time(2) == 0);
    world.change({"<service-state <daemon a> started>", "<service-state <daemon a> ready>"});
    CHECK(time(2) >= time(1));
    CHECK(world.facts("<daemon a>").view().get("since").as_int() == time(2));
    world.change({}, {"<depends-on <daemon a> <service-state <daemon b> ready>>"});
    CHECK_FALSE(world.has("<depends-on <daemon a> <service-state <daemon b> ready>>"));
}

TEST_CASE("the mirror counts the demands that come from outside") {
    World world;
    world.change({"<depends-on <daemon a> <service-state <daemon b> ready>>",
                  "<require-service <daemon a>>"});
    CHECK_FALSE(world.facts("<daemon b>").view().get("demands").valid());
    world.change({"<RequireService <daemon b>>"});
    CHECK(world.facts("<daemon b>").view().get("demands").as_int() == 1);
    world.change({}, {"<RequireService <daemon b>>"});
    CHECK_FALSE(world.facts("<daemon b>").view().get("demands").valid());
}

TEST_CASE("no capability gets into the mirror") {
    World world;
    world.engine.external(world.facet, [&](Turn& turn) {
        Value name = preserves::record("x", {dataspace::embed(world.config)});
        turn.assert_(world.config, preserves::record("require-service", {name}));
    });
    world.engine.run();
    CHECK(world.word("<x capability>") == "waiting");
}
