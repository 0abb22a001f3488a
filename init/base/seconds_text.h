// A time for people: "10 s", "4.2 s".
#pragma once

#include <cstdint>
#include <string>

namespace muster {

inline std::string seconds_text(uint64_t nanoseconds) {
    uint64_t tenths = (nanoseconds + 50'000'000) / 100'000'000;
    std::string text = std::to_string(tenths / 10);
    if (tenths % 10 != 0) text += "." + std::to_string(tenths % 10);
    return text + " s";
}

} // namespace muster
