#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "services/tracker/tracking.h"

namespace muster::services {

namespace pat = dataspace::pattern;

void Tracker::observe_idle_stops(Turn& turn) {
    Ref<Tracker> self(this);
    observe(
        turn, spaces_.config, pat::record("idle-stop", {pat::bind(), pat::bind()}),
        [self](Turn& t, View seen) {
            Service& each = self->service(seen.at(0));
            each.idle_after = idle_time(seen.at(1));
            if (each.idle_after == 0)
                self->log(t, "idle-stop of " + display_name(each.name) + ": " +
                                 preserves::to_text(without_capabilities(seen.at(1))) +
                                 " is no number of seconds above 0");
            self->mark(t, each);
        },
        [self](Turn& t, View seen) {
            Service& each = self->service(seen.at(0));
            if (each.idle_after != idle_time(seen.at(1))) return; // another one came instead
            each.idle_after = 0;
            self->mark(t, each);
        });
}

bool Tracker::stays_for_a_while(const Service& each) const {
    // One that ran in a second stage before us, needed or for a while, does so for a while.
    bool ran = each.is_up() && is_adopting();
    return each.idle_after > 0 && (each.run || ran) && !each.is_point() && each.allowed() &&
           spaces_.loop && !shutting_down_;
}

// Called when it is judged: whether it is to go on although nobody needs it.
bool Tracker::goes_on(Service& each) {
    if (each.needed) each.idle_over = false;
    if (each.needed || each.idle_over || !stays_for_a_while(each)) {
        each.idle.cancel();
        return false;
    }
    if (!each.idle.pending())
        each.idle = later(each.idle_after, each.name, [](Tracker& self, Turn& t, Service& idle) {
            idle.idle_over = true;
            self.mark(t, idle);
        });
    return true;
}

Timer Tracker::later(uint64_t nanoseconds, const Value& name,
                     std::function<void(Tracker&, Turn&, Service&)> action) {
    return spaces_.loop->after(nanoseconds, [this, name, action = std::move(action)] {
        facet_->actor().engine().external(facet_,
                                          [self = Ref<Tracker>(this), name, action](Turn& turn) {
                                              if (Service* each = self->known(name))
                                                  action(*self, turn, *each);
                                          });
    });
}

} // namespace muster::services
