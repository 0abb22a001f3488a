#include "services/muster/templates.h"

#include "init/dataspace/pattern.h"

namespace muster::command {

using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

Result<bool> has_template(Bus& bus, const Value& service) {
    Value zero = preserves::integer(0);
    for (std::string_view label : {"require-service", "run-service"}) {
        Value type = pat::record("rec", {pat::literal(preserves::symbol(label))});
        auto found = bus.query(
            {"config"},
            pat::record("Observe", {pat::record("group", {type, pat::discard()}), pat::discard()}));
        if (!found) return found.error();
        for (const Value& each : *found) {
            View wanted = each.view().at(0).at(1).get(zero.view());
            while (wanted.is_record("bind", 1))
                wanted = wanted.at(0);
            // A kind of service and something in it: `<daemon <getty …>>`, not `<daemon …>`.
            if (!wanted.is_record("group", 2)) continue;
            View inner = wanted.at(1).get(zero.view());
            while (inner.is_record("bind", 1))
                inner = inner.at(0);
            if (!inner.is_record("group", 2) && !inner.is_record("lit", 1)) continue;
            auto pattern = dataspace::Pattern::parse(wanted);
            if (pattern && pattern->matches(service)) return true;
        }
    }
    return false;
}

} // namespace muster::command
