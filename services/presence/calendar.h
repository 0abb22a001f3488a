// When, by the calendar: the five fields of crontab(5), or one word.
//
//   MINUTE HOUR DAY MONTH WEEKDAY      0-59  0-23  1-31  1-12 or jan-dec  0-7 or sun-sat
//
// A field is `*`, or numbers and ranges with commas between them, `1,5,10-20`; `/N` behind `*` or a
// range takes every Nth. If both DAY and WEEKDAY are given, either will do. The words: hourly,
// daily, weekly (on Sunday), monthly, yearly.
// Local time (tzset(3)). An hour that is left out in spring has no minutes; one that comes twice in
// autumn counts once, or twice for what fits its first minute.
#pragma once

#include <cstdint>
#include <ctime>
#include <string_view>

#include "init/base/result.h"

namespace muster::services {

class Calendar {
  public:
    // ERRORS: which field is wrong, and what it may be.
    static Result<Calendar> parse(std::string_view text);

    // Whether it fits the minute in which `now` (seconds since 1970) lies.
    bool fits(time_t now) const;
    // When next the answer to that changes, at the earliest: at a whole minute after `now`. 0 if
    // not within nine years, in which all days that there can be have been.
    time_t next_change(time_t now) const;

  private:
    bool fits_day(const std::tm& day) const;
    bool fits_minute(int minute_of_day) const;

    uint64_t minutes_ = 0; // bit N for N
    uint32_t hours_ = 0;
    uint32_t days_ = 0;
    uint32_t months_ = 0;
    uint32_t weekdays_ = 0; // 0 is Sunday
    bool any_day_ = false;
    bool any_weekday_ = false;
};

} // namespace muster::services
