#include "services/system/debts.h"

#include <algorithm>
#include <set>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
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

struct World {
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    CapRef config = dataspace::spawn_dataspace(engine, "config");
    CapRef log = dataspace::spawn_dataspace(engine, "log");
    Ref<dataspace::Facet> facet;
    dataspace::KeepAlive keep;
    std::set<std::string> seen;
    std::vector<std::string> lines;

    World() {
        engine.spawn("test", [this](Turn& turn) {
            facet = Ref<dataspace::Facet>(&turn.current());
            keep = dataspace::KeepAlive(facet);
            publish_debts(turn, *loop, config);
            serve_debt_reporters(turn, *loop, config, log);
            on_message(turn, log, pat::record("log", {pat::discard(), pat::bind()}),
                       [this](Turn&, View entry) {
                           lines.emplace_back(entry.at(0).get("line").as_string().value_or(""));
                       });
        });
        loop->set_after_round([this] { return engine.run(); });
        engine.run();
    }
    bool until(const std::function<bool()>& done) {
        bool late = false;
        Timer limit = loop->after(20 * second, [&] { late = true; });
        while (!done() && !late)
            loop->run_once(true);
        return done();
    }
};

} // namespace

TEST_CASE("debts are asserted while somebody looks, and kept up to date") {
    World world;
    world.engine.accounts().set_limit(100);
    auto account = world.engine.accounts().open("bus client 7");
    account->borrow(5);
    size_t before = dataspace::assertion_count(*world.config);
    Ref<dataspace::Facet> looking;
    world.engine.external(world.facet, [&](Turn& turn) {
        looking = turn.facet([&](Turn& inner) {
            Value debt =
                pat::bind(pat::record("debt", {pat::discard(), pat::discard(), pat::discard()}));
            observe(
                inner, world.config, debt,
                [&](Turn&, View what) { world.seen.insert(preserves::to_text(what.at(0))); },
                [&](Turn&, View what) { world.seen.erase(preserves::to_text(what.at(0))); });
        });
    });
    CHECK(world.until([&] { return world.seen.count("<debt \"bus client 7\" 5 100>") == 1; }));
    account->borrow(200);
    CHECK(world.until([&] { return world.seen.count("<debt \"bus client 7\" 205 100>") == 1; }));
    CHECK(world.seen.count("<debt \"bus client 7\" 5 100>") == 0);
    account->repay(205);
    CHECK(world.until([&] { return world.seen.count("<debt \"bus client 7\" 205 100>") == 0; }));
    world.engine.external(world.facet, [&](Turn& turn) { turn.stop(*looking); });
    CHECK(world.until([&] { return dataspace::assertion_count(*world.config) == before; }));
}

TEST_CASE("the debt reporter logs every account, and refuses what is no interval") {
    World world;
    auto account = world.engine.accounts().open("somebody");
    account->borrow(3);
    auto run = [&](const char* service) {
        Value value = *preserves::parse_text(service);
        world.engine.external(world.facet, [&](Turn& turn) { turn.assert_(world.config, value); });
        world.engine.run();
    };
    run("<run-service <debt-reporter 0.1>>");
    auto logged = [&](const std::string& line) {
        return std::count(world.lines.begin(), world.lines.end(), line);
    };
    CHECK(world.until([&] { return logged("debt of somebody: 3") >= 2; }));
    CHECK(logged("debt-reporter: the interval must be 0.1 seconds or more") == 0);
    run("<run-service <debt-reporter 0>>");
    CHECK(world.until(
        [&] { return logged("debt-reporter: the interval must be 0.1 seconds or more") == 1; }));
    account->repay(3);
}
