#include "services/tracker/bonds.h"

#include <algorithm>

#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "services/tracker/to_see.h"
#include "services/tracker/tracking.h"

namespace muster::services {

namespace pat = dataspace::pattern;

namespace {

Value in_state(View service, std::string_view state) {
    return preserves::record("service-state", {service, preserves::symbol(state)});
}

// Something of it is there: what gives way to it must not be, nor what displaces it.
bool is_there(const Service& service) {
    return service.run != 0 || service.active() || !service.states.empty();
}

// It is given up: nothing will come of it by itself.
bool is_given_up(const Service& service) {
    return service.detail.valid() && service.detail.view().get("phase").is_symbol("failed");
}

bool is_usable(const Service& service) {
    return service.allowed() && !is_given_up(service) &&
           (!service.is_daemon() || service.defined || service.is_provided());
}

bool is_less(const Value& a, const Value& b) {
    return preserves::compare_bytes(a.view().bytes(), b.view().bytes()) < 0;
}

// Somebody needs it, and nothing stands against it.
bool is_wanted(const Service& service) { return service.needed && service.allowed(); }

bool is_wanted(const ServiceTable& services, View name) {
    auto found = services.find(name);
    return found != services.end() && is_wanted(found->second);
}

// `each` gives way to `other`, that perhaps to another one, and so on, until one that would give
// way to `each`: if `each` has the least name of them, it does not.
bool is_least_of_circle(const ServiceTable& services, const Service& each, View other) {
    for (ToSee to_see(other); !to_see.empty();) {
        auto found = services.find(to_see.next());
        if (found == services.end()) continue;
        const Service& one = found->second;
        if (!is_less(each.name, one.name) || !is_wanted(one)) continue;
        for (const auto& [key, dependency] : one.dependencies) {
            if (dependency.bond != Bond::gives_way) continue;
            if (dependency.service == each.name) return true;
            to_see.add(dependency.service);
        }
    }
    return false;
}

} // namespace

bool under_way(const ServiceTable& services, View name) {
    bool anything = false;
    for (ToSee to_see(name); !to_see.empty();) {
        auto found = services.find(to_see.next());
        if (found == services.end()) return false;
        const Service& each = found->second;
        if (each.is_up()) continue;
        if (!each.needed || !is_usable(each) || each.has_state("failed")) return false;
        if (each.run) {
            if (each.states.empty() && !each.is_daemon() && !each.is_point()) return false;
            anything = true;
            continue;
        }
        bool for_a_while = true; // or it is about to be judged
        for (const Value& key : each.missing) {
            const Dependency& dependency = each.dependencies.get().at(key);
            if (dependency.bond == Bond::gives_way && is_wanted(services, dependency.service))
                return false;
            if (dependency.bond != Bond::needs) continue; // which does not last
            for_a_while = false;
            if (!dependency.service.valid()) return false;
            to_see.add(dependency.service);
        }
        anything = anything || for_a_while;
    }
    return anything;
}

bool waits_for(const ServiceTable& services, View name, View other) {
    for (ToSee to_see(name); !to_see.empty();) {
        auto found = services.find(to_see.next());
        if (found == services.end()) continue;
        const Service& each = found->second;
        if (!is_wanted(each) || each.run) continue;
        for (const Value& key : each.missing) {
            const Dependency& dependency = each.dependencies.get().at(key);
            bool brings = dependency.bond == Bond::needs || is_weak(dependency.bond);
            if (!brings || !dependency.service.valid()) continue;
            if (dependency.service.view() == other) return true;
            to_see.add(dependency.service);
        }
    }
    return false;
}

void Tracker::observe_bonds(Turn& turn) {
    Ref<Tracker> self(this);
    auto watch = [&](std::string_view label, std::function<void(Turn&, View, View, bool)> change) {
        auto told = [change](bool present) {
            return [change, present](Turn& t, View seen) {
                change(t, seen.at(0), seen.at(1), present);
            };
        };
        observe(turn, spaces_.config, pat::record(label, {pat::bind(), pat::bind()}), told(true),
                told(false));
    };
    watch("wants", [self](Turn& t, View service, View dependee, bool present) {
        self->tie(t, Bond::wants, service, dependee, present);
    });
    watch("before", [self](Turn& t, View first, View second, bool present) {
        self->tie(t, Bond::after, second, in_state(first, "up"), present);
    });
    watch("conflicts", [self](Turn& t, View one, View other, bool present) {
        self->conflict(t, one, other, present);
    });
    watch("provides", [self](Turn& t, View provider, View name, bool present) {
        self->provide(t, provider, name, present);
    });
    auto disabled = [self](bool disabled) {
        return [self, disabled](Turn& t, View seen) {
            Service& each = self->service(seen.at(0));
            each.disabled = disabled;
            self->mark(t, each);
            self->mark_followers(t, each.name);
            self->mark_provided(t, each);
        };
    };
    observe(turn, spaces_.config, pat::record("disable-service", {pat::bind()}), disabled(true),
            disabled(false));
}

void Tracker::tie(Turn& turn, Bond bond, View depender, View dependee, bool present) {
    if (!dependee.is_record("service-state", 2)) {
        if (present)
            log(turn, display_name(depender) + " wants " +
                          preserves::to_text(without_capabilities(dependee)) +
                          ", which is no <service-state S STATE>");
        return;
    }
    if (depender == dependee.at(0)) return;
    if (present)
        add_dependency(turn, depender, dependee, bond);
    else
        remove_dependency(turn, depender, dependee, bond);
}

void Tracker::conflict(Turn& turn, View one, View other, bool present) {
    if (one == other) return;
    for (auto [bond, depender, dependee] :
         {std::tuple(Bond::gives_way, one, other), std::tuple(Bond::displaces, other, one)}) {
        if (present)
            add_dependency(turn, depender, in_state(dependee, "stopped"), bond);
        else
            remove_dependency(turn, depender, in_state(dependee, "stopped"), bond);
    }
    mark_followers(turn, one); // it may close a circle, or open one
}

bool Tracker::bond_satisfied(const Service& each, const Dependency& dependency) const {
    auto found = services_.find(dependency.service);
    bool known = found != services_.end();
    switch (dependency.bond) {
    case Bond::gives_way: {
        if (!known) return true;
        const Service& other = found->second;
        if (!is_wanted(services_, other.name)) return !is_there(other);
        return is_least_of_circle(services_, each, other.name) &&
               (each.begun() || !is_there(other));
    }
    case Bond::displaces:
        return each.begun() || !known || !is_there(found->second);
    case Bond::after:
        if (!known || !found->second.needed) return true;
        break;
    case Bond::wants:
    case Bond::needs:
        break;
    }
    if (each.begun() || each.out_of_patience) return true; // it is only waited for before the start
    if (!known) return false;
    const Service& other = found->second;
    if (other.states.contains(dependency.state)) return true;
    if (dependency.state.view().is_symbol("up") && other.is_up()) return true;
    return !other.allowed() || other.has_state("failed") || is_given_up(other);
}

void Tracker::be_patient(Service& each, bool pursued) {
    bool only_wanted = pursued && !each.run && !each.missing.empty() && spaces_.loop;
    for (auto key = each.missing.begin(); only_wanted && key != each.missing.end(); ++key)
        only_wanted = is_weak(each.dependencies.get().at(*key).bond);
    if (!pursued) each.out_of_patience = false;
    if (!only_wanted) {
        each.patience.cancel();
        return;
    }
    if (each.patience.pending()) return;
    each.patience = later(spaces_.patience, each.name, [](Tracker& self, Turn& t, Service& waits) {
        bool comes = std::any_of(waits.missing.begin(), waits.missing.end(), [&](const Value& key) {
            const Value& name = waits.dependencies.get().at(key).service;
            return under_way(self.services_, name) && !waits_for(self.services_, name, waits.name);
        });
        if (!comes) {
            waits.out_of_patience = true;
            for (auto& [key, dependency] : waits.dependencies.made())
                self.reconsider(waits, key, dependency);
        }
        self.mark(t, waits); // and it is patient once more
    });
}

// --- names that several may provide ---

void Tracker::provide(Turn& turn, View provider, View name, bool present) {
    if (provider == name) return;
    Service& provided = service(name);
    Service& providing = service(provider); // references stay good in the table
    std::vector<Value>& providers = provided.providers.made();
    std::vector<Value>& provides = providing.provides.made();
    if (present) {
        providers.insert(
            std::lower_bound(providers.begin(), providers.end(), providing.name, is_less),
            providing.name);
        provides.push_back(provided.name);
    } else {
        std::erase(providers, providing.name);
        std::erase(provides, provided.name);
        provided.providers.tidy();
        providing.provides.tidy();
        mark(turn, providing);
    }
    mark(turn, provided);
}

void Tracker::mark_provided(Turn& turn, const Service& provider) {
    for (const Value& name : provider.provides)
        mark(turn, service(name));
}

void Tracker::choose_provider(Turn& turn, Service& each, bool pursued) {
    auto rank = [&](const Service& provider) {
        if (!is_usable(provider)) return 3;
        return provider.is_up() ? 0 : provider.needed ? 1 : 2;
    };
    const Service* best = nullptr;
    if (pursued && each.is_provided()) {
        for (const Value& name : each.providers) {
            const Service& candidate = service(name);
            if (candidate.name == each.provider && is_usable(candidate)) return; // it stays
            if (!best || rank(candidate) < rank(*best)) best = &candidate;
        }
    }
    Value chosen = best ? best->name : Value();
    if (chosen.valid() == each.provider.valid() && (!best || chosen == each.provider)) return;
    if (each.provider.valid()) remove_dependency(turn, each.name, in_state(each.provider, "up"));
    each.provider = chosen;
    if (best) add_dependency(turn, each.name, in_state(chosen, "up"));
}

} // namespace muster::services
