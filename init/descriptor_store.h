// Descriptors that init keeps for its second stage over that one's death, by name.
//
// kStoredFds places, plain data in init's own state memfd: the numbers stay valid when init
// executes itself again. A full store refuses; nothing is ever evicted.
#pragma once

#include <cstdint>

#include "init/records.h"

namespace muster::pid1 {

class DescriptorStore {
  public:
    // Takes ownership of `fd` on 0 only. -EEXIST: the name is taken; -ENOSPC: full; -EINVAL: the
    // name is empty or not ended within its field.
    int store(const char (&name)[records::kFdNameSize], int fd);
    // Closes it. -ENOENT: there is none of that name; -EINVAL as above.
    int drop(const char (&name)[records::kFdNameSize]);

    std::uint32_t count() const { return count_; }

    struct Entry {
        int fd; // valid if used
        bool used;
        char name[records::kFdNameSize];
    };
    // The first used entry at or after `from`, or nullptr; sets `from` to its place.
    const Entry* next(std::uint32_t& from) const;

    // Close-on-exec for all of them, on or off. Async-signal-safe.
    void set_close_on_exec(bool on) const;

  private:
    Entry* find(const char (&name)[records::kFdNameSize]);

    Entry entries_[records::kStoredFds];
    std::uint32_t count_;
    std::uint32_t high_; // no used entry at or above it
};

} // namespace muster::pid1
