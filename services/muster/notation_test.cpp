#include "services/muster/notation.h"

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"
#include "services/muster/status_line.h"
#include "services/muster/world.h"

using namespace muster;
using namespace muster::command;

namespace {

std::string pattern(std::string_view text) {
    auto value = parse_pattern(text);
    return value ? preserves::to_text(*value) : "error: " + value.error().message;
}

std::string line(std::string_view record) { return status_line(*preserves::parse_text(record)); }

} // namespace

TEST_CASE("patterns are typed as values with holes") {
    CHECK(pattern("_") == "<_>");
    CHECK(pattern("<a _ \"x\" ?>") == "<group <rec a> {0: <_>, 1: <lit \"x\">, 2: <_>}>");
    CHECK(pattern("{k: [1 ?x]}") == "<group <dict> {k: <group <arr> {0: <lit 1>, 1: <_>}>}>");
    CHECK(pattern("#{1}").find("error") == 0);
    CHECK(pattern("<a").find("error") == 0);
}

TEST_CASE("patterns are shown as they are typed") {
    for (std::string_view text :
         {"_", "<a _ \"x\">", "{k: [1, _]}", "<device block _ {NAME: \"vda\"}>"})
        CHECK(pattern_text(*parse_pattern(text)) == text);
    CHECK(pattern_text(*preserves::parse_text("<group <rec a> {2: <bind <lit 1>>}>")) ==
          "<a _ _ 1>");
    CHECK(pattern_text(*preserves::parse_text("<nothing like it>")) == "<nothing like it>");
}

TEST_CASE("a bare name is a daemon's") {
    CHECK(preserves::to_text(*parse_service("sshd")) == "<daemon sshd>");
    CHECK(preserves::to_text(*parse_service("<milestone default>")) == "<milestone default>");
    CHECK_FALSE(parse_service("a b"));
}

TEST_CASE("looking for ServiceRunning does not ask for the one service") {
    auto full = *parse_pattern("<ServiceRunning <daemon a>>");
    CHECK(preserves::to_text(harmless(full)) == "<group <rec ServiceRunning> {0: <_>}>");
    auto state = *parse_pattern("<service-state <daemon a> ready>");
    CHECK(harmless(state) == state);
}

TEST_CASE("status lines say what there is to say") {
    CHECK(line("<service <daemon a> running {pid: 12 processes: 2 restarts: 0}>") ==
          "a                        running   pid 12, one of 2");
    CHECK(line("<service <daemon a> running {pid: 12 restarts: 0}>") ==
          "a                        running   pid 12");
    CHECK(line("<service <daemon b> waiting {waiting-for: [<service-state <daemon c> up>]}>") ==
          "b                        waiting   waits for c up");
    CHECK(line("<service <daemon d> waiting {undefined: #t}>") ==
          "d                        waiting   nobody defines it");
    CHECK(line("<service <daemon x> waiting {cycle: [<daemon x> <daemon y>] waiting-for: [y]}>") ==
          "x                        waiting   cycle: x -> y -> x");
    CHECK(line("<service <config-watcher \"/etc\" {config: capability}> running {}>") ==
          "<config-watcher \"/etc\" {...}> running");
    CHECK(
        line("<service <daemon d> waiting {waiting-for: [<present <group <rec mounted> {0: <_> 1: "
             "<_>}>>]}>") == "d                        waiting   waits for <mounted _ _>");
    CHECK(line("<service odd waiting {unprovided: #t}>") ==
          "odd                      waiting   nobody provides it: is <daemon odd> meant?");
    CHECK(line("<service <odd one> waiting {unprovided: #t}>") ==
          "<odd one>                waiting   nobody provides it");
    CHECK(line("<service <daemon one> complete {last: \"exit code 0\"}>") ==
          "one                      complete");
    CHECK(line("<service <daemon s> stopped {override: down}>") ==
          "s                        stopped   held down");
    CHECK(line("<service <daemon s> stopped {disabled: #t}>") ==
          "s                        stopped   disabled");
}

TEST_CASE("errors in files stand by file and line; those about a whole file have no line") {
    std::vector<Value> records;
    for (const char* text :
         {"<config-error \"b.pr\" 2 1 \"two\">", "<config-error \"b.pr\" 10 1 \"ten\">",
          "<config-error \"a-longer.pr\" 0 0 \"no file\">"})
        records.push_back(*preserves::parse_text(text));
    std::string lines;
    World world(records);
    for (const Value& each : world.config_errors())
        lines += config_error_line(each) + "\n";
    CHECK(lines == "a-longer.pr: no file\nb.pr:2:1: two\nb.pr:10:1: ten\n");
}
