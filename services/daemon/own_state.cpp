#include "services/daemon/own_state.h"

#include "init/dataspace/caveat.h"
#include "init/preserves/text_writer.h"

namespace muster::services {

using preserves::Value;

void OwnState::on_assert(dataspace::Turn& turn, const Value& value, dataspace::Handle handle) {
    preserves::View view = value;
    if (view.is_record("service-state", 2) && view.count() == 2 && view.at(0) == service_.view()) {
        passed_[handle] = turn.assert_(config_, value);
        return;
    }
    if (complain_)
        complain_(turn, "may only assert <service-state " + preserves::to_text(service_) +
                            " …> in its $config, not " + preserves::to_text(value));
    complain_ = nullptr;
}

void OwnState::on_retract(dataspace::Turn& turn, dataspace::Handle handle) {
    auto found = passed_.find(handle);
    if (found == passed_.end()) return;
    turn.retract(found->second);
    passed_.erase(found);
}

dataspace::CapRef read_only(const dataspace::CapRef& cap) {
    if (!cap) return {};
    Value any = preserves::record("_", {});
    Value pattern =
        preserves::record("rec", {preserves::symbol("Observe"), preserves::sequence({any, any})});
    Value caveat =
        preserves::record("rewrite", {preserves::record("bind", {pattern}),
                                      preserves::record("ref", {preserves::integer(0)})});
    auto caveats = dataspace::Caveats::join(cap->caveats(), preserves::sequence({caveat}));
    // Fails only if the capability had been narrowed as often as is allowed.
    return caveats ? cap->attenuate(*caveats) : dataspace::CapRef();
}

} // namespace muster::services
