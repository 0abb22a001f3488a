// FNV-1a, 64 bits: a hash that is the same in every run and every version, for names that must be.
// Source: draft-eastlake-fnv.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace muster {

inline uint64_t fnv1a(std::span<const uint8_t> bytes) {
    uint64_t hash = 0xcbf29ce484222325;
    for (uint8_t byte : bytes)
        hash = (hash ^ byte) * 0x100000001b3;
    return hash;
}

inline uint64_t fnv1a(std::string_view text) {
    auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    return fnv1a(std::span(bytes, text.size()));
}

} // namespace muster
