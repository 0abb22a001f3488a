// How text fits where it goes: how wide a terminal is, whether it takes colours and letters beyond
// ASCII, and the words for times and sizes.
//
// Colours only on a terminal, and not if NO_COLOR is set (no-color.org) or TERM is "dumb". Box
// drawing if the locale (LC_ALL, LC_CTYPE, LANG) is a UTF-8 one, or if none is named and it is no
// terminal, or one that is known for it; the Linux console counts as such.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace muster::command {

enum class Colour : uint8_t { plain, dim, bold, red, green, yellow, blue, cyan };

struct Screen {
    size_t width = 80; // columns
    size_t height = 24;
    bool terminal = false;
    bool colour = false;
    bool utf8 = true;

    // Of the terminal at `fd`; what is none is 80 columns wide, or as many as COLUMNS says.
    static Screen of(int fd);

    // `text` in this colour, if there are any.
    std::string paint(Colour colour, std::string_view text) const;
    // The sign for what was left out.
    std::string_view ellipsis() const { return utf8 ? "…" : "~"; }
    // Of at most `columns` columns: the middle of what is longer is left out, since names differ
    // at both ends. The second leaves out the end.
    std::string cut(std::string_view text, size_t columns) const;
    std::string cut_end(std::string_view text, size_t columns) const;
};

// The colour for a state word.
Colour colour_of(std::string_view word);

// How many columns, as wcwidth(3) has it: two of what is wide, none of what combines with a
// character before it.
size_t columns(std::string_view text);
// With spaces behind it (or before it), up to so many columns.
std::string padded(std::string text, size_t to);
std::string right(std::string text, size_t to);
// What is no UTF-8 as U+FFFD, and control characters as spaces: nothing that anybody logged or
// named may steer the terminal.
std::string printable(std::string_view text);

// "340 us", "12 ms", "1.24 s", "3 min 12 s", "2 h 5 min", "3 d 4 h".
std::string duration(uint64_t microseconds);
// As short as possible, for columns: "12ms", "1.24s", "3m12s".
std::string short_duration(uint64_t microseconds);
// "812 KiB", "3.4 MiB".
std::string size_text(uint64_t bytes);

} // namespace muster::command
