#include "netlink/glob.h"

#include <algorithm>
#include <cstdint>

namespace muster::netlink {

namespace {

// One element of a pattern against one character. Moves `at` behind the element.
bool element_matches(std::string_view pattern, size_t& at, char c) {
    const char kind = pattern[at];
    if (kind == '?') {
        ++at;
        return true;
    }
    if (kind == '[') {
        size_t i = at + 1;
        const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
        if (negated) ++i;
        const size_t first = i;
        bool among = false;
        const auto code = static_cast<uint8_t>(c);
        // A ']' that comes first stands for itself.
        while (i < pattern.size() && (pattern[i] != ']' || i == first)) {
            const auto low = static_cast<uint8_t>(pattern[i]);
            auto high = low;
            if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
                high = static_cast<uint8_t>(pattern[i + 2]);
                i += 2;
            }
            among = among || (low <= code && code <= high);
            ++i;
        }
        if (i < pattern.size()) {
            at = i + 1;
            return among != negated;
        }
        // never closed: a bracket
    } else if (kind == '\\' && at + 1 < pattern.size()) {
        ++at;
    }
    return name_character(pattern[at++]) == name_character(c);
}

} // namespace

bool glob_matches(std::string_view pattern, std::string_view text) {
    constexpr size_t none = static_cast<size_t>(-1);
    size_t p = 0, t = 0;
    size_t star = none, star_text = 0; // behind the last *, and where its match ends so far
    for (;;) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = ++p;
            star_text = t;
            continue;
        }
        if (p == pattern.size() && t == text.size()) return true;
        if (p < pattern.size() && t < text.size() && element_matches(pattern, p, text[t])) {
            ++t;
            continue;
        }
        if (star == none || star_text == text.size()) return false;
        p = star;
        t = ++star_text;
    }
}

size_t literal_prefix(std::string_view pattern) {
    return std::min(pattern.find_first_of("*?[\\"), pattern.size());
}

int compare_names(std::string_view a, std::string_view b) {
    const size_t common = std::min(a.size(), b.size());
    for (size_t i = 0; i < common; ++i) {
        const int difference =
            static_cast<uint8_t>(name_character(a[i])) - static_cast<uint8_t>(name_character(b[i]));
        if (difference != 0) return difference;
    }
    return a.size() < b.size() ? -1 : a.size() > b.size();
}

} // namespace muster::netlink
