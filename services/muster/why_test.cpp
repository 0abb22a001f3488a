#include "services/muster/why.h"

#include "init/base/catch.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "services/muster/graph.h"
#include "services/muster/plot.h"
#include "services/muster/views.h"
#include "services/tracker/tracker.h"

using namespace muster;
using namespace muster::command;
using dataspace::Turn;
namespace pat = muster::dataspace::pattern;

namespace {

// A real tracker, what configuration would say, and what is then seen in `$status`.
struct System {
    dataspace::Engine engine;
    dataspace::CapRef config = spawn_dataspace(engine, "config");
    dataspace::CapRef machine = spawn_dataspace(engine, "machine");
    dataspace::CapRef status = spawn_dataspace(engine, "status");
    dataspace::CapRef log = spawn_dataspace(engine, "log");
    Ref<dataspace::Facet> facet;
    dataspace::KeepAlive keep;
    std::vector<Value> seen;
    Places places;

    explicit System(const std::string& text) {
        services::track_services(engine, {config, machine, status, log, ""});
        engine.spawn("test", [this](Turn& turn) {
            facet = Ref<dataspace::Facet>(&turn.current());
            keep = dataspace::KeepAlive(facet);
            for (const char* label : {"service", "depends-on", "config-error", "boot-mode"})
                observe(
                    turn, status, pat::bind(pat::record(label, {pat::discard()})),
                    [this](Turn&, View v) { seen.emplace_back(v.at(0)); },
                    [this](Turn&, View v) {
                        seen.erase(std::find(seen.begin(), seen.end(), Value(v.at(0))));
                    });
        });
        engine.run();
        say(text);
        places.add("x.pr", text);
    }
    ~System() { keep = {}; }

    void say(const std::string& text) {
        preserves::TextReader reader(text);
        std::vector<Value> values;
        Value value;
        while (reader.next(value) == preserves::TextReader::State::value)
            values.push_back(value);
        engine.external(facet, [this, values](Turn& turn) {
            for (const Value& each : values)
                turn.assert_(config, each);
        });
        engine.run();
    }
    void order(const std::string& text) {
        Value value = *preserves::parse_text(text);
        engine.external(facet, [this, value](Turn& turn) { turn.message(config, value); });
        engine.run();
    }
    World world() const { return World(seen); }
    // What `muster why NAME` says but for times, lines joined by "|", indented by ">".
    std::string why(const std::string& name) const {
        World all = world();
        std::vector<size_t> meant = all.meant(name);
        if (meant.empty()) return "unknown";
        std::string text;
        for (const Row& row : rows_of(command::why(all, meant[0], places, 0)))
            text += (text.empty() ? "" : "|") + std::string(row.depth, '>') + row.text;
        return text;
    }
};

} // namespace

TEST_CASE("why: a service runs because a file asks for it, or what depends on it") {
    System system("<require-service <daemon a>> <daemon a {}> <daemon b {}>\n"
                  "<depends-on <daemon a> <service-state <daemon b> ready>>\n"
                  "<service-state <daemon b> ready> <service-state <daemon a> ready>");
    CHECK(system.why("a") == "a  running|>asked for in x.pr:1");
    CHECK(system.why("b") == "b  running|>needed by a|>>asked for in x.pr:1");
    CHECK(system.why("c") == "unknown");
}

TEST_CASE("why: a service that is disabled says so, and where") {
    System system("<require-service <daemon a>> <daemon a {}> <daemon b {}>\n"
                  "<depends-on <daemon a> <service-state <daemon b> ready>>\n"
                  "<disable-service <daemon b>>\n<daemon c {}> <disable-service <daemon c>>");
    const std::string enable = "; `muster enable` takes it back";
    CHECK(system.why("a") == "a  waiting|>waits for b ready: b is stopped|"
                             ">>it is disabled, in x.pr:3" +
                                 enable + "|>asked for in x.pr:1");
    CHECK(system.why("c") == "c  stopped|>it is disabled, in x.pr:4" + enable);
    system.order("<start-service <daemon c>>");
    CHECK(system.why("c").find("disabled") == std::string::npos);
}

TEST_CASE("why: what waits names what is missing, however far down") {
    System system("<require-service <daemon a>> <daemon a {}> <daemon b {}>\n"
                  "<depends-on <daemon a> <service-state <daemon b> ready>>\n"
                  "<depends-on <daemon b> <present <group <rec device> {0: <lit block> 1: <_> 2: "
                  "<group <dict> {DEVNAME: <lit \"vda\">}>}>>>\n"
                  "<depends-on <daemon b> <weather fine>>");
    std::string why = system.why("a");
    CHECK(why.starts_with("a  waiting|>waits for b ready: b is waiting|>>"));
    CHECK(why.find(">>waits for <device block _ {DEVNAME: \"vda\"}>, and nobody asserts") !=
          std::string::npos);
    CHECK(why.find(">>waits for <weather fine>, which nobody asserts") != std::string::npos);
    CHECK(why.find("|>asked for in x.pr:1") != std::string::npos);
}

TEST_CASE("why: a dependency that failed, is held down, or that nobody defines") {
    System system("<require-service <daemon a>> <daemon a {}> <daemon b {}>\n"
                  "<depends-on <daemon a> <service-state <daemon b> ready>>\n"
                  "<daemon-status b {phase: backoff last: \"exit code 3\" restarts: 2 delayMs: "
                  "400}>\n<service-state <daemon b> failed>");
    CHECK(system.why("a").find("waits for b ready: b is failed|>>it ended: exit code 3, started "
                               "again 2 times") != std::string::npos);
    System held("<require-service <daemon a>> <daemon a {}> <daemon b {}>\n"
                "<depends-on <daemon a> <service-state <daemon b> ready>>");
    held.order("<stop-service <daemon b>>");
    CHECK(held.why("a").find(">>somebody said `muster stop`") != std::string::npos);
    System undefined("<require-service <daemon a>> <daemon a {}>\n"
                     "<depends-on <daemon a> <service-state <daemon b> ready>>");
    CHECK(undefined.why("a").find("b is waiting|>>nobody defines it") != std::string::npos);
}

TEST_CASE("why: a circle is named, and what hangs on it is told so") {
    System system("<require-service <daemon a>> <daemon a {}> <daemon b {}> <daemon c {}>\n"
                  "<depends-on <daemon a> <service-state <daemon b> ready>>\n"
                  "<depends-on <daemon b> <service-state <daemon a> ready>>\n"
                  "<require-service <daemon c>>\n"
                  "<depends-on <daemon c> <service-state <daemon a> ready>>");
    CHECK(system.why("a").find("they wait for each other: ") != std::string::npos);
    CHECK(system.why("c").find(">>they wait for each other") != std::string::npos);
    GraphOptions all;
    CHECK(graph_svg(system.world(), all).find("class=\"ring\"") != std::string::npos);
}

TEST_CASE("why: an operator, a program, nobody") {
    System system("<daemon a {}> <daemon b {}>");
    system.places = Places();
    CHECK(system.why("a") == "a  stopped|>nobody needs it");
    system.order("<start-service <daemon a>>");
    CHECK(system.why("a").find("somebody said `muster start`") != std::string::npos);
    system.say("<RequireService <daemon b>>");
    CHECK(system.why("b").find("a program asks for it") != std::string::npos);
}

TEST_CASE("why: names that look like what was typed are offered") {
    System system("<require-service <daemon sshd>> <require-service <milestone network>>");
    CHECK(system.world().similar("shd") == std::vector<std::string>{"sshd"});
    CHECK(system.world().similar("netwrok") == std::vector<std::string>{"<milestone network>"});
    CHECK(system.world().similar("entirely-else").empty());
}

TEST_CASE("tree: below each service what it needs, each once") {
    System system(
        "<require-service <milestone default>> <daemon a {}> <daemon b {}> <daemon c {}>\n"
        "<depends-on <milestone default> <service-state <daemon a> ready>>\n"
        "<depends-on <milestone default> <service-state <daemon c> ready>>\n"
        "<depends-on <daemon a> <service-state <daemon b> ready>>\n"
        "<depends-on <daemon a> <service-state <daemon c> ready>>\n"
        "<service-state <daemon c> ready> <depends-on <daemon b> <weather fine>>");
    auto tree = [&](TreeOptions options) {
        std::string text;
        for (const Row& row : tree_rows(system.world(), {}, options))
            text += std::string(row.depth, '>') + row.text + " " + row.word + "|";
        return text;
    };
    CHECK(tree({}) == "<milestone default> waiting|>a waiting|>>b waiting|>>><weather fine> missing"
                      "|>>c running|");
    CHECK(tree({.reverse = true, .all = false, .processes = false}) ==
          "b waiting|>a waiting|>><milestone default> waiting|c running|>a waiting|");
}

TEST_CASE("blame: the slowest first; the critical path is what each waited for last") {
    auto parse = [](const char* text) { return *preserves::parse_text(text); };
    World world(
        {parse("<service <milestone default> running {since: 900 rise: <rise 100 900 900>}>"),
         parse("<service <daemon slow> running {since: 800 rise: <rise 100 300 800>}>"),
         parse("<service <daemon base> complete {since: 300 rise: <rise 100 100 300>}>"),
         parse("<service <daemon quick> running {since: 200 rise: <rise 100 100 200>}>"),
         parse("<service <daemon other> running {since: 950 rise: <rise 100 100 950>}>"),
         parse("<service <daemon stuck> waiting {since: 100 rise: <rise 100 0 0> needed: "
               "#t waiting-for: [<x>]}>"),
         parse("<service <daemon bad> failed {since: 180 rise: <rise 100 150 0>}>"),
         parse("<depends-on <milestone default> <service-state <daemon slow> ready>>"),
         parse("<depends-on <milestone default> <service-state <daemon quick> ready>>"),
         parse("<depends-on <daemon slow> <service-state <daemon base> up>>")});
    std::string order;
    for (const Blame& each : blame(world, true, 1'000))
        order += world.units()[each.unit].shown + " " + std::to_string(each.own) + " " +
                 std::to_string(each.total) + ";";
    CHECK(order == "other 850 850;slow 500 700;base 200 200;quick 100 100;bad 30 80;stuck 0 900;");
    std::string path;
    for (size_t unit : critical_path(world, boot_target(world)))
        path += world.units()[unit].shown + " ";
    CHECK(path == "<milestone default> slow base ");
}

TEST_CASE("status of one: lines of the log have the time at which they were written") {
    World world({*preserves::parse_text("<service <daemon a> stopped {}>")});
    Detail detail{};
    uint64_t written = *logs::parse_time("2026-11-22T01:02:03.456789Z");
    detail.lines = {
        {.service = "a", .time_us = written, .pid = 7, .stream = "stdout", .text = "x"}};
    std::string line = detail_lines(world, detail, Screen{}).back();
    CHECK(line.ends_with("log  " + local_time(written).substr(11) + " x"));
    // The same moment as the time stamp, wherever we are.
    CHECK(line.find(":03 x") != std::string::npos);
}

TEST_CASE("plot: ticks are round numbers, and there are neither too many nor too few") {
    CHECK(tick_step(1'000, 10) == 100);
    CHECK(tick_step(770'000, 10) == 100'000);
    CHECK(tick_step(1'200'000, 10) == 200'000);
    CHECK(tick_step(34'000'000, 10) == 5'000'000);
    for (uint64_t length = 1; length < 1'000'000'000'000; length = length * 3 + 1) {
        CHECK(length / tick_step(length, 10) <= 10);
        if (length >= 10) CHECK(length / tick_step(length, 10) >= 3);
    }
}

TEST_CASE("pictures: what anybody named is text in them, never markup") {
    auto parse = [](const char* text) { return *preserves::parse_text(text); };
    World world(
        {parse("<service <daemon \"<&\\\">\\u0007\"> running {since: 5 rise: <rise 1 2 5>}>"),
         parse("<service <milestone default> running {since: 9 rise: <rise 1 9 9>}>"),
         parse("<depends-on <milestone default> <service-state <daemon "
               "\"<&\\\">\\u0007\"> ready>>")});
    PlotFacts facts;
    facts.title = "a < b & c";
    facts.now = 10;
    for (const std::string& svg : {plot_svg(world, facts), graph_svg(world, {})}) {
        CHECK(svg.find("&lt;&amp;") != std::string::npos);
        CHECK(svg.find("<&") == std::string::npos);
        CHECK(svg.find('\a') == std::string::npos);
        CHECK(svg.ends_with("</svg>\n"));
    }
    CHECK(plot_svg(World({}), facts).find("No service was wanted yet") != std::string::npos);
    CHECK(graph_svg(World({}), {}).ends_with("</svg>\n"));
}
