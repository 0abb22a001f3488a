#include "services/system/stop_report.h"

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"

using namespace muster;
using namespace muster::services;
using dataspace::CapRef;
using dataspace::Turn;
using preserves::Value;
using preserves::View;

namespace {

// Services that are only said to be there, and the report on their end.
struct World {
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    CapRef config = spawn_dataspace(engine, "config");
    CapRef log = spawn_dataspace(engine, "log");
    Ref<dataspace::Facet> facet;
    dataspace::KeepAlive keep;
    std::unordered_map<std::string, dataspace::Handle> said;
    std::vector<std::string> lines;
    std::vector<Value> given_up;
    std::unique_ptr<StopReport> report;

    explicit World(StopReport::Timing timing) {
        loop->set_after_round([this] { return engine.run(); });
        engine.spawn("test", [this](Turn& turn) {
            facet = Ref<dataspace::Facet>(&turn.current());
            keep = dataspace::KeepAlive(facet);
            namespace pat = dataspace::pattern;
            on_message(turn, log, pat::record("log", {pat::discard(), pat::bind()}),
                       [this](Turn&, View v) {
                           lines.push_back(std::string(*v.at(0).get("line").as_string()));
                       });
        });
        engine.run();
        report = std::make_unique<StopReport>(
            *loop, engine, facet, config, log,
            [this](const Value& service) { given_up.push_back(service); }, timing);
    }
    ~World() { keep = {}; }

    void say(const std::vector<std::string>& texts) {
        engine.external(facet, [&](Turn& turn) {
            for (const std::string& text : texts)
                said[text] = turn.assert_(config, *preserves::parse_text(text));
        });
        engine.run();
    }
    void unsay(const std::vector<std::string>& texts) {
        engine.external(facet, [&](Turn& turn) {
            for (const std::string& text : texts)
                turn.retract(said.at(text));
        });
        engine.run();
    }
    void begin() {
        report->begin();
        engine.run();
    }
    std::vector<std::string> finish() {
        report->finish();
        engine.run();
        return lines;
    }
};

StopReport::Timing no_patience() {
    StopReport::Timing timing;
    timing.first_notice = timing.next_notice = millisecond;
    timing.slow = 0;
    timing.after_kill = millisecond;
    return timing;
}

} // namespace

TEST_CASE("stop report: who was slow, and what happened to it") {
    StopReport::Timing timing;
    timing.slow = 0;
    World world(timing);
    world.say({"<run-service <daemon db>>", "<service-state <daemon db> started>",
               "<service-state <daemon db> ready>", "<daemon db {stopTimeout: 3}>"});
    world.begin();
    world.unsay({"<run-service <daemon db>>"});
    world.unsay({"<service-state <daemon db> ready>"});
    world.say(
        {"<daemon-status db {phase: stopping last: \"killed by SIGKILL, as it did not stop\"}>"});
    world.unsay({"<service-state <daemon db> started>"});
    auto lines = world.finish();
    REQUIRE(lines.size() == 1);
    CHECK(lines[0] == "db was slow to stop, 0 s: killed by SIGKILL, as it did not stop");
}

TEST_CASE("stop report: nothing is said of those that stop at once, or did not run") {
    World world(StopReport::Timing{});
    world.say({"<run-service <daemon a>>", "<service-state <daemon a> ready>",
               "<run-service <daemon b>>"});
    world.begin();
    world.unsay({"<run-service <daemon a>>", "<run-service <daemon b>>"});
    world.unsay({"<service-state <daemon a> ready>"});
    CHECK(world.finish().empty());
}

TEST_CASE("stop report: one that was given more time is waited for so long") {
    World world(no_patience());
    std::vector<uint64_t> left;
    world.report->set_more_time([&](uint64_t time) { left.push_back(time); });
    world.say({"<run-service <daemon db>>", "<service-state <daemon db> started>",
               "<daemon db {stopTimeout: 0.001}>"});
    world.begin();
    world.say({"<daemon-status db {phase: stopping stopLimitMs: 60000}>"});
    world.unsay({"<run-service <daemon db>>"});
    while (left.empty())
        world.loop->run_once(true);
    CHECK(left[0] > 30 * second);
    CHECK(world.given_up.empty());
}

TEST_CASE("stop report: one that stays is waited for by name, and at last given up") {
    World world(no_patience());
    world.say({"<run-service <daemon stuck>>", "<service-state <daemon stuck> started>",
               "<daemon stuck {stopTimeout: 0.02}>"});
    world.begin();
    world.unsay({"<run-service <daemon stuck>>"});
    while (world.given_up.empty())
        world.loop->run_once(true);
    world.engine.run();
    CHECK(world.given_up[0] == *preserves::parse_text("<daemon stuck>"));
    REQUIRE(world.lines.size() >= 2);
    CHECK(world.lines[0].starts_with("waiting for stuck to stop, 0"));
    CHECK(world.lines.back().starts_with("stuck did not stop in 0"));
    CHECK(world.lines.back().ends_with(", not even killed; going on without it"));
}

TEST_CASE("stop report: init is told how long the slowest has still") {
    World world(no_patience());
    world.say({"<run-service <daemon a>>", "<service-state <daemon a> started>",
               "<daemon a {stopTimeout: 3600}>", "<run-service <daemon b>>",
               "<service-state <daemon b> started>", "<daemon b {stopTimeout: 86400}>"});
    std::vector<uint64_t> told;
    world.report->set_more_time([&](uint64_t left) { told.push_back(left); });
    world.begin();
    world.unsay({"<run-service <daemon a>>"}); // nobody has asked b to stop yet
    while (told.empty())
        world.loop->run_once(true);
    CHECK(told[0] > 0);
    CHECK(told[0] <= 3600 * second + no_patience().after_kill);
    world.unsay({"<run-service <daemon b>>"});
    told.clear();
    while (told.empty())
        world.loop->run_once(true);
    CHECK(told[0] > 3600 * second + no_patience().after_kill);
    world.finish();
}

TEST_CASE("stop report: who still runs when nobody waits any longer") {
    World world(no_patience());
    world.say({"<run-service <daemon late>>", "<service-state <daemon late> started>"});
    world.begin();
    world.unsay({"<run-service <daemon late>>"});
    auto lines = world.finish();
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].starts_with("late has not stopped in 0"));
}
