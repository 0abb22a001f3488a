#include "services/tracker/mirror.h"

#include <memory>
#include <unordered_map>

#include "init/dataspace/pattern.h"
#include "services/tracker/service.h"

namespace muster::services {

using dataspace::CapRef;
using dataspace::Turn;
namespace pat = dataspace::pattern;

void mirror_facts(Turn& turn, const CapRef& config, const CapRef& machine, const CapRef& status) {
    using Copies = std::unordered_map<Value, Handle, preserves::ValueHash, preserves::ValueEqual>;
    auto copy = [&](const CapRef& from, Value pattern) {
        auto copies = std::make_shared<Copies>();
        observe(
            turn, from, pat::bind(pattern),
            [copies, status](Turn& t, View seen) {
                (*copies)[Value(seen.at(0))] = t.assert_(status, without_capabilities(seen.at(0)));
            },
            [copies](Turn& t, View seen) {
                auto found = copies->find(Value(seen.at(0)));
                if (found == copies->end()) return;
                t.retract(found->second);
                copies->erase(found);
            });
    };
    Value any = pat::discard();
    copy(machine, pat::record("device", {any, any, any}));
    copy(machine, pat::record("interface", {any}));
    copy(machine, pat::record("route", {any}));
    copy(machine, pat::record("coldplug-complete", {any}));
    copy(config, pat::record("service-state", {any, any}));
    copy(config, pat::record("ServiceRunning", {any}));
    copy(config, pat::record("config-error", {any}));
    copy(config, pat::record("depends-on", {any, any}));
    copy(config, pat::record("boot-mode", {any}));
}

} // namespace muster::services
