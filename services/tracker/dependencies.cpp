#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "services/tracker/to_see.h"
#include "services/tracker/tracking.h"

namespace muster::services {

namespace pat = dataspace::pattern;

void Tracker::add_dependency(Turn& turn, View depender, View dependee, Bond bond) {
    if (depender == dependee.at(0) && dependee.is_record("service-state", 2)) return;
    Service& each = service(depender);
    Dependency dependency;
    dependency.bond = bond;
    if (dependee.is_record("service-state", 2)) {
        dependency.service = Value(dependee.at(0));
        dependency.state = Value(dependee.at(1));
    } else if (dependee.is_record("present", 1)) {
        dependency.service = service_of_pattern(dependee.at(0));
    }
    auto added = each.dependencies.made().emplace(bond_key(bond, dependee), std::move(dependency));
    Dependency& kept = added.first->second;
    if (added.second && kept.service.valid())
        ties(bond)[kept.service][each.name].emplace_back(added.first->first);
    reconsider(each, added.first->first, kept);
    each.missing_grew = true; // also if it is there: it is to be pursued
    mark(turn, each);
}

void Tracker::remove_dependency(Turn& turn, View depender, View dependee, Bond bond) {
    Service* each = known(depender);
    if (!each) return;
    Service::Dependencies* all = each->dependencies.any();
    if (!all) return;
    auto found = all->find(bond_key(bond, dependee));
    if (found == all->end()) return;
    deactivate(turn, found->second);
    if (found->second.service.valid()) {
        Ties& ties = this->ties(bond);
        auto& dependents = ties[found->second.service];
        auto& dependees = dependents[each->name];
        std::erase(dependees, found->first);
        if (dependees.empty()) dependents.erase(each->name);
        if (dependents.empty()) ties.erase(found->second.service);
    }
    if (!each->missing.empty()) each->missing.made().erase(found->first);
    each->missing.tidy();
    all->erase(found);
    each->dependencies.tidy();
    mark(turn, *each);
}

// A dependency is pursued only while its depender is needed.
void Tracker::activate(Turn& turn, const Service& depender, const Value& dependee,
                       Dependency& dependency) {
    if (std::exchange(dependency.active, true)) return;
    if (dependency.bond != Bond::needs && dependency.bond != Bond::wants) return;
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
            Service::Dependencies* all = each->dependencies.any();
            if (!all) return;
            auto found = all->find(dependee);
            if (found == all->end()) return;
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

bool Tracker::satisfied(const Service& depender, const Dependency& dependency) const {
    if (dependency.bond != Bond::needs) return bond_satisfied(depender, dependency);
    if (!dependency.state.valid()) return dependency.present > 0;
    auto found = services_.find(dependency.service);
    if (found == services_.end()) return false;
    const Service& other = found->second;
    if (other.states.contains(dependency.state)) return true;
    View state = dependency.state;
    if (state.is_symbol("up") && other.is_up()) return true;
    if (!dependency.met || !other.run) return false;
    // It was there, and comes back by itself.
    if (other.rerunning && (state.is_symbol("up") || state.is_symbol("complete"))) return true;
    bool given_up = other.detail.valid() && other.detail.view().get("phase").is_symbol("failed");
    return other.coming_back && !given_up && depender.is_milestone() && depender.run;
}

void Tracker::reconsider(Service& service, const Value& dependee, Dependency& dependency,
                         bool judged) {
    bool met = satisfied(service, dependency);
    if (!judged && !met && dependency.met && service.is_milestone() && service.run) {
        // Whether it comes back is known when the world is at rest.
        service.missing_grew = true;
        return;
    }
    dependency.met = met;
    if (!dependency.met) {
        if (service.missing.made().insert(dependee).second) service.missing_grew = true;
    } else if (!service.missing.empty()) {
        service.missing.made().erase(dependee);
        service.missing.tidy();
    }
}

void Tracker::mark_dependents(Turn& turn, View name) { mark_tied(turn, dependents_, name); }

void Tracker::mark_followers(Turn& turn, View name) {
    if (!followers_.count(name)) return;
    auto gives_way = [](const Value& key) { return key.view().is_record("gives-way-to", 1); };
    for (ToSee to_mark(name); !to_mark.empty();) {
        const Value each = to_mark.next();
        mark_tied(turn, followers_, each);
        auto found = followers_.find(each);
        if (found == followers_.end()) continue;
        // Who gives way to whom is a matter of the whole circle that they may form.
        for (const auto& [follower, keys] : found->second)
            if (std::any_of(keys.begin(), keys.end(), gives_way)) to_mark.add(follower);
    }
}

void Tracker::mark_tied(Turn& turn, const Ties& ties, View name) {
    auto found = ties.find(name);
    if (found == ties.end()) return;
    // Their status is told when they are judged: who waits for thousands is not described anew for
    // each of them.
    for (const auto& [dependent, dependees] : found->second) {
        Service* each = known(dependent);
        if (!each) continue;
        if (Service::Dependencies* all = each->dependencies.any())
            for (const Value& dependee : dependees)
                if (auto one = all->find(dependee); one != all->end())
                    reconsider(*each, dependee, one->second);
        if (each->dirty) continue;
        each->dirty = true;
        dirty_.push_back(each->name);
    }
    schedule_finish(turn);
}

} // namespace muster::services
