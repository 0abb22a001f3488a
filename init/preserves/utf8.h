// UTF-8 as in RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace muster::preserves {

// Most text is ASCII: no branch for each character.
inline bool is_ascii(const uint8_t* p, size_t size) {
    constexpr uint64_t high = 0x8080808080808080u;
    if (size < 4) return size == 0 || ((p[0] | p[size / 2] | p[size - 1]) & 0x80) == 0;
    const auto load = [](const uint8_t* at, size_t width) {
        uint64_t word = 0;
        std::memcpy(&word, at, width);
        return word;
    };
    if (size < 8) return ((load(p, 4) | load(p + size - 4, 4)) & high) == 0;
    uint64_t all = load(p + size - 8, 8);
    for (size_t i = 0; i + 8 < size; i += 8)
        all |= load(p + i, 8);
    return (all & high) == 0;
}

bool is_utf8(const uint8_t* text, size_t size);
inline bool is_utf8(std::string_view text) {
    return is_utf8(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

// Reads the code point at `at` and moves `at` behind it. 0xffffffff and `at` unmoved if there is
// no well-formed one; REQUIRES at != end.
uint32_t read_code_point(const char*& at, const char* end);
inline constexpr uint32_t no_code_point = 0xffffffff;

// REQUIRES: a Unicode scalar value.
void append_code_point(uint32_t code_point, std::string& out);

// With a question mark for each byte that belongs to no character.
std::string as_utf8(std::string_view text);
// The beginning of UTF-8, at most so many bytes, whole characters.
inline std::string_view utf8_head(std::string_view text, size_t most) {
    if (text.size() <= most) return text;
    while (most > 0 && (static_cast<uint8_t>(text[most]) & 0xc0) == 0x80)
        --most;
    return text.substr(0, most);
}

} // namespace muster::preserves
