#include "services/muster/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include <cstdio>
#include <cstdlib>

#include "init/preserves/utf8.h"

namespace muster::command {

namespace {

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

bool locale_is_utf8(const std::string& otherwise) {
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
        std::string value = variable(name);
        if (value.empty()) continue;
        for (std::string_view word : {"UTF-8", "utf-8", "UTF8", "utf8"})
            if (value.find(word) != std::string::npos) return true;
        return false;
    }
    return otherwise != "dumb" && !otherwise.starts_with("vt");
}

// The columns of the character at `at`, which moves behind it.
size_t take_columns(std::string_view text, size_t& at) {
    const char* begin = text.data() + at;
    const char* behind = begin;
    uint32_t character = preserves::read_code_point(behind, text.data() + text.size());
    at += character == preserves::no_code_point ? 1 : static_cast<size_t>(behind - begin);
    int width =
        character == preserves::no_code_point ? 1 : wcwidth(static_cast<wchar_t>(character));
    return width < 0 ? 1 : static_cast<size_t>(width);
}

// Where what fits into so many columns ends.
size_t end_of_first(std::string_view text, size_t columns) {
    size_t end = 0;
    for (size_t at = 0, used = 0; at < text.size(); end = at) {
        used += take_columns(text, at);
        if (used > columns) break;
    }
    return end;
}

// Where the end of the text that fits begins, not with what combines with the character before.
size_t begin_of_last(std::string_view text, size_t most) {
    size_t begin = 0;
    for (size_t at = 0, left = columns(text); at < text.size(); begin = at) {
        size_t width = take_columns(text, at);
        if (left <= most && width > 0) break;
        left -= width;
    }
    return begin;
}

std::string format(const char* pattern, double value, const char* unit) {
    char text[40];
    std::snprintf(text, sizeof text, pattern, value, unit);
    return text;
}

} // namespace

Screen Screen::of(int fd) {
    Screen screen;
    screen.terminal = isatty(fd) == 1;
    winsize size{};
    if (screen.terminal && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        screen.width = size.ws_col;
        if (size.ws_row > 0) screen.height = size.ws_row;
    } else if (int columns = std::atoi(variable("COLUMNS").c_str()); columns > 0) {
        screen.width = static_cast<size_t>(columns);
    }
    if (screen.width < 40) screen.width = 40;
    if (screen.width > 1'000) screen.width = 1'000;
    std::string terminal = variable("TERM");
    screen.colour =
        screen.terminal && variable("NO_COLOR").empty() && !terminal.empty() && terminal != "dumb";
    screen.utf8 = locale_is_utf8(screen.terminal ? terminal : "");
    return screen;
}

std::string Screen::paint(Colour which, std::string_view text) const {
    std::string plain(text);
    if (!colour || text.empty()) return plain;
    switch (which) {
    case Colour::plain:
        return plain;
    case Colour::dim:
        return "\033[2m" + plain + "\033[0m";
    case Colour::bold:
        return "\033[1m" + plain + "\033[0m";
    case Colour::red:
        return "\033[31m" + plain + "\033[0m";
    case Colour::green:
        return "\033[32m" + plain + "\033[0m";
    case Colour::yellow:
        return "\033[33m" + plain + "\033[0m";
    case Colour::blue:
        return "\033[34m" + plain + "\033[0m";
    case Colour::cyan:
        return "\033[36m" + plain + "\033[0m";
    }
    return plain;
}

std::string Screen::cut(std::string_view text, size_t most) const {
    if (columns(text) <= most) return std::string(text);
    if (most < 2) return std::string(text.substr(0, end_of_first(text, most)));
    size_t front = most / 2;
    size_t back = most - front - 1;
    std::string result(text.substr(0, end_of_first(text, front)));
    result += ellipsis();
    return result += text.substr(begin_of_last(text, back));
}

std::string Screen::cut_end(std::string_view text, size_t most) const {
    if (columns(text) <= most) return std::string(text);
    if (most < 2) return std::string(text.substr(0, end_of_first(text, most)));
    return std::string(text.substr(0, end_of_first(text, most - 1))).append(ellipsis());
}

Colour colour_of(std::string_view word) {
    if (word == "running") return Colour::green;
    if (word == "failed") return Colour::red;
    if (word == "starting" || word == "stopping") return Colour::cyan;
    if (word == "waiting") return Colour::yellow;
    if (word == "stopped") return Colour::dim;
    return Colour::plain;
}

size_t columns(std::string_view text) {
    size_t count = 0;
    for (size_t at = 0; at < text.size();)
        count += take_columns(text, at);
    return count;
}

std::string padded(std::string text, size_t to) {
    size_t length = columns(text);
    if (length < to) text.append(to - length, ' ');
    return text;
}

std::string right(std::string text, size_t to) {
    size_t length = columns(text);
    if (length < to) text.insert(0, to - length, ' ');
    return text;
}

std::string printable(std::string_view text) {
    std::string result;
    bool whole = preserves::is_utf8(text);
    for (size_t i = 0; i < text.size(); ++i) {
        auto byte = static_cast<uint8_t>(text[i]);
        // U+0080 to U+009F are control characters too.
        bool high_control =
            byte == 0xc2 && i + 1 < text.size() && static_cast<uint8_t>(text[i + 1]) < 0xa0;
        if (!whole && byte >= 0x80)
            result += "\ufffd";
        else if (byte < 0x20 || byte == 0x7f)
            result += ' ';
        else if (high_control)
            ++i;
        else
            result += text[i];
    }
    return result;
}

std::string duration(uint64_t us) {
    auto two = [](uint64_t large, const char* one, uint64_t small, const char* other) {
        std::string text = std::to_string(large) + " " + one;
        return small > 0 ? text + " " + std::to_string(small) + " " + other : text;
    };
    auto value = static_cast<double>(us);
    if (us < 1'000) return std::to_string(us) + " us";
    if (us < 10'000) return format("%.1f %s", value / 1e3, "ms");
    if (us < 1'000'000) return format("%.0f %s", value / 1e3, "ms");
    uint64_t s = us / 1'000'000;
    if (s < 10) return format("%.2f %s", value / 1e6, "s");
    if (s < 60) return format("%.1f %s", value / 1e6, "s");
    if (s < 3'600) return two(s / 60, "min", s % 60, "s");
    if (s < 86'400) return two(s / 3'600, "h", s / 60 % 60, "min");
    return two(s / 86'400, "d", s / 3'600 % 24, "h");
}

std::string short_duration(uint64_t us) {
    std::string text;
    for (char each : duration(us))
        if (each != ' ') text += each;
    for (auto [word, letter] : {std::pair("min", "m")})
        if (size_t at = text.find(word); at != std::string::npos) text.replace(at, 3, letter);
    return text;
}

std::string size_text(uint64_t bytes) {
    if (bytes < 1'024) return std::to_string(bytes) + " B";
    constexpr const char* units[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(bytes) / 1'024;
    size_t unit = 0;
    while (value >= 1'023.5 && unit < 3) {
        value /= 1'024;
        ++unit;
    }
    return format(value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

} // namespace muster::command
