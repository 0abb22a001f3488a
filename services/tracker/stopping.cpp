#include "init/dataspace/engine.h"
#include "services/tracker/to_see.h"
#include "services/tracker/tracking.h"

namespace muster::services {

// What it asks for and is there at its start is what it depends on until it ends, whatever becomes
// of the configuration meanwhile. Who was adopted for its end was started by somebody else: then
// the configuration is all there is to go by.
void Tracker::note_order(Service& service) const {
    service.after.clear();
    for (const auto& [key, dependency] : service.dependencies) {
        bool order = dependency.bond != Bond::gives_way && dependency.bond != Bond::displaces;
        bool met = dependency.met || spaces_.ending;
        if (order && dependency.service.valid() && met)
            service.after.made().push_back(dependency.service);
    }
}

void Tracker::stop_all(Turn& turn, std::function<void()> stopped, std::function<void()> last) {
    shutting_down_ = true;
    stopped_ = std::move(stopped);
    last_ = std::move(last);
    find_before_last();
    for (auto& [name, each] : services_) {
        if (each.run && spaces_.ending)
            note_order(each); // it may have run before it was configured
        // Also one that somebody stopped a moment ago: it may need the others until it has.
        if (goes_down(each))
            for (const Value& dependee : each.after)
                started_after_[dependee].push_back(name);
        mark(turn, each);
    }
    begin_last(turn);
    if (services_.empty()) check_all_stopped(turn);
}

// All that runs, but for what `last_to_stop` was started after, at whatever remove.
void Tracker::find_before_last() {
    const Service* last = known(spaces_.last_to_stop);
    if (!last || !goes_down(*last)) return;
    ToSee under_it(last->name);
    while (!under_it.empty())
        if (const Service* each = known(under_it.next()))
            for (const Value& dependee : each->after)
                under_it.add(dependee);
    for (const auto& [name, each] : services_)
        if (each.is_daemon() && goes_down(each) && !under_it.has(name))
            before_last_.push_back(name);
}

bool Tracker::others_are_up() {
    for (; !before_last_.empty(); before_last_.pop_back()) {
        const Service* each = known(before_last_.back());
        if (each && goes_down(*each)) return true;
    }
    return false;
}

void Tracker::begin_last(Turn& turn) {
    if (!last_ || others_are_up()) return;
    if (Service* last = known(spaces_.last_to_stop)) mark(turn, *last);
    std::exchange(last_, nullptr)();
}

// Most of what stops has stopped before anybody could look at how it does: only what takes longer
// is told of.
void Tracker::mirror_later(Service& service) {
    if (std::exchange(service.mirrored_late, true)) return;
    mirrored_late_.push_back(service.name);
    if (mirror_timer_.pending()) return;
    mirror_timer_ = spaces_.loop->after(100 * millisecond, [this] {
        facet_->actor().engine().external(facet_, [self = Ref<Tracker>(this)](Turn& turn) {
            for (const Value& name : std::exchange(self->mirrored_late_, {})) {
                Service* each = self->known(name);
                if (!each) continue;
                each->mirrored_late = false;
                self->update_mirror(turn, *each);
            }
        });
    });
}

void Tracker::give_up(Turn& turn, const Value& name) {
    Service* each = known(name);
    if (!each || !shutting_down_) return;
    each->given_up = true;
    mark_dependencies_at_the_end(turn, *each);
}

bool Tracker::still_up(const Service& service) const {
    return (service.active() && !service.given_up) || service.milestone_ready != 0;
}

bool Tracker::goes_down(const Service& service) const {
    return still_up(service) || (service.run && !service.given_up);
}

void Tracker::check_all_stopped(Turn& turn) {
    if (!shutting_down_ || !stopped_) return;
    bool any = false;
    bool under_way = !dirty_.empty();
    for (const auto& [name, each] : services_) {
        if (any && under_way) return;
        bool active = each.active() && !each.given_up;
        any = any || active || (each.run && (each.is_daemon() || each.is_point()));
        under_way = under_way || (active && !each.run);
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
    auto found = started_after_.find(name);
    if (found == started_after_.end()) return false;
    for (const Value& dependent : found->second) {
        auto each = services_.find(dependent);
        if (each != services_.end() && still_up(each->second)) return true;
    }
    return false;
}

void Tracker::mark_dependencies_at_the_end(Turn& turn, Service& service) {
    if (!shutting_down_) return;
    mark(turn, service);
    for (const Value& dependee : service.after)
        if (Service* other = known(dependee)) mark(turn, *other);
    begin_last(turn);
}

} // namespace muster::services
