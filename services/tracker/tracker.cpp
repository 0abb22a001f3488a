#include "services/tracker/tracker.h"

#include "init/base/rfc3339.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"
#include "services/tracker/cycle_reports.h"
#include "services/tracker/mirror.h"
#include "services/tracker/overrides.h"
#include "services/tracker/service.h"

namespace muster::services {

using dataspace::CapRef;
using dataspace::Turn;
namespace pat = dataspace::pattern;

namespace {

// How many times the tracker goes through the dataspace before it acts: each is one step of a rule
// in a script that may still draw its conclusion.
constexpr int settle_rounds = 8;

// How many times a service that changes while it is about to be judged is left for the next time.
// One that never comes to rest is judged as it is then.
constexpr int max_postponed = 8;

} // namespace

class Tracker final : public Counted {
  public:
    explicit Tracker(TrackerSpaces spaces) : spaces_(std::move(spaces)) {}

    void boot(Turn& turn);
    void stop_all(Turn& turn, std::function<void()> stopped);
    Ref<dataspace::Facet> facet() const { return facet_; }

  private:
    template <typename T>
    using ByValue = std::unordered_map<Value, T, preserves::ValueHash, preserves::ValueEqual>;

    Service& service(View name);
    Service* known(View name);
    // Its status and ServiceRunning are brought up to date when the turn ends.
    void touch(Turn& turn, Service& service);
    void schedule_finish(Turn& turn);
    // It is judged when the world is at rest.
    void mark(Turn& turn, Service& service);
    void mark_dependents(Turn& turn, View name);
    // Whether a dependency of `service` is there; has it counted.
    void reconsider(Service& service, const Value& dependee, Dependency& dependency);
    // While the system goes down: what it depended on may go when it has gone.
    void mark_dependencies_at_the_end(Turn& turn, Service& service);

    void observe_demands(Turn& turn);
    void observe_services(Turn& turn);
    void observe_commands(Turn& turn);
    void demand(Turn& turn, View name, int change);
    Value name_meant(Turn& turn, View name);
    void restart(Turn& turn, View name);
    void set_override(Turn& turn, View name, bool up, bool down, bool save);
    void add_dependency(Turn& turn, View depender, View dependee);
    void remove_dependency(Turn& turn, View depender, View dependee);

    void settle(Turn& turn);
    void judge(Turn& turn, Service& service);
    void activate(Turn& turn, const Service& service, const Value& dependee,
                  Dependency& dependency);
    void deactivate(Turn& turn, Dependency& dependency);
    bool satisfied(const Dependency& dependency) const;
    bool has_active_dependents(View name) const;
    void find_cycles(Turn& turn);
    void finish_turn(Turn& turn);
    void update_mirror(Turn& turn, Service& service);
    void check_all_stopped(Turn& turn);
    void log(Turn& turn, const std::string& line);

    TrackerSpaces spaces_;
    Ref<dataspace::Facet> facet_;
    ServiceTable services_;
    // Who depends on a service, and by which dependees.
    ByValue<ByValue<std::vector<Value>>> dependents_;
    std::vector<Value> dirty_;    // to be judged after the next settling
    std::vector<Value> settling_; // being settled
    std::vector<Value> touched_;
    int rounds_left_ = 0;
    bool finish_scheduled_ = false;
    bool cycles_may_have_changed_ = false;
    CycleReports cycles_;
    bool shutting_down_ = false;
    bool all_at_once_ = false; // no order is left to go by
    std::function<void()> stopped_;
};

Service& Tracker::service(View name) {
    auto found = services_.find(name);
    if (found == services_.end()) {
        found = services_.emplace(Value(name), Service()).first;
        found->second.name = found->first;
    }
    return found->second;
}

Service* Tracker::known(View name) {
    auto found = services_.find(name);
    return found == services_.end() ? nullptr : &found->second;
}

void Tracker::touch(Turn& turn, Service& service) {
    if (!service.touched) touched_.push_back(service.name);
    service.touched = true;
    schedule_finish(turn);
}

void Tracker::schedule_finish(Turn& turn) {
    if (finish_scheduled_) return;
    finish_scheduled_ = true;
    turn.before_commit([self = Ref<Tracker>(this)](Turn& t) { self->finish_turn(t); });
}

void Tracker::mark(Turn& turn, Service& service) {
    touch(turn, service);
    if (!service.dirty) dirty_.push_back(service.name);
    service.dirty = true;
}

void Tracker::mark_dependents(Turn& turn, View name) {
    auto found = dependents_.find(name);
    if (found == dependents_.end()) return;
    // Their status is told when they are judged: who waits for thousands is not described anew for
    // each of them.
    for (const auto& [dependent, dependees] : found->second) {
        Service* each = known(dependent);
        if (!each) continue;
        for (const Value& dependee : dependees)
            if (auto one = each->dependencies.find(dependee); one != each->dependencies.end())
                reconsider(*each, dependee, one->second);
        if (each->dirty) continue;
        each->dirty = true;
        dirty_.push_back(each->name);
    }
    schedule_finish(turn);
}

void Tracker::reconsider(Service& service, const Value& dependee, Dependency& dependency) {
    dependency.met = satisfied(dependency);
    if (dependency.met)
        service.missing.erase(dependee);
    else if (service.missing.insert(dependee).second)
        service.missing_grew = true;
}

void Tracker::mark_dependencies_at_the_end(Turn& turn, Service& service) {
    if (!shutting_down_) return;
    mark(turn, service);
    for (const auto& [dependee, dependency] : service.dependencies)
        if (Service* other = known(dependency.service)) mark(turn, *other);
}

void Tracker::boot(Turn& turn) {
    facet_ = Ref<dataspace::Facet>(&turn.current());
    observe_demands(turn);
    observe_services(turn);
    observe_commands(turn);
    mirror_facts(turn, spaces_.config, spaces_.machine, spaces_.status);
    if (spaces_.overrides_path.empty()) return;
    std::vector<std::string> remarks;
    for (const Override& each : load_overrides(spaces_.overrides_path, remarks))
        set_override(turn, each.service, each.up, !each.up, false);
    for (const std::string& remark : remarks)
        log(turn, remark);
}

void Tracker::observe_demands(Turn& turn) {
    Ref<Tracker> self(this);
    observe(
        turn, spaces_.config, pat::record("RequireService", {pat::bind()}),
        [self](Turn& t, View seen) { self->demand(t, seen.at(0), +1); },
        [self](Turn& t, View seen) { self->demand(t, seen.at(0), -1); });
    auto interest = [self](int change) {
        return [self, change](Turn& t, View seen) {
            Value name = service_of_interest(seen.at(0));
            if (name.valid()) self->demand(t, name, change);
        };
    };
    observe(turn, spaces_.config, pat::record("Observe", {pat::bind(), pat::discard()}),
            interest(+1), interest(-1));
    auto need = [self](bool needed) {
        return [self, needed](Turn& t, View seen) {
            Service& service = self->service(seen.at(0));
            service.needed = needed;
            self->mark(t, service);
        };
    };
    observe(turn, spaces_.config, pat::record("require-service", {pat::bind()}), need(true),
            need(false));
    observe(
        turn, spaces_.config, pat::record("depends-on", {pat::bind(), pat::bind()}),
        [self](Turn& t, View seen) { self->add_dependency(t, seen.at(0), seen.at(1)); },
        [self](Turn& t, View seen) { self->remove_dependency(t, seen.at(0), seen.at(1)); });
}

void Tracker::observe_services(Turn& turn) {
    Ref<Tracker> self(this);
    auto state = [self](bool present) {
        return [self, present](Turn& t, View seen) {
            Service& service = self->service(seen.at(0));
            if (present)
                service.states.emplace(Value(seen.at(1)), 1);
            else
                service.states.erase(Value(seen.at(1)));
            self->touch(t, service);
            self->mark_dependents(t, seen.at(0));
            self->mark_dependencies_at_the_end(t, service);
        };
    };
    observe(turn, spaces_.config, pat::record("service-state", {pat::bind(), pat::bind()}),
            state(true), state(false));
    auto definition = [self](bool present) {
        return [self, present](Turn& t, View seen) {
            Service& service = self->service(preserves::record("daemon", {seen.at(0)}));
            service.defined = present;
            self->mark(t, service);
        };
    };
    observe(turn, spaces_.config, pat::record("daemon", {pat::bind(), pat::discard()}),
            definition(true), definition(false));
    observe(
        turn, spaces_.config, pat::record("daemon-status", {pat::bind(), pat::bind()}),
        [self](Turn& t, View seen) {
            Service& service = self->service(preserves::record("daemon", {seen.at(0)}));
            service.detail = Value(seen.at(1));
            self->touch(t, service);
        },
        [self](Turn& t, View seen) {
            Service& service = self->service(preserves::record("daemon", {seen.at(0)}));
            if (service.detail.valid() && service.detail.view() == seen.at(1))
                service.detail = Value();
            self->touch(t, service);
            self->mark_dependencies_at_the_end(t, service);
        });
}

void Tracker::observe_commands(Turn& turn) {
    Ref<Tracker> self(this);
    auto command = [&](std::string_view label, bool up, bool down) {
        on_message(turn, spaces_.config, pat::record(label, {pat::bind()}),
                   [self, up, down](Turn& t, View seen) {
                       Value name = self->name_meant(t, seen.at(0));
                       if (name.valid()) self->set_override(t, name, up, down, true);
                   });
    };
    command("start-service", true, false);
    command("stop-service", false, true);
    command("release-service", false, false);
    on_message(turn, spaces_.config, pat::record("restart-service", {pat::bind()}),
               [self](Turn& t, View seen) { self->restart(t, seen.at(0)); });
}

// The service that a command names. Who knows it from the mirror only cannot write its
// capabilities: that name will do if it is the name of one. Invalid if it could be several.
Value Tracker::name_meant(Turn& turn, View name) {
    if (services_.count(name)) return Value(name);
    Value meant;
    for (const auto& [real, each] : services_) {
        if (!real.has_embedded() || !(without_capabilities(real) == name)) continue;
        if (meant.valid()) {
            log(turn, preserves::to_text(name) + " is the name of several services, which differ "
                                                 "in their capabilities only: nothing was done");
            return {};
        }
        meant = real;
    }
    return meant.valid() ? meant : Value(name);
}

// What is no daemon is run by somebody who watches `<run-service S>`: for a moment it is not
// wanted. Daemons have a supervisor of their own, which does this; a milestone is nothing that
// could run.
void Tracker::restart(Turn& turn, View name) {
    Service* each = known(name_meant(turn, name));
    if (!each || !each->run || each->is_daemon() || each->is_milestone() || shutting_down_) return;
    turn.retract(each->run);
    each->run = turn.assert_(spaces_.config, preserves::record("run-service", {each->name}));
}

void Tracker::demand(Turn& turn, View name, int change) {
    Service& each = service(name);
    each.demands += static_cast<size_t>(change);
    if (each.demands > 0 && each.demand == 0) {
        each.demand = turn.assert_(spaces_.config, preserves::record("require-service", {name}));
    } else if (each.demands == 0) {
        turn.retract(std::exchange(each.demand, 0));
    }
    touch(turn, each);
}

void Tracker::set_override(Turn& turn, View name, bool up, bool down, bool save) {
    Service& each = service(name);
    each.up = up;
    each.down = down;
    Value word = preserves::symbol(up ? "up" : "down");
    Handle fact = up || down ? turn.assert_(spaces_.config,
                                            preserves::record("service-override", {name, word}))
                             : 0;
    turn.retract(std::exchange(each.override_fact, fact));
    Handle need =
        up ? turn.assert_(spaces_.config, preserves::record("require-service", {name})) : 0;
    turn.retract(std::exchange(each.override_need, need));
    mark(turn, each);
    if (!save || spaces_.overrides_path.empty()) return;
    std::vector<Override> all;
    for (const auto& [key, known] : services_)
        if (known.up || known.down) all.push_back({key, known.up});
    Result<> saved = save_overrides(spaces_.overrides_path, all);
    if (!saved) log(turn, "overrides are not kept: " + saved.error().message);
}

void Tracker::add_dependency(Turn& turn, View depender, View dependee) {
    if (depender == dependee.at(0) && dependee.is_record("service-state", 2)) return;
    Service& each = service(depender);
    Dependency dependency;
    if (dependee.is_record("service-state", 2)) {
        dependency.service = Value(dependee.at(0));
        dependency.state = Value(dependee.at(1));
    } else if (dependee.is_record("present", 1)) {
        dependency.service = service_of_pattern(dependee.at(0));
    }
    auto added = each.dependencies.emplace(Value(dependee), std::move(dependency));
    Dependency& kept = added.first->second;
    if (added.second && kept.service.valid())
        dependents_[kept.service][each.name].emplace_back(dependee);
    reconsider(each, added.first->first, kept);
    each.missing_grew = true; // also if it is there: it is to be pursued
    mark(turn, each);
}

void Tracker::remove_dependency(Turn& turn, View depender, View dependee) {
    Service* each = known(depender);
    if (!each) return;
    auto found = each->dependencies.find(Value(dependee));
    if (found == each->dependencies.end()) return;
    deactivate(turn, found->second);
    if (found->second.service.valid()) {
        auto& dependents = dependents_[found->second.service];
        auto& dependees = dependents[each->name];
        std::erase(dependees, found->first);
        if (dependees.empty()) dependents.erase(each->name);
        if (dependents.empty()) dependents_.erase(found->second.service);
    }
    each->missing.erase(found->first);
    each->dependencies.erase(found);
    mark(turn, *each);
}

// A dependency is pursued only while its depender is needed.
void Tracker::activate(Turn& turn, const Service& depender, const Value& dependee,
                       Dependency& dependency) {
    if (std::exchange(dependency.active, true)) return;
    if (dependency.state.valid()) {
        dependency.need = turn.assert_(spaces_.config,
                                       preserves::record("require-service", {dependency.service}));
        return;
    }
    View view = dependee;
    Value pattern = view.is_record("present", 1) ? strip_binds(view.at(0)) : pat::literal(view);
    if (!pattern.valid() || !dataspace::Pattern::parse(pattern)) {
        log(turn, display_name(depender.name) + " depends on " +
                      preserves::to_text(without_capabilities(view)) + ", which is no pattern");
        return;
    }
    auto count = [self = Ref<Tracker>(this), name = depender.name, dependee](int change) {
        return [self, name, dependee, change](Turn& t, View seen) {
            Service* each = self->known(name);
            if (!each) return;
            auto found = each->dependencies.find(dependee);
            if (found == each->dependencies.end()) return;
            // A literal is open at its end: `<a x>` as a pattern also matches `<a x y>`.
            if (seen.count() == 1 && !(seen.at(0) == dependee.view())) return;
            found->second.present += static_cast<size_t>(change);
            self->reconsider(*each, dependee, found->second);
            self->mark(t, *each);
        };
    };
    bool exact = !view.is_record("present", 1);
    if (exact) pattern = pat::bind(pattern);
    for (const CapRef& space : {spaces_.config, spaces_.machine})
        dependency.observers.push_back(observe(turn, space, pattern, count(+1), count(-1)));
}

void Tracker::deactivate(Turn& turn, Dependency& dependency) {
    turn.retract(std::exchange(dependency.need, 0));
    for (Handle handle : dependency.observers)
        turn.retract(handle);
    dependency.observers.clear();
    dependency.present = 0;
    dependency.active = false;
}

bool Tracker::satisfied(const Dependency& dependency) const {
    if (!dependency.state.valid()) return dependency.present > 0;
    auto found = services_.find(dependency.service);
    if (found == services_.end()) return false;
    const Service& other = found->second;
    if (other.states.count(dependency.state)) return true;
    return dependency.state.view().is_symbol("up") &&
           (other.has_state("ready") || other.has_state("complete"));
}

bool Tracker::has_active_dependents(View name) const {
    auto found = dependents_.find(name);
    if (found == dependents_.end()) return false;
    for (const auto& [dependent, dependees] : found->second) {
        auto each = services_.find(dependent);
        if (each != services_.end() && (each->second.active() || each->second.milestone_ready))
            return true;
    }
    return false;
}

void Tracker::settle(Turn& turn) {
    if (rounds_left_ == 0) {
        settling_ = std::move(dirty_);
        dirty_.clear();
        for (const Value& name : settling_)
            if (Service* each = known(name)) each->dirty = false;
        if (settling_.empty()) return;
        rounds_left_ = settle_rounds;
    }
    turn.sync(spaces_.config, [self = Ref<Tracker>(this)](Turn& later) {
        if (--self->rounds_left_ == 0) {
            std::vector<Value> names = std::move(self->settling_);
            self->settling_.clear();
            // What changed again meanwhile is judged next time.
            for (const Value& name : names) {
                Service* each = self->known(name);
                if (!each || (each->dirty && each->postponed++ < max_postponed)) continue;
                each->postponed = 0;
                self->judge(later, *each);
            }
            if (self->cycles_may_have_changed_) self->find_cycles(later);
            self->check_all_stopped(later);
            if (self->dirty_.empty()) return;
        }
        self->settle(later);
    });
}

void Tracker::judge(Turn& turn, Service& each) {
    bool pursued = each.needed && !each.down;
    // Who waits for thousands is judged thousands of times: only what may have changed is looked
    // at.
    if (pursued != each.pursued || each.missing_grew) {
        for (auto& [dependee, dependency] : each.dependencies) {
            if (pursued)
                activate(turn, each, dependee, dependency);
            else if (dependency.active)
                deactivate(turn, dependency);
            reconsider(each, dependee, dependency);
        }
    }
    bool clear = each.missing.empty();
    bool wanted = pursued && clear;
    if (shutting_down_) {
        // What is no process stays: configuration that went would take everything with it at once.
        bool keeps = !each.is_daemon() && !each.is_milestone();
        wanted = each.run != 0 && (keeps || (!all_at_once_ && has_active_dependents(each.name)));
    }
    if (wanted && !each.run) {
        each.run = turn.assert_(spaces_.config, preserves::record("run-service", {each.name}));
        if (each.is_milestone()) {
            auto state = [&](std::string_view word) {
                return turn.assert_(
                    spaces_.config,
                    preserves::record("service-state", {each.name, preserves::symbol(word)}));
            };
            each.milestone_started = state("started");
            each.milestone_ready = state("ready");
            log(turn, "milestone " + preserves::to_text(each.name.view().at(0)) + " reached");
        }
    } else if (!wanted && each.run) {
        turn.retract(std::exchange(each.run, 0));
        turn.retract(std::exchange(each.milestone_ready, 0));
        turn.retract(std::exchange(each.milestone_started, 0));
        mark_dependencies_at_the_end(turn, each);
    }
    // A cycle is made by one that waits for more than before, and broken by one that was on it.
    bool waits_for_more = pursued && !clear && (each.missing_grew || !each.pursued);
    if (waits_for_more || !each.cycle.empty()) cycles_may_have_changed_ = true;
    each.pursued = pursued;
    each.missing_grew = false;
    touch(turn, each);
}

void Tracker::find_cycles(Turn& turn) {
    cycles_may_have_changed_ = false;
    cycles_.update(
        services_, [&](const std::string& line) { log(turn, line); },
        [&](Service& each) { touch(turn, each); });
}

void Tracker::finish_turn(Turn& turn) {
    finish_scheduled_ = false;
    std::vector<Value> names = std::move(touched_);
    touched_.clear();
    for (const Value& name : names) {
        Service* each = known(name);
        if (!each) continue;
        each->touched = false;
        bool running = each->has_state("ready") || each->has_state("complete");
        if (running && !each->running) {
            each->running =
                turn.assert_(spaces_.config, preserves::record("ServiceRunning", {each->name}));
        } else if (!running) {
            turn.retract(std::exchange(each->running, 0));
        }
        update_mirror(turn, *each);
        if (each->forgettable() && !each->dirty && !each->run) {
            turn.retract(each->mirror);
            services_.erase(name);
        }
    }
    if (!dirty_.empty() && rounds_left_ == 0) settle(turn);
}

void Tracker::update_mirror(Turn& turn, Service& each) {
    bool waits = each.needed && !each.down && !each.missing.empty();
    Value record = status_record(each, state_word(each, waits, shutting_down_), waits);
    if (record == each.mirrored) return;
    each.mirror = turn.replace(spaces_.status, each.mirror, record);
    each.mirrored = std::move(record);
}

void Tracker::stop_all(Turn& turn, std::function<void()> stopped) {
    shutting_down_ = true;
    stopped_ = std::move(stopped);
    for (auto& [name, each] : services_)
        mark(turn, each);
    if (services_.empty()) check_all_stopped(turn);
}

void Tracker::check_all_stopped(Turn& turn) {
    if (!shutting_down_ || !stopped_) return;
    bool any = false;
    bool under_way = !dirty_.empty();
    for (const auto& [name, each] : services_) {
        any = any || each.active() || (each.run && (each.is_daemon() || each.is_milestone()));
        under_way = under_way || (each.active() && !each.run);
    }
    if (any && !under_way && !std::exchange(all_at_once_, true)) {
        // What runs depends on itself in a circle: nobody would ever be the first to go.
        for (auto& [name, each] : services_)
            if (each.run) mark(turn, each);
    }
    if (any) return;
    std::function<void()> stopped = std::move(stopped_);
    stopped_ = nullptr;
    stopped();
}

void Tracker::log(Turn& turn, const std::string& line) {
    Value text = preserves::string(line);
    Value source = preserves::symbol("muster");
    Value entry = preserves::dictionary({{"line", text}, {"service", source}});
    Value stamp = preserves::string(rfc3339_now());
    turn.message(spaces_.log, preserves::record("log", {stamp, entry}));
}

TrackerControl track_services(dataspace::Engine& engine, TrackerSpaces spaces) {
    TrackerControl control;
    control.tracker_ = make_ref<Tracker>(std::move(spaces));
    engine.spawn("tracker", [tracker = control.tracker_](Turn& turn) { tracker->boot(turn); });
    return control;
}

void TrackerControl::stop_all(dataspace::Engine& engine, std::function<void()> stopped) {
    engine.external(tracker_->facet(), [tracker = tracker_, stopped = std::move(stopped)](
                                           Turn& turn) { tracker->stop_all(turn, stopped); });
}

TrackerControl::TrackerControl() = default;
TrackerControl::TrackerControl(const TrackerControl&) = default;
TrackerControl& TrackerControl::operator=(const TrackerControl&) = default;
TrackerControl::~TrackerControl() = default;

} // namespace muster::services
