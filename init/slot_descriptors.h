// Descriptors that init keeps for the processes in slots, over the death of the second stage: the
// other ends of their pipes.
//
// kSlotFds places for each slot, plain data in init's own state memfd. What was kept for an earlier
// generation of a slot is closed when something comes for a later one.
#pragma once

#include <cstdint>

#include "init/records.h"

namespace muster::pid1 {

class SlotDescriptors {
  public:
    // Takes ownership of the `named.count` descriptors on 0 only. -EINVAL: there is no such slot,
    // or a wrong number; -ENOSPC: too many for the slot.
    int store(const records::SlotFds& named, const int* fds);
    // Closes them. -ENOENT: there are none of that generation.
    int drop(std::uint32_t slot, std::uint32_t generation);

    struct Entry {
        records::SlotFds named;
        int fds[records::kSlotFds];
    };
    // The first entry that holds any at or after the slot `from`, or nullptr; sets `from` to it.
    const Entry* next(std::uint32_t& from) const;
    std::uint32_t slots() const { return slots_; } // that hold any

    // Close-on-exec for all of them, on or off. Async-signal-safe.
    void set_close_on_exec(bool on) const;

  private:
    Entry entries_[records::kSlots];
    std::uint32_t slots_;
    std::uint32_t high_; // nothing at or above it
};

} // namespace muster::pid1
