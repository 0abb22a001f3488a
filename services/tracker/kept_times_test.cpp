#include "services/tracker/kept_times.h"

#include <unistd.h>

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::services;

namespace {

preserves::Value name(std::string_view text) { return *preserves::parse_text(text); }

std::string text(const Times& times) {
    preserves::Encoder out;
    out.begin_dictionary();
    times.encode(out);
    out.end();
    return preserves::to_text(*out.finish());
}

// What a second stage has, and what its successor gets of it.
KeptTimes successor(const KeptTimes& before, bool& settling) {
    auto next = KeptTimes::take_over(Fd(::dup(before.memory())), [&settling] { return settling; });
    REQUIRE(next.ok());
    return *std::move(next);
}

} // namespace

TEST_CASE("kept times: what runs has run since it did, however it comes back") {
    auto first = KeptTimes::create();
    REQUIRE(first.ok());
    Times times, other;
    auto x = name("<daemon x>"), m = name("<milestone m>");
    first->became(x, times, "waiting", 10);
    first->became(x, times, "starting", 20);
    first->became(x, times, "running", 30);
    first->became(m, other, "waiting", 15);
    std::string before = text(times);
    bool settling = true;
    // Another one, killed while it was adopting, changes nothing.
    auto second = successor(*first, settling);
    Times again;
    second.became(x, again, "waiting", 100);
    auto third = successor(second, settling);
    Times back, risen;
    third.became(x, back, "stopped", 200);
    third.became(x, back, "stopping", 205);
    third.became(x, back, "starting", 210);
    third.became(x, back, "running", 220);
    CHECK(text(back) == before);
    third.became(x, back, "waiting", 225);
    third.became(x, back, "running", 226);
    CHECK(text(back) == before);
    // One that was on its way goes on.
    third.became(m, risen, "starting", 230);
    third.became(m, risen, "complete", 240);
    CHECK(text(risen) == "{rise: <rise 15 230 240>, since: 240}");
    // What ended meanwhile is what it is.
    auto fourth = successor(third, settling);
    Times failed;
    fourth.became(x, failed, "waiting", 300);
    fourth.became(x, failed, "failed", 310);
    fourth.became(x, failed, "starting", 320);
    fourth.became(x, failed, "running", 330);
    CHECK(text(failed) == "{rise: <rise 10 310 330>, since: 330, first-rise: <rise 10 20 30>}");
}

TEST_CASE("kept times: what does not come back in time begins anew, and leaves its place") {
    auto first = KeptTimes::create();
    REQUIRE(first.ok());
    Times times;
    first->became(name("<daemon x>"), times, "running", 30);
    bool settling = true;
    auto second = successor(*first, settling);
    settling = false;
    Times late, fresh;
    second.became(name("<daemon y>"), fresh, "running", 100);
    second.became(name("<daemon x>"), late, "running", 110);
    CHECK(text(late) == "{rise: <rise 110 110 110>, since: 110}");
    second.forget(name("<daemon y>"));
    settling = true;
    auto third = successor(second, settling);
    Times forgotten;
    third.became(name("<daemon y>"), forgotten, "running", 200);
    CHECK(text(forgotten) == "{rise: <rise 200 200 200>, since: 200}");
}

TEST_CASE("kept times: many, and more than there is room for") {
    auto first = KeptTimes::create();
    REQUIRE(first.ok());
    std::vector<Times> times(10'000);
    for (size_t i = 0; i < times.size(); ++i)
        first->became(preserves::integer(static_cast<int64_t>(i)), times[i], "running", i + 1);
    bool settling = true;
    auto second = successor(*first, settling);
    Times back, lost;
    second.became(preserves::integer(5000), back, "running", 20'000);
    CHECK(text(back) == text(times[5000]));
    second.became(preserves::integer(9999), lost, "running", 20'000);
    CHECK(text(lost) == "{rise: <rise 20000 20000 20000>, since: 20000}");
    CHECK_FALSE(KeptTimes::take_over(Fd(::dup(0)), {}).ok());
}
