#include "services/daemon/window.h"

#include <unordered_map>

#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"

namespace muster::services {

using dataspace::CapRef;
using dataspace::Facet;
using dataspace::Handle;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

namespace {

bool hidden(View value) {
    bool capability = false;
    preserves::for_each_embedded(value, [&](preserves::Embedded&) { capability = true; });
    return capability || value.label().is_symbol("Observe");
}

// Stands between the dataspace and one observer. The dataspace gives it the whole of what matches,
// then what the observer's own pattern captures; the whole is looked at and left out.
class Pane final : public dataspace::Entity {
  public:
    explicit Pane(CapRef observer) : observer_(std::move(observer)) {}

    void on_assert(Turn& turn, const Value& seen, Handle handle) override {
        View all = seen;
        if (hidden(all.at(0))) return;
        Value captures = without_first(all);
        // What several assertions give is one assertion to the observer.
        Copies& copies = copies_[captures];
        if (copies.count++ == 0) copies.handle = turn.assert_(observer_, captures);
        captures_[handle] = captures;
    }
    void on_retract(Turn& turn, Handle handle) override {
        auto seen = captures_.find(handle);
        if (seen == captures_.end()) return;
        auto copies = copies_.find(seen->second);
        captures_.erase(seen);
        if (--copies->second.count > 0) return;
        turn.retract(copies->second.handle);
        copies_.erase(copies);
    }
    void on_message(Turn& turn, const Value& seen) override {
        View all = seen;
        if (!hidden(all.at(0))) turn.message(observer_, without_first(all));
    }

  private:
    struct Copies {
        size_t count = 0;
        Handle handle = 0;
    };

    static Value without_first(View all) {
        preserves::Encoder out;
        out.begin_sequence();
        for (size_t i = 1; i < all.count(); ++i)
            out.value(all.at(i));
        out.end();
        return *out.finish();
    }

    CapRef observer_;
    std::unordered_map<Value, Copies, preserves::ValueHash, preserves::ValueEqual> copies_;
    std::unordered_map<Handle, Value> captures_;
};

class Window final : public dataspace::Entity {
  public:
    explicit Window(CapRef space) : space_(std::move(space)) {}

    void on_assert(Turn& turn, const Value& value, Handle handle) override {
        View observe = value;
        if (!observe.is_record("Observe", 2)) return;
        CapRef observer = dataspace::cap_of(observe.at(1));
        if (!observer || !dataspace::Pattern::parse(observe.at(0))) return;
        Value pattern = pat::bind(observe.at(0));
        panes_[handle] = turn.facet([&](Turn& inner) {
            dataspace::observe(inner, space_, pattern, make_ref<Pane>(observer));
        });
    }
    void on_retract(Turn& turn, Handle handle) override {
        auto pane = panes_.find(handle);
        if (pane == panes_.end()) return;
        turn.stop(*pane->second);
        panes_.erase(pane);
    }

  private:
    CapRef space_;
    std::unordered_map<Handle, Ref<Facet>> panes_;
};

} // namespace

CapRef spawn_window(Turn& turn, const CapRef& space) {
    auto window = make_ref<Window>(space);
    auto keep = std::make_shared<dataspace::KeepAlive>();
    Ref<dataspace::Actor> actor = turn.spawn("window", [keep](Turn& inner) {
        *keep = dataspace::KeepAlive(Ref<Facet>(&inner.current()));
        inner.current().actor().on_forget([keep] { *keep = {}; });
    });
    return make_ref<dataspace::Cap>(Ref<Facet>(&actor->root()), window);
}

} // namespace muster::services
