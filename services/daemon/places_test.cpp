// What is wrong with a specification is said with its place in the file.
#include "init/base/catch.h"
#include "init/config/script_world.h"
#include "services/daemon/spec.h"

using namespace muster;
using Strings = std::vector<std::string>;

namespace {

Strings problems_of(std::string_view text) {
    std::vector<config::Problem> problems;
    auto script =
        config::Script::parse(text, "a.pr", "/", problems, muster::services::check_assertion);
    CHECK(static_cast<bool>(script) == problems.empty());
    Strings found;
    for (const config::Problem& problem : problems)
        found.push_back(config::to_string(problem));
    return found;
}

} // namespace

TEST_CASE("places: a wrong field is an error with file, line and column") {
    CHECK(problems_of("<daemon a [\"x\"]>\n<other b {argv: 5}>\n<daemon>").empty());
    CHECK(problems_of("<daemon a {\n  argv: \"x\"\n  umsak: \"022\"\n}>") ==
          Strings{"a.pr:3:3: <daemon a …>: unknown field umsak; is it umask?"});
    // All of a file, each where it stands, whatever the order of the keys.
    CHECK(problems_of("<daemon a {stopTimeout: soon\n argv: [\"x\" 7]}>\n"
                      "+= <daemon b {argv: \"y\" cgroup: {pids: \"many\"}}>\n<daemon c foo>") ==
          Strings{"a.pr:2:13: <daemon a …>: argv: 7 is not a string",
                  "a.pr:1:25: <daemon a …>: stopTimeout: soon is not a number of seconds from 0 to "
                  "86400",
                  "a.pr:3:40: <daemon b …>: cgroup: pids: \"many\" is not a number of bytes, "
                  "\"64K\", \"64M\", \"64G\", \"64T\" or unlimited",
                  "a.pr:4:11: <daemon c …>: the specification is not a string, a list, <one-shot "
                  "…> or a dictionary"});
}

TEST_CASE("places: with variables it is found when the script runs") {
    config::World world;
    std::vector<config::Problem> problems;
    auto script =
        config::Script::parse("let ?nice = 70\n<daemon a {\n  argv: \"x\"\n  nice: $nice\n}>",
                              "a.pr", "/", problems, muster::services::check_assertion);
    REQUIRE(script);
    Strings found;
    config::Running running;
    world.turn([&](dataspace::Turn& turn) {
        running = config::run_script(turn, script, world.environment,
                                     [&](dataspace::Turn&, const config::Problem& problem) {
                                         found.push_back(config::to_string(problem));
                                     });
    });
    CHECK(running.failed);
    CHECK(found == Strings{"a.pr:4:9: <daemon a …>: nice: 70 is not a number from -20 to 19"});
    CHECK(world.facts.empty());
}
