// When a service came up, as `$status` tells it: microseconds of CLOCK_MONOTONIC, which counts from
// the kernel's start and means the same in every process of the machine.
//
// A *rise* begins when a service is wanted that was not, or waits again although it was up or on
// its way, and ends when it is up:
//   demanded   it was wanted; from here to `ready` is what somebody who needs it waits
//   starting   nothing stood in its way any more; from here to `ready` is its own part. Starts that
//              failed on the way are part of it; a restart of what was up begins anew here
//   ready      it was up
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "init/preserves/encoder.h"

namespace muster::services {

struct Rise {
    uint64_t demanded = 0; // 0: not yet, as for the others
    uint64_t starting = 0;
    uint64_t ready = 0;
};

class Times {
  public:
    // Its state, in the words that people see (tracker.h), is `word` since `now`.
    // REQUIRES: `word` is a constant.
    void became(std::string_view word, uint64_t now);
    std::string_view word() const { return word_; }

    // Appends keys and values to an open dictionary: `since` of the word; `rise`, a record
    // `<rise DEMANDED STARTING READY>`, of the last one; `first-rise` if another was the first.
    void encode(preserves::Encoder& out) const;

  private:
    friend class KeptTimes;
    std::string_view word_;
    uint64_t since_ = 0;
    Rise rise_;
    Rise first_; // complete, or none
};

} // namespace muster::services
