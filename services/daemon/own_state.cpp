#include "services/daemon/own_state.h"

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

} // namespace muster::services
