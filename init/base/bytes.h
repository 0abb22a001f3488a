// Copying and comparing a few bytes. Most values and packets are so small that calling memcpy or
// memcmp costs more than what they do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace muster {

// REQUIRES: the ranges do not overlap.
inline void copy_bytes(uint8_t* to, const uint8_t* from, size_t count) {
    // Two blocks that overlap cover every size between one block and two.
    auto two = [&](auto block) {
        constexpr size_t size = sizeof block;
        std::memcpy(&block, from, size);
        auto last = block;
        std::memcpy(&last, from + count - size, size);
        std::memcpy(to, &block, size);
        std::memcpy(to + count - size, &last, size);
    };
    struct Sixteen {
        uint64_t words[2];
    };
    struct ThirtyTwo {
        uint64_t words[4];
    };
    if (count > 64)
        std::memcpy(to, from, count);
    else if (count >= 32)
        two(ThirtyTwo{});
    else if (count >= 16)
        two(Sixteen{});
    else if (count >= 8)
        two(uint64_t{});
    else if (count >= 4)
        two(uint32_t{});
    else
        for (size_t i = 0; i < count; ++i)
            to[i] = from[i];
}

inline bool equal_bytes(const uint8_t* a, const uint8_t* b, size_t count) {
    auto differ = [&](auto x, size_t at) {
        auto y = x;
        std::memcpy(&x, a + at, sizeof x);
        std::memcpy(&y, b + at, sizeof y);
        return x != y;
    };
    if (count > 32) return std::memcmp(a, b, count) == 0;
    if (count >= 8) {
        for (size_t i = 0; i + 8 < count; i += 8)
            if (differ(uint64_t{}, i)) return false;
        return !differ(uint64_t{}, count - 8);
    }
    if (count >= 4) return !differ(uint32_t{}, 0) && !differ(uint32_t{}, count - 4);
    for (size_t i = 0; i < count; ++i)
        if (a[i] != b[i]) return false;
    return true;
}

} // namespace muster
