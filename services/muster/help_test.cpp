#include "services/muster/help.h"

#include "init/base/catch.h"

using namespace muster::command;

TEST_CASE("help: what the summary says of a command, and no more") {
    constexpr const char* usage = "usage: x COMMAND\n\n"
                                  "  why SERVICE...   why it runs\n"
                                  "                   or what it waits for\n"
                                  "  poweroff, halt   the end\n"
                                  "\n"
                                  "SERVICE is a name.\n";
    CHECK(help_of(usage, "why")
              .starts_with("  why SERVICE...   why it runs\n"
                           "                   or what it waits for\n\n"));
    CHECK(help_of(usage, "halt") == "  poweroff, halt   the end\n");
    CHECK(help_of(usage, "poweroff") == help_of(usage, "halt"));
    CHECK(help_of(usage, "the").empty());
    CHECK(help_of(usage, "SERVICE").empty());
}
