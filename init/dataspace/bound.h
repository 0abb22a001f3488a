// Bounds beyond which something is dropped that its sender cannot be blamed for: what others put
// between it and the receiver (caveats), or asked for (patterns), makes too much of it. So nobody
// is closed; it is said, once for each actor and bound (Engine::exceeded).
#pragma once

#include <cstdint>

namespace muster::dataspace {

enum class Bound : uint8_t {
    // Of what is sent through a capability with caveats; of the actor that sent it.
    rewritten_size,
    rewritten_depth,
    rewritten_caveats,
    caveat_looks,
    // Of what a pattern captures, and of the pattern itself; of the actor that observes.
    captures,
    pattern,
};

// What was dropped, and beyond which bound.
const char* to_string(Bound bound);

} // namespace muster::dataspace
