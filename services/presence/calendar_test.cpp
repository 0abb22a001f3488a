#include "services/presence/calendar.h"

#include <stdlib.h>

#include "init/base/catch.h"

using namespace muster;
using namespace muster::services;

namespace {

// A time zone for as long as a test runs.
struct Zone {
    explicit Zone(const char* name) {
        setenv("TZ", name, 1);
        tzset();
    }
    ~Zone() {
        unsetenv("TZ");
        tzset();
    }
};

time_t at(int year, int month, int day, int hour, int minute, int second = 0) {
    std::tm broken{};
    broken.tm_year = year - 1900;
    broken.tm_mon = month - 1;
    broken.tm_mday = day;
    broken.tm_hour = hour;
    broken.tm_min = minute;
    broken.tm_sec = second;
    broken.tm_isdst = -1;
    return mktime(&broken);
}

Calendar calendar(const char* text) {
    auto parsed = Calendar::parse(text);
    INFO(text);
    REQUIRE(parsed);
    return *parsed;
}

} // namespace

TEST_CASE("calendar: minutes that fit, and when the next ones begin and end") {
    Zone zone("UTC0");
    Calendar nightly = calendar("30 3 * * *");
    CHECK(nightly.fits(at(2026, 11, 22, 3, 30, 59)));
    CHECK_FALSE(nightly.fits(at(2026, 11, 22, 3, 31)));
    CHECK(nightly.next_change(at(2026, 11, 22, 3, 29, 59)) == at(2026, 11, 22, 3, 30));
    CHECK(nightly.next_change(at(2026, 11, 22, 3, 30, 5)) == at(2026, 11, 22, 3, 31));
    CHECK(nightly.next_change(at(2026, 12, 31, 3, 31)) == at(2027, 1, 1, 3, 30));
}

TEST_CASE("calendar: office hours are one stretch of time a day") {
    Zone zone("UTC0");
    Calendar office = calendar("* 9-17 * * mon-fri");
    CHECK(office.fits(at(2026, 11, 23, 9, 0))); // a Monday
    CHECK_FALSE(office.fits(at(2026, 11, 22, 9, 0)));
    CHECK(office.next_change(at(2026, 11, 23, 9, 0)) == at(2026, 11, 23, 18, 0));
    CHECK(office.next_change(at(2026, 11, 27, 18, 0)) == at(2026, 11, 30, 9, 0));
}

TEST_CASE("calendar: lists, steps, names, and Sunday by both its numbers") {
    Zone zone("UTC0");
    CHECK(calendar("*/15 * * * *").next_change(at(2026, 1, 1, 0, 16)) == at(2026, 1, 1, 0, 30));
    CHECK(calendar("5,7-9/2 * * * *").next_change(at(2026, 1, 1, 0, 7)) == at(2026, 1, 1, 0, 8));
    CHECK(calendar("0 0 1 FEB *").next_change(at(2026, 1, 1, 0, 0)) == at(2026, 2, 1, 0, 0));
    CHECK(calendar("0 0 * * 7").fits(at(2026, 11, 22, 0, 0)));
    CHECK(calendar("weekly").fits(at(2026, 11, 22, 0, 0)));
    // The 13th, or any Friday.
    Calendar either = calendar("0 0 13 * fri");
    CHECK(either.fits(at(2026, 11, 13, 0, 0)));
    CHECK(either.fits(at(2026, 12, 13, 0, 0)));
    CHECK(either.fits(at(2026, 12, 4, 0, 0)));
    CHECK_FALSE(either.fits(at(2026, 12, 5, 0, 0)));
}

TEST_CASE("calendar: what comes seldom, never, or always") {
    Zone zone("UTC0");
    CHECK(calendar("0 0 29 2 *").next_change(at(2026, 3, 1, 0, 0)) == at(2028, 2, 29, 0, 0));
    CHECK(calendar("0 0 30 2 *").next_change(at(2026, 3, 1, 0, 0)) == 0);
    CHECK(calendar("* * * * *").next_change(at(2026, 3, 1, 0, 0)) == 0);
    CHECK(calendar("* * * 3 *").next_change(at(2026, 3, 1, 0, 0)) == at(2026, 4, 1, 0, 0));
}

TEST_CASE("calendar: summer time comes and goes") {
    Zone zone("CET-1CEST,M3.5.0,M10.5.0/3");
    Calendar half_past_two = calendar("30 2 * * *");
    // On the 29th of March 2026 there is no such time.
    time_t before = at(2026, 3, 28, 2, 31);
    time_t next = before;
    int looks = 0;
    do {
        next = half_past_two.next_change(next);
        REQUIRE(next > before);
    } while (!half_past_two.fits(next) && ++looks < 5);
    CHECK(next == at(2026, 3, 30, 2, 30));
    CHECK(calendar("0 12 * * *").next_change(at(2026, 10, 24, 12, 1)) == at(2026, 10, 25, 12, 0));
}

TEST_CASE("calendar: what is wrong is named") {
    CHECK(Calendar::parse("0 24 * * *").error().message ==
          "hour: 24 is not * or numbers from 0 to 23");
    CHECK(Calendar::parse("0 0 0 * *").error().message ==
          "day: 0 is not * or numbers from 1 to 31");
    CHECK(Calendar::parse("0 0 * * mon-sun").error().message ==
          "weekday: mon-sun is not * or numbers from 0 to 7");
    for (const char* wrong :
         {"", "0 0 * *", "0 0 * * * *", "a * * * *", "*/0 * * * *", "1- * * * *", "-1 * * * *",
          "1,, * * * *", "5/2 * * * *", "99999 * * * *"}) {
        INFO(wrong);
        CHECK_FALSE(Calendar::parse(wrong).ok());
    }
}
