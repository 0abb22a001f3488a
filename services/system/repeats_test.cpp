#include "services/system/repeats.h"

#include <vector>

#include "init/base/catch.h"

using namespace muster;
using namespace muster::services;

TEST_CASE("repeats: what lasts is said once, and once when it is over") {
    auto loop = std::move(*EventLoop::create());
    std::vector<std::string> said;
    auto hear = [&](const std::string& line) { said.push_back(line); };
    {
        Repeats lasting(*loop, 3600 * second, hear);
        for (int i = 0; i < 5; ++i) {
            lasting.say("no room");
            lasting.say("no time");
        }
        CHECK(said == std::vector<std::string>{"no room", "no time"});
        for (int i = 0; i < 100; ++i)
            lasting.say(std::to_string(i)); // too many to be known, and not lost
        CHECK(said.size() == 102);
    }
    said.clear();
    Repeats brief(*loop, millisecond, hear);
    brief.say("no room");
    while (said.size() < 2)
        loop->run_once(true);
    brief.say("no room");
    CHECK(said == std::vector<std::string>{"no room", "no room: no longer", "no room"});
}
