#include "services/daemon/window.h"

#include <algorithm>
#include <map>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::services;
using dataspace::CapRef;
using dataspace::Handle;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = muster::dataspace::pattern;

namespace {

Value text(std::string_view source) { return *preserves::parse_text(source); }

// Writes down what an observer is told.
class Scribe final : public dataspace::Entity {
  public:
    explicit Scribe(std::vector<std::string>& lines) : lines_(lines) {}
    void on_assert(Turn&, const Value& value, Handle handle) override {
        seen_[handle] = preserves::to_text(value);
        lines_.push_back("+" + seen_[handle]);
    }
    void on_retract(Turn&, Handle handle) override { lines_.push_back("-" + seen_[handle]); }
    void on_message(Turn&, const Value& body) override {
        lines_.push_back("!" + preserves::to_text(body));
    }

  private:
    std::vector<std::string>& lines_;
    std::map<Handle, std::string> seen_;
};

struct World {
    dataspace::Engine engine;
    CapRef space = dataspace::spawn_dataspace(engine, "space");
    CapRef window;
    Ref<dataspace::Facet> owner, stranger;
    dataspace::KeepAlive keep[2];
    std::vector<std::string> seen;

    World() {
        engine.spawn("owner", [this](Turn& turn) {
            owner = Ref<dataspace::Facet>(&turn.current());
            keep[0] = dataspace::KeepAlive(owner);
            window = spawn_window(turn, space, 2 * 1024 * 1024);
        });
        engine.spawn("stranger", [this](Turn& turn) {
            stranger = Ref<dataspace::Facet>(&turn.current());
            keep[1] = dataspace::KeepAlive(stranger);
        });
        engine.run();
    }
    Handle assert_(const Ref<dataspace::Facet>& who, const CapRef& where, const Value& value) {
        Handle handle = 0;
        engine.external(who, [&](Turn& turn) { handle = turn.assert_(where, value); });
        engine.run();
        return handle;
    }
    void retract(const Ref<dataspace::Facet>& who, Handle handle) {
        engine.external(who, [&](Turn& turn) { turn.retract(handle); });
        engine.run();
    }
    void message(const Ref<dataspace::Facet>& who, const CapRef& where, const Value& value) {
        engine.external(who, [&](Turn& turn) { turn.message(where, value); });
        engine.run();
    }
    Handle look(View pattern) {
        Handle handle = 0;
        engine.external(stranger, [&](Turn& turn) {
            Value observer = embed(turn.make_cap(make_ref<Scribe>(seen)));
            handle = turn.assert_(window, preserves::record("Observe", {pattern, observer}));
        });
        engine.run();
        return handle;
    }
    std::vector<std::string> told() { return std::exchange(seen, {}); }
};

using Lines = std::vector<std::string>;

} // namespace

TEST_CASE("through a window one sees what there is, once, and what passes") {
    World world;
    Handle first = world.assert_(world.owner, world.space, text("<load 1 a>"));
    Handle second = world.assert_(world.owner, world.space, text("<load 1 b>"));
    Handle looking = world.look(pat::record("load", {pat::bind()}));
    CHECK(world.told() == Lines{"+[1]"});
    world.retract(world.owner, first);
    CHECK(world.told().empty());
    world.retract(world.owner, second);
    CHECK(world.told() == Lines{"-[1]"});
    world.message(world.owner, world.space, text("<load 2>"));
    CHECK(world.told() == Lines{"![2]"});
    world.assert_(world.owner, world.space, text("<load 3>"));
    CHECK(world.told() == Lines{"+[3]"});
    world.retract(world.stranger, looking);
    CHECK(world.told() == Lines{"-[3]"});
    world.message(world.owner, world.space, text("<load 4>"));
    CHECK(world.told().empty());
    CHECK(dataspace::assertion_count(*world.space) == 1);
}

TEST_CASE("through a window no capability is seen, and nobody who observes") {
    World world;
    Value secret = dataspace::embed(world.space);
    world.assert_(world.owner, world.space, preserves::record("key", {secret}));
    world.assert_(world.owner, world.space, preserves::sequence({preserves::sequence({secret})}));
    // Somebody observes here, for whatever reason; also without a capability in it.
    world.assert_(world.owner, world.space,
                  preserves::record("Observe", {pat::record("x", {}), secret}));
    world.assert_(world.owner, world.space, text("<Observe <lit 1> 2>"));
    world.look(pat::bind());
    world.look(pat::record("Observe", {pat::bind(), pat::bind()}));
    world.look(pat::record("Observe", {pat::discard()}));
    world.look(pat::record("key", {pat::discard()}));
    world.look(pat::record("key", {}));
    world.look(pat::sequence({pat::sequence({pat::bind()})}));
    world.look(pat::sequence({}));
    world.message(world.owner, world.space, preserves::record("key", {secret}));
    CHECK(world.told().empty());
    world.assert_(world.owner, world.space, text("<key 1>"));
    CHECK(world.told().size() == 3); // all but those for Observe and sequences
}

TEST_CASE("through a window nothing can be touched") {
    World world;
    size_t before = dataspace::assertion_count(*world.space);
    for (const char* value : {"<RequireService <daemon x>>", "<require-service <daemon x>>", "1",
                              "<service-state <daemon x> ready>", "[]", "<Observe>",
                              "<Observe <_>>", "<Observe <_> 1>", "<Observe <lit {}> #t>"})
        world.assert_(world.stranger, world.window, text(value));
    world.message(world.stranger, world.window, text("<restart-service <daemon x>>"));
    Value self = dataspace::embed(world.window);
    world.assert_(world.stranger, world.window,
                  preserves::record("Observe", {text("<nonsense>"), self}));
    CHECK(dataspace::assertion_count(*world.space) == before);
    bool synced = false;
    world.engine.external(world.stranger, [&](Turn& turn) {
        turn.sync(world.window, [&](Turn&) { synced = true; });
    });
    world.engine.run();
    CHECK(synced);
}

TEST_CASE("what a peer observed through a window goes with the peer") {
    World world;
    for (int i = 0; i < 10; ++i)
        world.look(pat::bind());
    CHECK(dataspace::assertion_count(*world.space) == 10);
    world.keep[1] = {};
    world.engine.external(world.stranger, [](Turn& turn) { turn.stop_actor(); });
    world.engine.run();
    CHECK(dataspace::assertion_count(*world.space) == 0);
    CHECK(world.told().empty());
}

TEST_CASE("through a window a pattern captures a few things, however they nest") {
    World world;
    world.assert_(world.owner, world.space, text("<load 1>"));
    Value pattern = pat::discard();
    for (size_t i = 0; i < max_window_binds; ++i)
        pattern = pat::bind(pattern);
    world.look(pattern);
    std::string seen = "+[";
    for (size_t i = 0; i < max_window_binds; ++i)
        seen += i == 0 ? "<load 1>" : ", <load 1>";
    CHECK(world.told() == Lines{seen + "]"});
    world.look(pat::bind(pattern));
    CHECK(world.told() == Lines{"!<error \"too many binds in a pattern: more than 16\" #f>"});
    CHECK(dataspace::assertion_count(*world.space) == 2); // the fact, and who observes it
}

TEST_CASE("through a window one actor sees so many bytes at a time, and others what they want") {
    World world;
    const std::string kilobyte(1024, 'x');
    const std::string much = "!<error \"too much to look at: more than 2097152 bytes\" #f>";
    std::vector<Handle> facts;
    for (int i = 0; i < 600; ++i)
        facts.push_back(world.assert_(world.owner, world.space,
                                      text("<load " + std::to_string(i) + " " + kilobyte + ">")));
    // What matches counts, and what is captured of it.
    Handle once = world.look(pat::bind());
    CHECK(world.told().size() == 600);
    world.look(pat::record("load", {}));
    CHECK(world.told() == Lines{"+[]"});
    Handle beyond = world.look(pat::record("load", {pat::bind()}));
    Lines told = world.told();
    CHECK(std::count(told.begin(), told.end(), much) == 1);
    auto added = [](const std::string& line) { return line.starts_with("+"); };
    auto gone = [](const std::string& line) { return line.starts_with("-"); };
    CHECK(std::count_if(told.begin(), told.end(), added) < 600);
    CHECK(std::count_if(told.begin(), told.end(), added) ==
          std::count_if(told.begin(), told.end(), gone));
    CHECK(dataspace::assertion_count(*world.space) == 602); // it observes no more
    world.retract(world.stranger, beyond);
    // Another actor has its own bytes.
    size_t others = 0;
    world.engine.external(world.owner, [&](Turn& turn) {
        dataspace::observe(turn, world.window, pat::bind(), [&](Turn&, View) { ++others; }, {});
    });
    world.engine.run();
    CHECK(others == 600);
    // What is over counts no more, nor what went.
    world.retract(world.stranger, once);
    for (size_t i = 300; i < facts.size(); ++i)
        world.retract(world.owner, facts[i]);
    world.told();
    world.look(pat::bind());
    CHECK(world.told().size() == 300);
    world.message(world.owner, world.space, text("<" + std::string(1'100'000, 'x') + ">"));
    told = world.told();
    CHECK(told.front() == much);
    CHECK(std::count_if(told.begin(), told.end(), gone) == 300);
    CHECK(told.size() == 301);
}

TEST_CASE("a sync at a window waits for what those before it see") {
    World world;
    world.assert_(world.owner, world.space, text("<load 1>"));
    Value all = pat::bind();
    world.engine.external(world.stranger, [&](Turn& turn) {
        for (int i = 0; i < 3; ++i) {
            Value observer = embed(turn.make_cap(make_ref<Scribe>(world.seen)));
            Handle handle =
                turn.assert_(world.window, preserves::record("Observe", {all, observer}));
            if (i == 1) turn.retract(handle);
        }
        turn.sync(world.window, [&](Turn&) { world.seen.push_back("synced"); });
    });
    world.engine.run();
    CHECK(world.told() == Lines{"+[<load 1>]", "+[<load 1>]", "synced"});
}
