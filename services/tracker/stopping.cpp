#include "init/dataspace/engine.h"
#include "services/tracker/tracking.h"

namespace muster::services {

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

void Tracker::mark_dependencies_at_the_end(Turn& turn, Service& service) {
    if (!shutting_down_) return;
    mark(turn, service);
    for (const auto& [dependee, dependency] : service.dependencies)
        if (Service* other = known(dependency.service)) mark(turn, *other);
}

} // namespace muster::services
