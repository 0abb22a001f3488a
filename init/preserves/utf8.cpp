#include "init/preserves/utf8.h"

#include <cstring>

namespace muster::preserves {

namespace {

bool continues(uint8_t byte) { return (byte & 0xc0) == 0x80; }

// The length of the well-formed sequence at `p`, 0 if there is none. The second byte's range
// excludes overlong forms, surrogates and what is too large (RFC 3629 section 4).
size_t sequence_length(const uint8_t* p, size_t left) {
    const uint8_t lead = p[0];
    if (lead < 0x80) return 1;
    if (lead < 0xc2 || lead > 0xf4 || left < 2) return 0;
    if (lead < 0xe0) return continues(p[1]) ? 2 : 0;
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
    if (p[1] < low || p[1] > high) return 0;
    const size_t length = lead < 0xf0 ? 3 : 4;
    if (left < length || !continues(p[2])) return 0;
    return length == 3 || continues(p[3]) ? length : 0;
}

} // namespace

bool is_utf8(const uint8_t* p, size_t left) {
    while (left > 0) {
        while (left >= 8) {
            uint64_t word;
            std::memcpy(&word, p, 8);
            if (word & 0x8080808080808080u) break;
            p += 8;
            left -= 8;
        }
        if (left == 0) break;
        const size_t length = sequence_length(p, left);
        if (length == 0) return false;
        p += length;
        left -= length;
    }
    return true;
}

std::string as_utf8(std::string_view text) {
    if (is_utf8(text)) return std::string(text);
    std::string out;
    while (!text.empty()) {
        const auto* p = reinterpret_cast<const uint8_t*>(text.data());
        const size_t length = sequence_length(p, text.size());
        out += length == 0 ? std::string_view("?") : text.substr(0, length);
        text.remove_prefix(length == 0 ? 1 : length);
    }
    return out;
}

uint32_t read_code_point(const char*& at, const char* end) {
    const auto* p = reinterpret_cast<const uint8_t*>(at);
    const size_t length = sequence_length(p, static_cast<size_t>(end - at));
    at += length;
    switch (length) {
    case 1:
        return p[0];
    case 2:
        return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    case 3:
        return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    case 4:
        return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    default:
        return no_code_point;
    }
}

void append_code_point(uint32_t c, std::string& out) {
    const auto tail = [&](unsigned shift) {
        out.push_back(static_cast<char>(0x80 | (c >> shift & 0x3f)));
    };
    if (c < 0x80) {
        out.push_back(static_cast<char>(c));
    } else if (c < 0x800) {
        out.push_back(static_cast<char>(0xc0 | c >> 6));
        tail(0);
    } else if (c < 0x10000) {
        out.push_back(static_cast<char>(0xe0 | c >> 12));
        tail(6);
        tail(0);
    } else {
        out.push_back(static_cast<char>(0xf0 | c >> 18));
        tail(12);
        tail(6);
        tail(0);
    }
}

} // namespace muster::preserves
