#include "services/tracker/times.h"

#include "init/base/catch.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::services;

namespace {

std::string text(const Times& times) {
    preserves::Encoder out;
    out.begin_dictionary();
    times.encode(out);
    out.end();
    return preserves::to_text(*out.finish());
}

} // namespace

TEST_CASE("a rise goes from the demand to being up") {
    Times times;
    times.became("waiting", 10);
    CHECK(text(times) == "{rise: <rise 10 0 0>, since: 10}");
    times.became("starting", 20);
    times.became("running", 30);
    CHECK(text(times) == "{rise: <rise 10 20 30>, since: 30}");
    times.became("running", 40);
    CHECK(text(times) == "{rise: <rise 10 20 30>, since: 30}");
    times.became("complete", 50);
    CHECK(text(times) == "{rise: <rise 10 20 30>, since: 50}");
}

TEST_CASE("what failed on the way up is part of the rise; a restart is its own part alone") {
    Times times;
    times.became("starting", 10);
    times.became("failed", 20);
    times.became("starting", 30);
    times.became("running", 40);
    CHECK(text(times) == "{rise: <rise 10 10 40>, since: 40}");
    times.became("failed", 50);
    CHECK(text(times) == "{rise: <rise 10 50 0>, since: 50, first-rise: <rise 10 10 40>}");
    times.became("starting", 60);
    times.became("running", 70);
    CHECK(text(times) == "{rise: <rise 10 50 70>, since: 70, first-rise: <rise 10 10 40>}");
}

TEST_CASE("what was stopped or waits again rises anew") {
    Times times;
    times.became("running", 10);
    CHECK(text(times) == "{rise: <rise 10 10 10>, since: 10}");
    times.became("stopping", 20);
    times.became("stopped", 30);
    CHECK(text(times) == "{rise: <rise 10 10 10>, since: 30}");
    times.became("starting", 40);
    times.became("waiting", 50);
    times.became("starting", 60);
    times.became("running", 70);
    CHECK(text(times) == "{rise: <rise 50 60 70>, since: 70, first-rise: <rise 10 10 10>}");
}
