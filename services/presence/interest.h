// Who in a dataspace looks for facts of one kind, and for which of them.
#pragma once

#include <functional>
#include <string_view>

#include "init/dataspace/dataspace.h"

namespace muster::services {

struct Interest {
    // `first`: the constant that stands in the first field of the pattern; invalid if there is
    // none.
    std::function<void(dataspace::Turn&, const preserves::Value& first)> begin;
    std::function<void(dataspace::Turn&, const preserves::Value& first)> end;
};

// Calls `begin` when the first observer of `<LABEL FIRST …>` has come to `space`, and `end` when
// the last one has gone, in turns of the current facet and for as long as it lives.
void watch_interest(dataspace::Turn& turn, const dataspace::CapRef& space, std::string_view label,
                    Interest interest);

} // namespace muster::services
