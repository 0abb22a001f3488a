// Where a packet ends, without reading it twice: a peer may send a large packet in small pieces,
// and reading it from its start for each piece would cost the square of its size.
//
// Looks at each byte once and knows only what it takes to see the end: lengths and nesting in the
// binary syntax; brackets, quotes and comments in the text syntax. Whether the packet is sound it
// does not know: where it may not be, `find` says yes, and the reader says what is wrong.
#pragma once

#include <cstdint>

#include "init/preserves/value.h"

namespace muster::protocol {

class PacketEnd {
  public:
    // Whether the packet at the beginning of `input` may be whole, or wrong. REQUIRES: if it said
    // no before and `restart` was not called, that `input` has grown and is the same otherwise.
    bool find(preserves::Bytes input, bool text);
    // Whether it has looked at a packet since it was made or restarted.
    bool begun() const { return at_ > 0 || found_; }
    void restart() {
        if (begun()) *this = PacketEnd();
    }

  private:
    enum class In : uint8_t { nothing, word, hash, hex, comment, string, symbol };

    bool find_binary(preserves::Bytes input);
    bool find_text(preserves::Bytes input);
    bool step_text(uint8_t byte);
    bool step_outside(uint8_t byte);
    bool value_done() { return depth_ == 0 && --owed_ == 0; }

    size_t at_ = 0;    // what is before has been looked at; beyond the end: a length leads there
    size_t depth_ = 0; // compounds that are open
    size_t owed_ = 1;  // values to come outside of these: an annotation needs one more
    In in_ = In::nothing;
    bool escaped_ = false; // in a string or symbol, behind a backslash
    bool found_ = false;
};

} // namespace muster::protocol
