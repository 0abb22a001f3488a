#include "services/tracker/mirror.h"

#include <utility>

#include "init/dataspace/pattern.h"
#include "services/tracker/service.h"

namespace muster::services {

using dataspace::CapRef;
using dataspace::Turn;
namespace pat = dataspace::pattern;

namespace {

static_assert(sizeof(Handle) == sizeof(void*));

// Copies each fact that it sees, without its capabilities. There are many: all that is kept of one
// is the handle of its copy, in the note on the assertion.
class Copier final : public dataspace::Entity {
  public:
    explicit Copier(CapRef status) : status_(std::move(status)) {}

    void on_assert(Turn& turn, const Value& captures, Handle handle) override {
        Handle copy = turn.assert_(status_, without_capabilities(captures.view().at(0)));
        turn.note(handle) = reinterpret_cast<void*>(copy);
    }
    void on_retract(Turn& turn, Handle handle) override {
        void*& note = turn.note(handle);
        turn.retract(reinterpret_cast<Handle>(std::exchange(note, nullptr)));
    }

  private:
    CapRef status_;
};

} // namespace

void mirror_facts(Turn& turn, const CapRef& config, const CapRef& machine, const CapRef& status) {
    auto copy = [&](const CapRef& from, const Value& pattern) {
        observe(turn, from, pat::bind(pattern), make_ref<Copier>(status));
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
