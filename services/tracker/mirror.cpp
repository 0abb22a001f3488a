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
    // Sees whole facts, or, with a label, the two fields that count of those with that label.
    explicit Copier(CapRef status, std::string_view label = {})
        : status_(std::move(status)), label_(label) {}

    void on_assert(Turn& turn, const Value& captures, Handle handle) override {
        View seen = captures.view();
        Value fact = label_.empty() ? without_capabilities(seen.at(0))
                                    : preserves::record(label_, {without_capabilities(seen.at(0)),
                                                                 without_capabilities(seen.at(1))});
        Handle copy = turn.assert_(status_, fact);
        turn.note(handle) = reinterpret_cast<void*>(copy);
    }
    void on_retract(Turn& turn, Handle handle) override {
        void*& note = turn.note(handle);
        turn.retract(reinterpret_cast<Handle>(std::exchange(note, nullptr)));
    }

  private:
    CapRef status_;
    std::string_view label_;
};

} // namespace

void mirror_facts(Turn& turn, const CapRef& config, const CapRef& machine, const CapRef& status) {
    auto copy = [&](const CapRef& from, const Value& pattern) {
        observe(turn, from, pat::bind(pattern), make_ref<Copier>(status));
    };
    // As the tracker observes them, so what is captured is there once.
    auto copy_pairs = [&](std::string_view label) {
        observe(turn, config, pat::record(label, {pat::bind(), pat::bind()}),
                make_ref<Copier>(status, label));
    };
    Value any = pat::discard();
    copy(machine, pat::record("device", {any, any, any}));
    copy(machine, pat::record("interface", {any}));
    copy(machine, pat::record("route", {any}));
    copy(machine, pat::record("coldplug-complete", {any}));
    copy_pairs("service-state");
    copy(config, pat::record("ServiceRunning", {any}));
    copy(config, pat::record("config-error", {any}));
    copy_pairs("depends-on");
    copy(config, pat::record("boot-mode", {any}));
}

} // namespace muster::services
