// A size as people write it: "65536", "64K", "64M", "64G", "64T".
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace muster {

// At most what fits into a signed number.
inline std::optional<uint64_t> byte_size(std::string_view text) {
    if (text.empty()) return {};
    size_t unit = std::string_view("KMGT").find(text.back());
    if (unit != std::string_view::npos) text.remove_suffix(1);
    if (text.empty() || text.size() > 15) return {};
    uint64_t bytes = 0;
    for (char c : text) {
        if (c < '0' || c > '9') return {};
        bytes = bytes * 10 + static_cast<uint64_t>(c - '0');
    }
    int shift = unit == std::string_view::npos ? 0 : static_cast<int>(10 * (unit + 1));
    if (bytes > (UINT64_MAX >> 1 >> shift)) return {};
    return bytes << shift;
}

} // namespace muster
