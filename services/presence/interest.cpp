#include "services/presence/interest.h"

#include "init/dataspace/pattern.h"

namespace muster::services {

using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

namespace {

// Scripts put a bind around a pattern, and so does a window (services/daemon/window.h).
constexpr int most_binds = 2;

} // namespace

void Interests::change(Turn& turn, View captures, int by) {
    auto label = captures.at(0).as_symbol();
    auto kind = label ? kinds_.find(std::string(*label)) : kinds_.end();
    if (kind == kinds_.end()) return;
    Kind& each = kind->second;
    Value zero = preserves::integer(0);
    Value first = pat::constant_value(captures.at(1).get(zero.view()));
    size_t& count = first.valid() ? each.counts[first] : each.open;
    size_t before = count;
    count += static_cast<size_t>(by);
    size_t after = count;
    if (after == 0 && first.valid()) each.counts.erase(first);
    if (before == 0) each.interest.begin(turn, first);
    if (after == 0) each.interest.end(turn, first);
}

void Interests::watch(Turn& turn, const dataspace::CapRef& space) {
    Value type = pat::record("rec", {pat::bind()});
    Value wanted = pat::record("group", {type, pat::bind()});
    for (int binds = 0; binds <= most_binds; ++binds) {
        observe(
            turn, space, pat::record("Observe", {wanted, pat::discard()}),
            [self = Ref<Interests>(this)](Turn& t, View seen) { self->change(t, seen, +1); },
            [self = Ref<Interests>(this)](Turn& t, View seen) { self->change(t, seen, -1); });
        wanted = pat::record("bind", {wanted});
    }
}

} // namespace muster::services
