#include "services/daemon/carried.h"

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"

using namespace muster;
using namespace muster::services;

TEST_CASE("carried: all of it comes back") {
    Carried before;
    before.starts = {1, 1'234'567'890'123'456};
    before.says = "half \xff bytes";
    before.reloading = true;
    before.last = std::string(200, 'x');
    before.failure = {"killed by SIGSEGV", 11, {"one", "\xfe", ""}};
    before.before = 2;
    before.commands = {"startPost", 1, {7, 3}, 256};
    before.logger = {"finish of the logger", 0, {8, 2}, {}};
    before.main = {9, 4};
    before.main_status = 768;
    Carried after = Carried::decode(before.encode());
    CHECK(after.starts == before.starts);
    CHECK(after.says == before.says);
    CHECK(after.reloading);
    CHECK(after.last == before.last);
    REQUIRE(after.failure);
    CHECK(after.failure->how == before.failure->how);
    CHECK(after.failure->status == 11);
    CHECK(after.failure->lines == before.failure->lines);
    CHECK(after.before == 2);
    CHECK(after.commands.what == "startPost");
    CHECK(after.commands.at == 1);
    CHECK(after.commands.slot.index == 7);
    CHECK(after.commands.slot.generation == 3);
    CHECK(after.commands.status == 256);
    CHECK(after.logger.what == "finish of the logger");
    CHECK(after.logger.slot.index == 8);
    CHECK(after.logger.slot.generation == 2);
    CHECK_FALSE(after.logger.status);
    CHECK(after.main.index == 9);
    CHECK(after.main.generation == 4);
    CHECK(after.main_status == 768);
    CHECK_FALSE(before.empty());
    CHECK(Carried().empty());
    CHECK(Carried::decode(Carried().encode()).empty());
}

TEST_CASE("carried: what makes no sense is as if it were not there") {
    for (const char* text : {"12", "[1 2]", "{}",
                             "{starts: 1 says: [] reloading: \"#t\" last: 3 failure: [] "
                             "before: -1 commands: x logger: 3}",
                             "{before: 1000000000000000000000000000000}"})
        CHECK(Carried::decode(*preserves::parse_text(text)).empty());
    Carried odd = Carried::decode(*preserves::parse_text(
        "{failure: {lines: {a: 1} status: 99999999999} commands: {what: \"startPre\" at: -4 "
        "slot: 99999999999 generation: [] status: #t}}"));
    REQUIRE(odd.failure);
    CHECK(odd.failure->status == 0);
    CHECK(odd.failure->lines.empty());
    CHECK(odd.commands.at == 0);
    CHECK(odd.commands.slot.index == 0);
    CHECK(odd.commands.slot.generation == 0);
    CHECK(odd.commands.status == -1);
}
