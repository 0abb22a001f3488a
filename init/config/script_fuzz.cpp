// Any text as a script: refused with a place and a message, or run, changed to a version of itself
// and stopped again, with some facts and messages around. Nothing of it may stay.
#include <cstdlib>

#include "init/config/script_world.h"

using namespace muster;
using namespace muster::config;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::string_view text(reinterpret_cast<const char*>(data), size);
    std::string problem;
    Ref<Script> script = World::parse(text, &problem);
    require(!script == !problem.empty());
    if (!script) {
        require(problem.starts_with("test.pr:") && problem.find(": ", 8) != std::string::npos);
        return 0;
    }
    World world(false);
    // A script may answer its own messages for ever: then this is all that is seen of it. What it
    // may do within a turn grows with the square of its reactions.
    constexpr size_t few = 100;
    bool busy = false;
    auto in_turn = [&](const dataspace::TurnAction& action) {
        if (busy) return;
        world.engine.external(world.root, action);
        busy = world.engine.run(100);
    };
    world.environment.bind("x", World::read("<record 1 [2 3] {k: v}>"));
    auto report = [](dataspace::Turn&, const Problem& found) { require(!found.message.empty()); };
    Running first;
    in_turn([&](dataspace::Turn& turn) {
        first = run_script(turn, script, world.environment, report, nullptr, few);
    });
    std::vector<dataspace::Handle> facts;
    for (const char* fact : {"<a 1>", "<a 2 x>", "[1 2 3]", "{k: v}"}) {
        in_turn([&](dataspace::Turn& turn) {
            facts.push_back(turn.assert_(world.config, World::read(fact)));
            turn.message(world.config, World::read(fact));
        });
    }
    Ref<Script> again = World::parse(std::string(text) + "\n<a 3>");
    if (again && !busy) {
        Running second;
        in_turn([&](dataspace::Turn& turn) {
            second = run_script(turn, again, world.environment, report, &first, few);
        });
        if (busy) return 0;
        in_turn([&](dataspace::Turn& turn) {
            release(turn, second);
            turn.stop(*first.facet);
        });
        in_turn([&](dataspace::Turn& turn) {
            for (dataspace::Handle fact : facts)
                turn.retract(fact);
        });
        in_turn([&](dataspace::Turn& turn) { turn.stop(*second.facet); });
    }
    return 0;
}
