#include "services/tracker/check_tie.h"

#include "init/base/catch.h"
#include "init/config/script_world.h"

using namespace muster;
using Strings = std::vector<std::string>;

namespace {

Strings problems_of(std::string_view text) {
    std::vector<config::Problem> problems;
    (void)config::Script::parse(text, "a.pr", "/", problems, services::check_tie);
    Strings found;
    for (const config::Problem& problem : problems)
        found.push_back(config::to_string(problem));
    return found;
}

} // namespace

TEST_CASE("ties: a service is depended on by a state of it") {
    CHECK(problems_of("<depends-on <daemon a> <daemon x>>\n"
                      "<depends-on <milestone m> <milestone n>>\n"
                      "<depends-on <daemon a> <service-state <daemon x>>>\n"
                      "<depends-on <daemon a> <present <weather fine>>>") ==
          Strings{"a.pr:1:24: <depends-on <daemon a> …>: <daemon x> is a service and no state of "
                  "one: <service-state <daemon x> up>",
                  "a.pr:2:27: <depends-on <milestone m> …>: <milestone n> is a service and no "
                  "state of one: <service-state <milestone n> up>",
                  "a.pr:3:24: <depends-on <daemon a> …>: <service-state <daemon x>> is no "
                  "<service-state S STATE>",
                  "a.pr:4:24: <depends-on <daemon a> …>: <present <weather fine>>: what is to be "
                  "present is no pattern"});
    CHECK(problems_of("<depends-on <daemon a> <service-state <daemon x> up>>\n"
                      "<depends-on <daemon a> <daemon x \"true\">>\n"
                      "<depends-on <daemon a> <weather fine>>\n"
                      "<depends-on <daemon a> fine>")
              .empty());
}

TEST_CASE("ties: what is wanted is a state of a service") {
    CHECK(problems_of("<wants <daemon a>\n  <daemon b>>") ==
          Strings{"a.pr:2:3: <wants <daemon a> …>: <daemon b> is no <service-state S STATE>"});
    CHECK(problems_of("<wants <daemon a> <service-state <daemon b> up>>").empty());
}

TEST_CASE("ties: what starts a service is present or a message") {
    CHECK(problems_of("<started-by <daemon a> <path \"/x\" file>>\n"
                      "<started-by <daemon a> <message {}>>") ==
          Strings{"a.pr:1:24: <started-by <daemon a> …>: <path \"/x\" file> is neither <present "
                  "PATTERN> nor <message PATTERN>",
                  "a.pr:2:24: <started-by <daemon a> …>: <message {}> is neither <present "
                  "PATTERN> nor <message PATTERN>"});
}

TEST_CASE("ties: the time of an idle service is a number") {
    CHECK(problems_of("<idle-stop <daemon a> \"5\">\n<idle-stop <daemon a> 0>\n"
                      "<idle-stop <daemon a> -1>\n<idle-stop <daemon a> 1e10>")
              .size() == 4);
    CHECK(problems_of("<idle-stop <daemon a> \"5\">") ==
          Strings{"a.pr:1:23: <idle-stop <daemon a> …>: \"5\" is no number of seconds above 0"});
    CHECK(problems_of("<idle-stop <daemon a> 5>\n<idle-stop <daemon b> 0.5>").empty());
}

TEST_CASE("ties: with variables it is found when the script runs") {
    config::World world;
    std::vector<config::Problem> problems;
    auto script = config::Script::parse(
        "let ?p = pattern <path \"/x\" _>\n<started-by <daemon a> <present $p>>\n"
        "<depends-on <daemon a> <present $p>>\nlet ?s = often\n<idle-stop <daemon a> $s>",
        "a.pr", "/", problems, services::check_tie);
    REQUIRE(script);
    Strings found;
    world.turn([&](dataspace::Turn& turn) {
        (void)config::run_script(turn, script, world.environment,
                                 [&](dataspace::Turn&, const config::Problem& problem) {
                                     found.push_back(config::to_string(problem));
                                 });
    });
    CHECK(found ==
          Strings{"a.pr:5:23: <idle-stop <daemon a> …>: often is no number of seconds above 0"});
}
