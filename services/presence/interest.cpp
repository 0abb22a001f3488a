#include "services/presence/interest.h"

#include <memory>
#include <unordered_map>

#include "init/dataspace/pattern.h"

namespace muster::services {

using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

namespace {

// Scripts put a bind around a pattern, and so does a window (services/daemon/window.h).
constexpr int most_binds = 3;

struct Watched {
    Interest interest;
    std::unordered_map<Value, size_t, preserves::ValueHash, preserves::ValueEqual> counts;
    size_t open = 0; // of those who name no first field

    void change(Turn& turn, View entries, int by) {
        Value zero = preserves::integer(0);
        Value first = pat::constant_value(entries.get(zero.view()));
        size_t& count = first.valid() ? counts[first] : open;
        size_t before = count;
        count += static_cast<size_t>(by);
        size_t after = count;
        if (after == 0 && first.valid()) counts.erase(first);
        if (before == 0) interest.begin(turn, first);
        if (after == 0) interest.end(turn, first);
    }
};

} // namespace

void watch_interest(Turn& turn, const dataspace::CapRef& space, std::string_view label,
                    Interest interest) {
    auto watched = std::make_shared<Watched>();
    watched->interest = std::move(interest);
    Value type = pat::record("rec", {pat::literal(preserves::symbol(label))});
    Value wanted = pat::record("group", {type, pat::bind()});
    for (int binds = 0; binds <= most_binds; ++binds) {
        observe(
            turn, space, pat::record("Observe", {wanted, pat::discard()}),
            [watched](Turn& t, View seen) { watched->change(t, seen.at(0), +1); },
            [watched](Turn& t, View seen) { watched->change(t, seen.at(0), -1); });
        wanted = pat::record("bind", {wanted});
    }
}

} // namespace muster::services
