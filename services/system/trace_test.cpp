#include "services/system/trace.h"

#include <stdlib.h>
#include <unistd.h>

#include <fstream>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::services;
using dataspace::Turn;
using preserves::Value;

TEST_CASE("a trace has a record for each actor and each turn, with what caused it") {
    char path[] = "/tmp/muster-trace-XXXXXX";
    close(mkstemp(path));
    {
        auto trace = TraceFile::open(path);
        REQUIRE(trace);
        dataspace::Engine engine;
        engine.set_tracer(trace->get());
        engine.set_on_failure([](const dataspace::Actor&, const Error&) {});
        dataspace::CapRef space = dataspace::spawn_dataspace(engine, "space");
        engine.spawn("talker", [space](Turn& turn) {
            turn.assert_(space, preserves::record("near", {preserves::integer(1)}));
            turn.message(space, preserves::string("hello"));
            turn.sync(space, [](Turn& later) { later.fail(Error{"enough"}); });
        });
        engine.run();
    }
    std::ifstream file(path);
    std::vector<Value> records;
    for (std::string line; std::getline(file, line);) {
        auto record = preserves::parse_text(line);
        REQUIRE(record);
        CHECK(record->view().is_record("trace", 3));
        CHECK(record->view().at(0).as_number());
        records.push_back(*record);
    }
    unlink(path);
    auto item = [&](size_t i) { return records.at(i).view().at(2); };
    REQUIRE(records.size() >= 7);
    CHECK(preserves::to_text(item(0)) == "<start <named \"space\">>");
    CHECK(preserves::to_text(item(1)) == "<start <named \"talker\">>");
    // The first turn of the talker, and the turn of the dataspace that it causes.
    size_t talk = 0;
    while (item(talk).at(2).count() != 3)
        REQUIRE(++talk < records.size());
    CHECK(item(talk).at(1).is_record("external", 1));
    CHECK(item(talk).at(2).at(0).is_record("enqueue", 1));
    CHECK(item(talk).at(2).at(1).at(0).at(1).is_record("message", 1));
    CHECK(item(talk).at(2).at(2).at(0).at(1).is_record("sync", 1));
    size_t heard = talk + 1;
    while (!item(heard).is_record("turn", 3))
        REQUIRE(++heard < records.size());
    CHECK(item(heard).at(1).is_record("caused-by", 1));
    CHECK(item(heard).at(1).at(0) == item(talk).at(0));
    CHECK(item(heard).at(2).at(0).is_record("dequeue", 1));
    CHECK(preserves::to_text(item(heard).at(2).at(1).at(0).at(1)) == "<message <value \"hello\">>");
    bool failed = false;
    for (size_t i = 0; i < records.size(); ++i)
        failed = failed || preserves::to_text(item(i)) == "<stop <error \"enough\" #f>>";
    CHECK(failed);
}

TEST_CASE("a trace file that cannot be written is named") {
    auto trace = TraceFile::open("/nowhere/trace");
    REQUIRE(!trace);
    CHECK(trace.error().message == "open /nowhere/trace: No such file or directory");
}
