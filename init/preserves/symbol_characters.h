// Which characters may stand in a symbol without quotes (reference 1.4).
#pragma once

#include <cstdint>

namespace muster::preserves {

// By general category; REQUIRES: code_point >= 128.
bool may_stand_in_symbol(uint32_t code_point);

// The same for ASCII. The bar is one from Preserves 0.996.
inline bool is_bare_ascii(char c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
    switch (c) {
    case '~':
    case '!':
    case '$':
    case '%':
    case '^':
    case '&':
    case '*':
    case '?':
    case '_':
    case '=':
    case '+':
    case '-':
    case '/':
    case '.':
        return true;
    default:
        return false;
    }
}

} // namespace muster::preserves
