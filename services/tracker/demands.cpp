#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "services/tracker/overrides.h"
#include "services/tracker/tracking.h"

namespace muster::services {

namespace pat = dataspace::pattern;

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
            self->mark_followers(t, service.name);
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
                service.states.insert(seen.at(1));
            else
                service.states.erase(seen.at(1));
            bool failed = seen.at(1).is_symbol("failed");
            bool up = seen.at(1).is_symbol("ready") || seen.at(1).is_symbol("complete");
            if (present && failed && service.run) service.coming_back = true;
            if (present && up) service.coming_back = false;
            // The second run is over, however it ended.
            if (present && (failed || up)) service.rerunning = false;
            self->touch(t, service);
            // At the end it runs as long as it is there; what is adopted may go on for a while.
            bool may_go_on = service.idle_after > 0 && self->is_adopting();
            if (self->spaces_.ending || may_go_on) self->mark(t, service);
            self->mark_dependents(t, service.name);
            self->mark_followers(t, service.name);
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
            self->mark_provided(t, service);
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
            self->mark_provided(t, service);
            self->mark_followers(t, service.name);
        },
        [self](Turn& t, View seen) {
            Service& service = self->service(preserves::record("daemon", {seen.at(0)}));
            if (service.detail.valid() && service.detail.view() == seen.at(1))
                service.detail = Value();
            self->touch(t, service);
            self->mark_followers(t, service.name);
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
    // What is adopted runs, though perhaps it is not known yet that it is to.
    bool runs = each && (each->run || (is_adopting() && each->is_daemon() && each->is_up()));
    if (!runs || each->is_point() || shutting_down_) return;
    if (each->is_daemon()) {
        // What depends on a one-shot that has done its work is left alone while it is done again.
        each->rerunning = each->rerunning || each->has_state("complete");
        each->coming_back = each->coming_back || each->is_up();
        return;
    }
    turn.retract(each->run);
    each->run = turn.assert_(spaces_.config, preserves::record("run-service", {each->name}));
}

void Tracker::demand(Turn& turn, View name, int change) {
    Service& each = service(name);
    each.demands += static_cast<size_t>(change);
    if (each.demands > 0 && each.demand == 0) {
        each.demand = turn.assert_(spaces_.config, preserves::record("require-service", {name}));
    } else if (each.demands == 0 && stays_for_a_while(each)) {
        each.demand_end = later(each.idle_after, each.name, [](Tracker&, Turn& t, Service& idle) {
            if (idle.demands > 0) return;
            idle.idle_over = true;
            t.retract(std::exchange(idle.demand, 0));
        });
    } else if (each.demands == 0) {
        turn.retract(std::exchange(each.demand, 0));
    }
    if (each.demands > 0) each.demand_end.cancel();
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
    mark_followers(turn, each.name);
    mark_provided(turn, each);
    if (!save || spaces_.overrides_path.empty()) return;
    std::vector<Override> all;
    for (const auto& [key, known] : services_)
        if (known.up || known.down) all.push_back({key, known.up});
    Result<> saved = save_overrides(spaces_.overrides_path, all);
    if (!saved) log(turn, "overrides are not kept: " + saved.error().message);
}

} // namespace muster::services
