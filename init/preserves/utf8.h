// UTF-8 as in RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace muster::preserves {

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

} // namespace muster::preserves
