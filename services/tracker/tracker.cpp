#include "services/tracker/tracker.h"

#include "init/base/event_loop.h"
#include "init/base/rfc3339.h"
#include "init/dataspace/engine.h"
#include "init/preserves/text_writer.h"
#include "services/tracker/kept_times.h"
#include "services/tracker/mirror.h"
#include "services/tracker/overrides.h"
#include "services/tracker/tracking.h"
#include "services/tracker/triggers.h"

namespace muster::services {

namespace {

// How many times the tracker goes through the dataspace before it acts: each is one step of a rule
// in a script that may still draw its conclusion.
constexpr int settle_rounds = 8;

// How many times a service that changes while it is about to be judged is left for the next time.
// One that never comes to rest is judged as it is then.
constexpr int max_postponed = 8;

} // namespace

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

void Tracker::boot(Turn& turn) {
    facet_ = Ref<dataspace::Facet>(&turn.current());
    observe_demands(turn);
    observe_services(turn);
    observe_bonds(turn);
    observe_idle_stops(turn);
    observe_commands(turn);
    mirror_facts(turn, spaces_.config, spaces_.machine, spaces_.status);
    if (spaces_.overrides_path.empty()) return;
    std::vector<std::string> remarks;
    for (const Override& each : load_overrides(spaces_.overrides_path, remarks))
        set_override(turn, each.service, each.up, !each.up, false);
    for (const std::string& remark : remarks)
        log(turn, remark);
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
    bool pursued = (each.needed || goes_on(each)) && each.allowed();
    choose_provider(turn, each, pursued);
    // Who waits for thousands is judged thousands of times: only what may have changed is looked
    // at.
    if ((pursued != each.pursued || each.missing_grew) && !each.dependencies.empty()) {
        for (auto& [dependee, dependency] : each.dependencies.made()) {
            if (pursued)
                activate(turn, each, dependee, dependency);
            else if (dependency.active)
                deactivate(turn, dependency);
            reconsider(each, dependee, dependency, true);
        }
    }
    be_patient(each, pursued);
    bool clear = each.missing.empty();
    bool wanted = pursued && clear;
    if (spaces_.ending && each.is_daemon() && !each.is_point())
        wanted = !each.states.empty() || each.active();
    if (shutting_down_) {
        // What is no process stays: configuration that went would take everything with it at once.
        bool keeps = !each.is_daemon() && !each.is_point();
        bool others = each.name == spaces_.last_to_stop && others_are_up();
        wanted = each.run != 0 &&
                 (keeps || others || (!all_at_once_ && has_active_dependents(each.name)));
    }
    if (each.run && each.is_point() != (each.milestone_ready != 0)) {
        // It has become another kind: a daemon that was provided is defined now, or the like.
        wanted = false;
        mark(turn, each);
    }
    bool before = each.run != 0;
    if (wanted || !pursued) turn.retract(std::exchange(each.taken_down, 0));
    if (wanted && !each.run) {
        Value run = each.is_provided()
                        ? preserves::record("provided-service", {each.name, each.provider})
                        : preserves::record("run-service", {each.name});
        each.run = turn.assert_(spaces_.config, run);
        each.early = each.is_daemon() && !each.defined && !each.is_provided();
        note_order(each);
        if (each.is_point()) {
            auto state = [&](std::string_view word) {
                return turn.assert_(
                    spaces_.config,
                    preserves::record("service-state", {each.name, preserves::symbol(word)}));
            };
            each.milestone_started = state("started");
            each.milestone_ready = state("ready");
            if (each.is_milestone())
                log(turn, "milestone " + preserves::to_text(each.name.view().at(0)) + " reached");
        }
    } else if (!wanted && each.run) {
        if (pursued && !shutting_down_) tell_taken_down(turn, each);
        turn.retract(std::exchange(each.run, 0));
        turn.retract(std::exchange(each.milestone_ready, 0));
        turn.retract(std::exchange(each.milestone_started, 0));
        each.rerunning = each.coming_back = false;
        mark_dependents(turn, each.name);
        mark_dependencies_at_the_end(turn, each);
    }
    if (each.defined) each.early = false;
    // A cycle is made by one that waits for more than before, and broken by one that was on it.
    bool waits_for_more = pursued && !clear && (each.missing_grew || !each.pursued);
    if (waits_for_more || !each.cycle.empty()) cycles_may_have_changed_ = true;
    if (pursued != each.pursued || before != (each.run != 0)) mark_followers(turn, each.name);
    each.pursued = pursued;
    each.missing_grew = false;
    if (before && !each.run) {
        // What was only asked for before the start is asked for before the next one.
        each.out_of_patience = false;
        each.missing_grew = true;
    }
    touch(turn, each);
}

// It would run, but for a service that it depends on (daemon/failure.h).
void Tracker::tell_taken_down(Turn& turn, Service& each) {
    if (each.is_milestone() || each.taken_down) return;
    for (const Value& dependee : each.missing) {
        auto found = each.dependencies.get().find(dependee);
        if (found == each.dependencies.end() || !found->second.service.valid()) continue;
        const Value& by = found->second.service;
        const Service* cause = known(by);
        each.taken_down =
            turn.assert_(spaces_.config, preserves::record("taken-down", {each.name, by}));
        if (cause && cause->has_state("failed"))
            log(turn, display_name(each.name) + " stops, as " + display_name(by) + " failed");
        return;
    }
}

void Tracker::find_cycles(Turn& turn) {
    cycles_may_have_changed_ = false;
    if (shutting_down_) return; // what has stopped waits for nothing
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
        bool running = each->is_up() || each->rerunning;
        if (running && !each->running) {
            each->running =
                turn.assert_(spaces_.config, preserves::record("ServiceRunning", {each->name}));
        } else if (!running) {
            turn.retract(std::exchange(each->running, 0));
        }
        if (shutting_down_ && spaces_.loop)
            mirror_later(*each);
        else
            update_mirror(turn, *each);
        if (each->forgettable() && !each->dirty && !each->run) {
            turn.retract(each->mirror);
            if (spaces_.times) spaces_.times->forget(name);
            services_.erase(name);
        }
    }
    if (!dirty_.empty() && rounds_left_ == 0) settle(turn);
}

void Tracker::update_mirror(Turn& turn, Service& each) {
    bool waits = each.needed && each.allowed() && !each.missing.empty();
    std::string_view word = state_word(each, waits, shutting_down_);
    if (word != each.times.word()) {
        uint64_t now = monotonic_now() / 1'000;
        if (spaces_.times)
            spaces_.times->became(each.name, each.times, word, now);
        else
            each.times.became(word, now);
    }
    Value record = status_record(each, word, waits);
    if (record == each.mirrored) return;
    each.mirror = turn.replace(spaces_.status, each.mirror, record);
    each.mirrored = std::move(record);
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
    TriggerSpaces triggers{spaces.config, spaces.machine, spaces.log, spaces.matches};
    engine.spawn("triggers", [triggers](Turn& turn) { serve_triggers(turn, triggers); });
    control.tracker_ = make_ref<Tracker>(std::move(spaces));
    engine.spawn("tracker", [tracker = control.tracker_](Turn& turn) { tracker->boot(turn); });
    return control;
}

void TrackerControl::stop_all(dataspace::Engine& engine, std::function<void()> stopped,
                              std::function<void()> last) {
    engine.external(tracker_->facet(),
                    [tracker = tracker_, stopped = std::move(stopped), last = std::move(last)](
                        Turn& turn) { tracker->stop_all(turn, stopped, last); });
}

void TrackerControl::give_up(dataspace::Engine& engine, const Value& service) {
    engine.external(tracker_->facet(),
                    [tracker = tracker_, service](Turn& turn) { tracker->give_up(turn, service); });
}

TrackerControl::TrackerControl() = default;

TrackerControl::TrackerControl(const TrackerControl&) = default;

TrackerControl& TrackerControl::operator=(const TrackerControl&) = default;

TrackerControl::~TrackerControl() = default;

} // namespace muster::services
