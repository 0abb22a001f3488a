#include "services/presence/calendar.h"

#include <optional>
#include <string>
#include <vector>

namespace muster::services {

namespace {

constexpr int minutes_a_day = 24 * 60;
constexpr int most_days = 9 * 366;

struct FieldKind {
    std::string_view name;
    int first;
    int last;
    std::string_view words; // three letters each, the first one stands for `first`
};

constexpr FieldKind kinds[] = {
    {"minute", 0, 59, ""},
    {"hour", 0, 23, ""},
    {"day", 1, 31, ""},
    {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
    {"weekday", 0, 7, "sunmontuewedthufrisat"},
};

std::optional<int> number_of(std::string_view text, const FieldKind& kind) {
    if (text.size() == 3 && !kind.words.empty()) {
        std::string lower;
        for (char c : text)
            lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        size_t at = kind.words.find(lower);
        if (at != std::string_view::npos && at % 3 == 0)
            return kind.first + static_cast<int>(at / 3);
    }
    if (text.empty() || text.size() > 4) return {};
    int number = 0;
    for (char c : text) {
        if (c < '0' || c > '9') return {};
        number = number * 10 + (c - '0');
    }
    return number;
}

Result<uint64_t> parse_field(std::string_view text, const FieldKind& kind) {
    auto wrong = [&] {
        return Error{std::string(kind.name) + ": " + std::string(text) +
                     " is not * or numbers from " + std::to_string(kind.first) + " to " +
                     std::to_string(kind.last)};
    };
    uint64_t bits = 0;
    for (std::string_view rest = text;;) {
        size_t comma = rest.find(',');
        std::string_view item = rest.substr(0, comma);
        int step = 1;
        size_t slash = item.find('/');
        if (slash != std::string_view::npos) {
            auto given = number_of(item.substr(slash + 1), FieldKind{});
            if (!given || *given < 1) return wrong();
            step = *given;
            item = item.substr(0, slash);
        }
        int from = kind.first;
        int to = kind.last;
        if (item != "*") {
            size_t dash = item.find('-');
            auto first = number_of(item.substr(0, dash), kind);
            auto last =
                dash == std::string_view::npos ? first : number_of(item.substr(dash + 1), kind);
            bool single = dash == std::string_view::npos && slash != std::string_view::npos;
            if (!first || !last || single) return wrong();
            from = *first;
            to = *last;
        }
        if (from < kind.first || to > kind.last || from > to) return wrong();
        for (int each = from; each <= to; each += step)
            bits |= uint64_t{1} << each;
        if (comma == std::string_view::npos) return bits;
        rest.remove_prefix(comma + 1);
    }
}

std::tm local(time_t when) {
    std::tm broken{};
    localtime_r(&when, &broken);
    return broken;
}

} // namespace

Result<Calendar> Calendar::parse(std::string_view text) {
    constexpr std::pair<std::string_view, std::string_view> names[] = {
        {"hourly", "0 * * * *"},  {"daily", "0 0 * * *"},  {"weekly", "0 0 * * 0"},
        {"monthly", "0 0 1 * *"}, {"yearly", "0 0 1 1 *"},
    };
    for (const auto& [name, meaning] : names)
        if (text == name) text = meaning;
    std::vector<std::string_view> fields;
    for (size_t i = 0; i < text.size();) {
        size_t end = std::min(text.find(' ', i), text.size());
        if (end > i) fields.push_back(text.substr(i, end - i));
        i = end + 1;
    }
    if (fields.size() != 5)
        return Error{"not five fields, MINUTE HOUR DAY MONTH WEEKDAY, nor hourly, daily, weekly, "
                     "monthly or yearly"};
    uint64_t bits[5];
    for (size_t i = 0; i < 5; ++i) {
        Result<uint64_t> field = parse_field(fields[i], kinds[i]);
        if (!field) return field.error();
        bits[i] = *field;
    }
    Calendar calendar;
    calendar.minutes_ = bits[0];
    calendar.hours_ = static_cast<uint32_t>(bits[1]);
    calendar.days_ = static_cast<uint32_t>(bits[2]);
    calendar.months_ = static_cast<uint32_t>(bits[3]);
    calendar.weekdays_ = static_cast<uint32_t>(bits[4] | (bits[4] >> 7 & 1)); // 7 is Sunday too
    calendar.any_day_ = fields[2][0] == '*';
    calendar.any_weekday_ = fields[4][0] == '*';
    return calendar;
}

bool Calendar::fits_day(const std::tm& day) const {
    if (!(months_ >> (day.tm_mon + 1) & 1)) return false;
    bool by_day = days_ >> day.tm_mday & 1;
    bool by_weekday = weekdays_ >> day.tm_wday & 1;
    return any_day_ || any_weekday_ ? by_day && by_weekday : by_day || by_weekday;
}

bool Calendar::fits_minute(int minute_of_day) const {
    return hours_ >> (minute_of_day / 60) & 1 && minutes_ >> (minute_of_day % 60) & 1;
}

bool Calendar::fits(time_t now) const {
    std::tm broken = local(now);
    return fits_day(broken) && fits_minute(broken.tm_hour * 60 + broken.tm_min);
}

time_t Calendar::next_change(time_t now) const {
    bool before = fits(now);
    std::tm day = local(now);
    int minute = day.tm_hour * 60 + day.tm_min + 1;
    // Days are counted at noon, which every day has.
    day.tm_hour = 12;
    day.tm_min = day.tm_sec = 0;
    for (int days = 0; days < most_days; ++days, minute = 0) {
        bool fits_today = fits_day(day);
        // Without a look at every minute, if none of them is different from what it is now.
        if (fits_today || before) {
            for (; minute < minutes_a_day; ++minute) {
                if ((fits_today && fits_minute(minute)) == before) continue;
                std::tm then = day;
                then.tm_hour = minute / 60;
                then.tm_min = minute % 60;
                then.tm_isdst = -1;
                time_t when = mktime(&then);
                if (when > now) return when;
            }
        }
        ++day.tm_mday;
        day.tm_isdst = -1;
        mktime(&day);
        day.tm_hour = 12;
        day.tm_min = day.tm_sec = 0;
    }
    return 0;
}

} // namespace muster::services
