#include "services/daemon/window.h"

#include <deque>
#include <string>
#include <unordered_map>
#include <utility>

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

Value error(const std::string& problem) {
    return preserves::record("error", {preserves::string(problem), preserves::boolean(false)});
}

// Who waits for its turn: an observer, or one that wants to know when those before it were served.
struct Waiting {
    Handle handle; // of the observation
    CapRef peer;
    Value pattern; // invalid: a sync
};

// One actor that looks.
struct Looker final : public Counted {
    explicit Looker(size_t most) : max_bytes(most) {}
    const size_t max_bytes;
    size_t bytes = 0;        // that it sees
    size_t observations = 0; // that live, waiting ones included
    bool filling = false;    // an observer is being told what there is
    std::deque<Waiting> waiting;
};

// Stands between the dataspace and one observer. The dataspace gives it the whole of what matches,
// then what the observer's own pattern captures; the whole is looked at and left out.
class Pane final : public dataspace::Entity {
  public:
    Pane(CapRef observer, Ref<Looker> looker)
        : observer_(std::move(observer)), looker_(std::move(looker)) {}

    void on_assert(Turn& turn, const Value& seen, Handle handle) override {
        View all = seen;
        if (hidden(all.at(0))) return;
        const size_t size = all.bytes().size();
        if (size > looker_->max_bytes - looker_->bytes) return give_up(turn);
        looker_->bytes += size;
        bytes_ += size;
        Value captures = without_first(all);
        // What several assertions give is one assertion to the observer.
        Copies& copies = copies_[captures];
        if (copies.count++ == 0) copies.handle = turn.assert_(observer_, captures);
        seen_[handle] = {captures, size};
    }
    void on_retract(Turn& turn, Handle handle) override {
        auto seen = seen_.find(handle);
        if (seen == seen_.end()) return;
        looker_->bytes -= seen->second.size;
        bytes_ -= seen->second.size;
        auto copies = copies_.find(seen->second.captures);
        seen_.erase(seen);
        if (--copies->second.count > 0) return;
        turn.retract(copies->second.handle);
        copies_.erase(copies);
    }
    void on_message(Turn& turn, const Value& seen) override {
        View all = seen;
        if (hidden(all.at(0))) return;
        if (all.bytes().size() > looker_->max_bytes) return give_up(turn);
        turn.message(observer_, without_first(all));
    }
    // What it saw counts until the observation is over, also if it has given up: otherwise the
    // next would begin to see as much.
    void over() { looker_->bytes -= std::exchange(bytes_, 0); }

  private:
    struct Copies {
        size_t count = 0;
        Handle handle = 0;
    };
    struct Seen {
        Value captures;
        size_t size;
    };

    void give_up(Turn& turn) {
        turn.message(observer_, error("too much to look at: more than " +
                                      std::to_string(looker_->max_bytes) + " bytes"));
        turn.stop_current();
    }
    // There is no capability in it. In one piece: finding each item anew takes long if there are
    // many large ones.
    static Value without_first(View all) {
        const preserves::Bytes bytes = all.bytes();
        const preserves::Bytes first = all.at(0).bytes();
        const uint8_t* rest = first.data() + first.size();
        const uint8_t* end = bytes.data() + bytes.size() - 1;
        return preserves::sequence_of_run(View(preserves::Bytes(rest, end), false));
    }

    CapRef observer_;
    Ref<Looker> looker_;
    size_t bytes_ = 0; // of those of the looker
    std::unordered_map<Value, Copies, preserves::ValueHash, preserves::ValueEqual> copies_;
    std::unordered_map<Handle, Seen> seen_;
};

class Window final : public dataspace::Entity {
  public:
    Window(CapRef space, size_t max_bytes) : space_(std::move(space)), max_bytes_(max_bytes) {}

    void on_assert(Turn& turn, const Value& value, Handle handle) override {
        View observe = value;
        if (!observe.is_record("Observe", 2)) return;
        CapRef observer = dataspace::cap_of(observe.at(1));
        if (!observer) return;
        auto pattern = dataspace::Pattern::parse(observe.at(0));
        if (!pattern) return;
        if (pattern->captures.size() > max_window_binds) {
            turn.message(observer, error("too many binds in a pattern: more than " +
                                         std::to_string(max_window_binds)));
            return;
        }
        Ref<Looker>& looker = lookers_[&observer->actor()];
        if (!looker) looker = make_ref<Looker>(max_bytes_);
        ++looker->observations;
        observations_[handle] = {&observer->actor(), observer, {}, {}};
        looker->waiting.push_back({handle, observer, pat::bind(observe.at(0))});
        go_on(turn, &observer->actor());
    }
    void on_retract(Turn& turn, Handle handle) override {
        auto found = observations_.find(handle);
        if (found == observations_.end()) return;
        Observation over = std::move(found->second);
        observations_.erase(found);
        Looker& looker = *lookers_[over.actor];
        --looker.observations;
        std::erase_if(looker.waiting, [&](const Waiting& each) { return each.handle == handle; });
        if (over.pane) {
            over.pane->over();
            turn.stop(*over.facet);
        }
        go_on(turn, over.actor);
    }
    void on_sync(Turn& turn, const CapRef& peer) override {
        auto looker = lookers_.find(&peer->actor());
        if (looker == lookers_.end()) return Entity::on_sync(turn, peer);
        looker->second->waiting.push_back({0, peer, {}});
        go_on(turn, &peer->actor());
    }
    // Panes hold observers, which may hold this.
    void forget() {
        observations_.clear();
        lookers_.clear();
    }

  private:
    struct Observation {
        const dataspace::Actor* actor;
        CapRef observer; // keeps the actor's address its own
        Ref<Pane> pane;  // null: it waits
        Ref<Facet> facet;
    };

    // Serves those who wait, until one has to be told what there is.
    void go_on(Turn& turn, const dataspace::Actor* actor) {
        Ref<Looker> looker = lookers_[actor];
        while (!looker->filling && !looker->waiting.empty()) {
            Waiting next = std::move(looker->waiting.front());
            looker->waiting.pop_front();
            if (!next.pattern.valid()) {
                Entity::on_sync(turn, next.peer);
                continue;
            }
            auto pane = make_ref<Pane>(next.peer, looker);
            Observation& observation = observations_[next.handle];
            observation.pane = pane;
            observation.facet = turn.facet(
                [&](Turn& inner) { dataspace::observe(inner, space_, next.pattern, pane); });
            looker->filling = true;
            turn.sync(space_, [self = Ref<Window>(this), actor, looker](Turn& now) {
                looker->filling = false;
                self->go_on(now, actor);
            });
        }
        if (!looker->filling && looker->observations == 0) lookers_.erase(actor);
    }

    CapRef space_;
    const size_t max_bytes_;
    std::unordered_map<const dataspace::Actor*, Ref<Looker>> lookers_;
    std::unordered_map<Handle, Observation> observations_;
};

} // namespace

CapRef spawn_window(Turn& turn, const CapRef& space, size_t max_bytes) {
    auto window = make_ref<Window>(space, max_bytes);
    auto keep = std::make_shared<dataspace::KeepAlive>();
    Ref<dataspace::Actor> actor = turn.spawn("window", [keep, window](Turn& inner) {
        *keep = dataspace::KeepAlive(Ref<Facet>(&inner.current()));
        inner.current().actor().on_forget([keep, window] {
            *keep = {};
            window->forget();
        });
    });
    return make_ref<dataspace::Cap>(Ref<Facet>(&actor->root()), window);
}

} // namespace muster::services
