#include "services/tracker/triggers.h"

#include "init/base/catch.h"
#include "services/presence/presence.h"
#include "services/tracker/tracked_world.h"

using namespace muster;
using namespace muster::services;
using namespace muster::services::test;

namespace {

struct Triggered : Tracked {
    Triggered() {
        act([this](dataspace::Turn& turn) {
            serve_presence(turn, {.loop = *loop,
                                  .machine = machine,
                                  .report = [](dataspace::Turn&, const std::string&) {}});
        });
    }
    void tell(const std::string& fact) {
        act([&](dataspace::Turn& turn) { said[fact] = turn.assert_(machine, parse(fact)); });
    }
    size_t runs(const std::string& line) const {
        size_t number = 0;
        for (const std::string& each : lines)
            number += each == line;
        return number;
    }
};

const char* on_card = "<started-by <daemon a> <present <group <rec card> {0: <bind <_>>}>>>";

} // namespace

TEST_CASE("triggers: each time that something appears a one-shot runs") {
    Triggered world;
    world.define("a", "<one-shot \"echo ran\">");
    world.say(on_card);
    CHECK(world.word("a") == "stopped");
    world.tell("<card 1>");
    world.until([&] { return world.runs("a stdout: ran") == 1 && world.word("a") == "complete"; });
    world.unsay("<card 1>");
    CHECK(world.word("a") == "complete");
    world.tell("<card 2>");
    world.until([&] { return world.runs("a stdout: ran") == 2; });
    world.unsay(on_card);
    world.until_gone("a");
}

TEST_CASE("triggers: it runs when what it depends on is there, though the cause has gone") {
    Triggered world;
    world.define("a", "<one-shot \"echo ran\">");
    world.say("<depends-on <daemon a> <weather fine>>");
    world.say("<started-by <daemon a> <message <group <rec go> {}>>>");
    world.send("<go>");
    world.until_word("a", "waiting");
    world.say("<weather fine>");
    world.until_word("a", "complete");
    CHECK(world.runs("a stdout: ran") == 1);
}

TEST_CASE("triggers: what it is told while it runs is not told twice") {
    Triggered world;
    world.define("a", "{argv: \"echo ran; read -r line\" readyOnStart: #f restart: on-error}");
    world.define("b", "<one-shot \"echo b\">");
    world.say("<started-by <daemon b> <message <group <rec go> {}>>>");
    world.say("<started-by <daemon c> <message <group <rec go> {}>>>");
    world.define("c", sleeper);
    world.send("<go>");
    world.until_word("c", "running");
    world.until_word("b", "complete");
    world.send("<go>");
    world.until([&] { return world.runs("b stdout: b") == 2; });
    CHECK(world.count("+c started") == 1);
}

TEST_CASE("triggers: stopped by an operator it waits to be started again") {
    Triggered world;
    world.define("a", sleeper);
    world.say("<started-by <daemon a> <message <group <rec go> {}>>>");
    world.send("<go>");
    world.until_word("a", "running");
    world.send("<stop-service <daemon a>>");
    world.until_gone("a");
    world.send("<release-service <daemon a>>");
    CHECK(world.word("a") == "stopped");
    world.send("<go>");
    world.until_word("a", "running");
}

TEST_CASE("triggers: with a time for it, it stops when what started it has gone") {
    Triggered world;
    world.define("a", sleeper);
    world.say("<idle-stop <daemon a> 0.05>");
    world.say(on_card);
    world.tell("<card 1>");
    world.until_word("a", "running");
    world.unsay("<card 1>");
    world.until_gone("a");
    CHECK(world.count("+a started") == 1);
}

TEST_CASE("triggers: what is there already begins it once") {
    Triggered world;
    world.define("a", "<one-shot \"echo ran\">");
    world.tell("<card 1>");
    world.need("a");
    world.until_word("a", "complete");
    world.say(on_card);
    world.release("a");
    world.tell("<card 2>"); // new
    world.until([&] { return world.runs("a stdout: ran") == 2; });
    CHECK(world.word("a") != "stopped");
}

TEST_CASE("triggers: a path, and a time") {
    char folder[] = "/tmp/muster-trigger-XXXXXX";
    REQUIRE(mkdtemp(folder) != nullptr);
    std::string path = std::string(folder) + "/here";
    {
        Triggered world;
        world.define("a", "<one-shot \"echo ran\">");
        world.say("<started-by <daemon a> <present <group <rec path> {0: <lit \"" + path +
                  "\"> 1: <lit file>}>>>");
        world.define("b", "<one-shot \"echo ran\">");
        world.say("<started-by <daemon b> <present <group <rec every> {0: <lit 1>}>>>");
        world.until([&] { return world.runs("b stdout: ran") == 2; });
        CHECK(world.runs("a stdout: ran") == 0);
        FILE* file = fopen(path.c_str(), "w");
        REQUIRE(file != nullptr);
        fclose(file);
        world.until([&] { return world.runs("a stdout: ran") == 1; });
    }
    unlink(path.c_str());
    rmdir(folder);
}

TEST_CASE("triggers: what is no condition is named") {
    Triggered world;
    world.say("<started-by <daemon a> <card 1>>");
    bool said = false;
    for (const std::string& line : world.lines)
        said = said ||
               line.find("neither <present PATTERN> nor <message PATTERN>") != std::string::npos;
    CHECK(said);
}
