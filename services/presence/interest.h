// Who in a dataspace looks for facts of which kinds, and for which of them.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <utility>

#include "init/dataspace/dataspace.h"

namespace muster::services {

struct Interest {
    // `first`: the constant that stands in the first field of the pattern; invalid if there is
    // none.
    std::function<void(dataspace::Turn&, const preserves::Value& first)> begin;
    std::function<void(dataspace::Turn&, const preserves::Value& first)> end;
};

class Interests : public Counted {
  public:
    // `begin` is called when the first observer of `<LABEL FIRST …>` has come, `end` when the last
    // one has gone. Before `watch`.
    void add(std::string label, Interest interest) {
        kinds_[std::move(label)].interest = std::move(interest);
    }
    // Looks for observers in `space`, in turns of the current facet and for as long as it lives.
    void watch(dataspace::Turn& turn, const dataspace::CapRef& space);

  private:
    struct Kind {
        Interest interest;
        std::unordered_map<preserves::Value, size_t, preserves::ValueHash, preserves::ValueEqual>
            counts;
        size_t open = 0; // of those who name no first field
    };
    void change(dataspace::Turn& turn, preserves::View captures, int by);

    std::unordered_map<std::string, Kind> kinds_;
};

} // namespace muster::services
