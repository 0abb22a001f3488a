// What had set off triggers (triggers.h) in a second stage before us: a memfd that init keeps, with
// a number for each match that is there. It is made when there is a first match.
//
//   from before --it came, while what is from before is adopted--> there --it left--> free
//       |
//       | the time of adopting is over: it went while nobody looked
//       v
//      free
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "init/base/fd.h"
#include "init/base/fd_keeper.h"
#include "init/base/result.h"

namespace muster::services {

class KeptMatches {
  public:
    static constexpr const char* kept_name = "matches";

    explicit KeptMatches(FdKeeper keeper) : keeper_(std::move(keeper)) {}
    // What a predecessor had, if there is one. `settling`: whether what is from before is being
    // adopted still. ERRORS: it cannot be read; then nothing is from before.
    Result<> take_over(std::function<bool()> settling);

    // It is there, once more. Whether it was there in a second stage before us. Without room it is
    // only not remembered.
    bool came(uint64_t match);
    void left(uint64_t match);

  private:
    struct Place {
        size_t number = 0; // in the memory, from 1; 0: none
        size_t times = 0;  // that it is there; 0: it is from before
    };
    bool make_memory();
    size_t room();
    void write(size_t number, uint64_t match);
    void forget_what_is_from_before();

    FdKeeper keeper_;
    std::function<bool()> settling_;
    Fd memory_;
    size_t used_ = 0; // numbers that ever were
    std::unordered_map<uint64_t, Place> places_;
    std::vector<size_t> free_;
};

} // namespace muster::services
