// A string as JSON and the text syntax of Preserves have it. Host only.
#pragma once

#include <array>
#include <cstdio>
#include <string>
#include <string_view>

namespace muster::image {

inline std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (char c : text) {
        std::array<char, 8> code;
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            std::snprintf(code.data(), code.size(), "\\u%04x", c);
            out += code.data();
        } else {
            out += c;
        }
    }
    return out + "\"";
}

} // namespace muster::image
