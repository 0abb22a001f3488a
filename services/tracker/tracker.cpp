#include "services/tracker/tracker.h"

#include <unordered_set>

#include "init/base/rfc3339.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"
#include "services/tracker/cycles.h"
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

} // namespace

class Tracker final : public Counted {
  public:
    explicit Tracker(TrackerSpaces spaces) : spaces_(std::move(spaces)) {}

    void boot(Turn& turn);
    void stop_all(Turn& turn, std::function<void()> stopped);
    Ref<dataspace::Facet> facet() const { return facet_; }

  private:
    using Table = std::unordered_map<Value, Service, preserves::ValueHash, preserves::ValueEqual>;

    Service& service(View name);
    Service* known(View name);
    // Its status and ServiceRunning are brought up to date when the turn ends.
    void touch(Turn& turn, Service& service);
    void schedule_finish(Turn& turn);
    // It is judged when the world is at rest.
    void mark(Turn& turn, Service& service);
    void mark_dependents(Turn& turn, View name);
    // While the system goes down: what it depended on may go when it has gone.
    void mark_dependencies_at_the_end(Turn& turn, Service& service);

    void observe_demands(Turn& turn);
    void observe_services(Turn& turn);
    void observe_commands(Turn& turn);
    void observe_machine(Turn& turn);
    void demand(Turn& turn, View name, int change);
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
    std::vector<Value> unsatisfied(const Service& service) const;
    void find_new_cycles(Turn& turn);
    void finish_turn(Turn& turn);
    void update_mirror(Turn& turn, Service& service);
    void check_all_stopped(Turn& turn);
    void log(Turn& turn, const std::string& line);
    Handle mirror(Turn& turn, View value);

    TrackerSpaces spaces_;
    Ref<dataspace::Facet> facet_;
    Table services_;
    // Who depends on a service: for looking up dependents.
    std::unordered_map<Value, ValueSet, preserves::ValueHash, preserves::ValueEqual> dependents_;
    std::vector<Value> dirty_;    // to be judged after the next settling
    std::vector<Value> settling_; // being settled
    std::vector<Value> touched_;
    int rounds_left_ = 0;
    bool finish_scheduled_ = false;
    bool cycles_may_have_changed_ = false;
    std::unordered_map<std::string, bool> reported_cycles_; // text, still there
    std::unordered_map<Value, Handle, preserves::ValueHash, preserves::ValueEqual> mirrored_;
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
    for (const auto& [dependent, count] : found->second) {
        Service* each = known(dependent);
        if (!each || each->dirty) continue;
        each->dirty = true;
        dirty_.push_back(each->name);
    }
    schedule_finish(turn);
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
    observe_machine(turn);
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
                       self->set_override(t, seen.at(0), up, down, true);
                   });
    };
    command("start-service", true, false);
    command("stop-service", false, true);
    command("release-service", false, false);
}

// A one-way copy of what is in the machine, and of the states of services.
void Tracker::observe_machine(Turn& turn) {
    Ref<Tracker> self(this);
    auto copy = [&](const CapRef& from, Value pattern) {
        observe(
            turn, from, pat::bind(pattern),
            [self](Turn& t, View seen) {
                self->mirrored_[Value(seen.at(0))] = self->mirror(t, seen.at(0));
            },
            [self](Turn& t, View seen) {
                auto found = self->mirrored_.find(Value(seen.at(0)));
                if (found == self->mirrored_.end()) return;
                t.retract(found->second);
                self->mirrored_.erase(found);
            });
    };
    Value any = pat::discard();
    copy(spaces_.machine, pat::record("device", {any, any, any}));
    copy(spaces_.machine, pat::record("interface", {any}));
    copy(spaces_.machine, pat::record("route", {any}));
    copy(spaces_.machine, pat::record("coldplug-complete", {any}));
    copy(spaces_.config, pat::record("service-state", {any, any}));
    copy(spaces_.config, pat::record("ServiceRunning", {any}));
    copy(spaces_.config, pat::record("config-error", {any}));
}

Handle Tracker::mirror(Turn& turn, View value) {
    return turn.assert_(spaces_.status, without_capabilities(value));
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
    if (dependency.service.valid()) ++dependents_[dependency.service][each.name];
    each.dependencies.emplace(Value(dependee), std::move(dependency));
    mark(turn, each);
}

void Tracker::remove_dependency(Turn& turn, View depender, View dependee) {
    Service* each = known(depender);
    if (!each) return;
    auto found = each->dependencies.find(Value(dependee));
    if (found == each->dependencies.end()) return;
    deactivate(turn, found->second);
    if (found->second.service.valid()) {
        ValueSet& dependents = dependents_[found->second.service];
        if (--dependents[each->name] == 0) dependents.erase(each->name);
        if (dependents.empty()) dependents_.erase(found->second.service);
    }
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
    for (const auto& [dependent, count] : found->second) {
        auto each = services_.find(dependent);
        if (each != services_.end() && (each->second.active() || each->second.milestone_ready))
            return true;
    }
    return false;
}

std::vector<Value> Tracker::unsatisfied(const Service& service) const {
    std::vector<Value> missing;
    for (const auto& [dependee, dependency] : service.dependencies)
        if (!satisfied(dependency)) missing.push_back(dependee);
    return missing;
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
            for (const Value& name : names)
                if (Service* each = self->known(name); each && !each->dirty)
                    self->judge(later, *each);
            if (self->cycles_may_have_changed_) self->find_new_cycles(later);
            self->check_all_stopped(later);
            if (self->dirty_.empty()) return;
        }
        self->settle(later);
    });
}

void Tracker::judge(Turn& turn, Service& each) {
    bool pursued = each.needed && !each.down;
    for (auto& [dependee, dependency] : each.dependencies) {
        if (pursued)
            activate(turn, each, dependee, dependency);
        else if (dependency.active)
            deactivate(turn, dependency);
    }
    bool clear = true;
    for (const auto& [dependee, dependency] : each.dependencies)
        if (!satisfied(dependency)) clear = false;
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
    // A cycle is made by one that waits, and broken by one that was on it.
    if ((pursued && !clear) || !each.cycle.empty()) cycles_may_have_changed_ = true;
    touch(turn, each);
}

// Cycles among services that are needed and wait for each other.
void Tracker::find_new_cycles(Turn& turn) {
    cycles_may_have_changed_ = false;
    std::vector<Service*> waiting;
    std::unordered_map<Value, size_t, preserves::ValueHash, preserves::ValueEqual> number;
    for (auto& [name, each] : services_) {
        if (!each.needed || each.down || each.run) continue;
        number.emplace(name, waiting.size());
        waiting.push_back(&each);
    }
    std::vector<std::vector<size_t>> edges(waiting.size());
    for (size_t i = 0; i < waiting.size(); ++i)
        for (const auto& [dependee, dependency] : waiting[i]->dependencies)
            if (dependency.service.valid() && !satisfied(dependency))
                if (auto found = number.find(dependency.service); found != number.end())
                    edges[i].push_back(found->second);
    for (auto& [text, there] : reported_cycles_)
        there = false;
    std::unordered_set<const Service*> on_one;
    for (const std::vector<size_t>& cycle : find_cycles(edges)) {
        std::vector<Value> names;
        std::string text;
        for (size_t node : cycle) {
            names.push_back(waiting[node]->name);
            text += display_name(waiting[node]->name) + " -> ";
        }
        text += display_name(names[0]);
        if (!reported_cycles_.count(text))
            log(turn, "dependency cycle, none of these can start: " + text);
        reported_cycles_[text] = true;
        for (size_t node : cycle) {
            waiting[node]->cycle = names;
            on_one.insert(waiting[node]);
        }
    }
    std::erase_if(reported_cycles_, [](const auto& each) { return !each.second; });
    for (auto& [name, each] : services_) {
        bool is_on = on_one.count(&each) != 0;
        if (!is_on && each.cycle.empty()) continue;
        if (!is_on) each.cycle.clear();
        touch(turn, each);
    }
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
    std::vector<Value> missing;
    if (each.needed && !each.down) missing = unsatisfied(each);
    Value record = status_record(each, state_word(each, !missing.empty(), shutting_down_), missing);
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
