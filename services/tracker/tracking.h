// The tracker from within: what it keeps, and what its parts do for each other. Who uses it
// includes tracker.h.
//
//   tracker.cpp       what changed is judged when the world is at rest
//   demands.cpp       who is needed, and what operators say
//   dependencies.cpp  what a service waits for
//   bonds.cpp         weaker ties, and who provides what
//   idle.cpp          going on when nobody needs it
//   stopping.cpp      the end: each service after those that depend on it
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "services/tracker/cycle_reports.h"
#include "services/tracker/service.h"
#include "services/tracker/tracker.h"

namespace muster::services {

using dataspace::CapRef;
using dataspace::Turn;

class Tracker final : public Counted {
  public:
    explicit Tracker(TrackerSpaces spaces) : spaces_(std::move(spaces)) {}

    void boot(Turn& turn);
    void stop_all(Turn& turn, std::function<void()> stopped, std::function<void()> last);
    void give_up(Turn& turn, const Value& name);
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
    // Those that depend on it; and those that are tied to it by another bond.
    void mark_dependents(Turn& turn, View name);
    void mark_followers(Turn& turn, View name);
    // Whether a dependency of `service` is there; has it counted.
    // `judged`: now, and not only when it is at rest.
    void reconsider(Service& service, const Value& dependee, Dependency& dependency,
                    bool judged = false);
    // While the system goes down: what it depended on may go when it has gone.
    void mark_dependencies_at_the_end(Turn& turn, Service& service);
    // What runs, or is to, and is still to be waited for.
    bool goes_down(const Service& service) const;
    void find_before_last();
    bool others_are_up();
    void begin_last(Turn& turn);

    void observe_demands(Turn& turn);
    void observe_services(Turn& turn);
    void observe_commands(Turn& turn);
    void demand(Turn& turn, View name, int change);
    Value name_meant(Turn& turn, View name);
    void restart(Turn& turn, View name);
    void set_override(Turn& turn, View name, bool up, bool down, bool save);
    void add_dependency(Turn& turn, View depender, View dependee, Bond bond = Bond::needs);
    void remove_dependency(Turn& turn, View depender, View dependee, Bond bond = Bond::needs);
    void observe_bonds(Turn& turn);
    // `<wants S D>`, `<before S2 S>`; both sides of `<conflicts S S2>`.
    void tie(Turn& turn, Bond bond, View depender, View dependee, bool present);
    void conflict(Turn& turn, View one, View other, bool present);
    void provide(Turn& turn, View provider, View name, bool present);
    void choose_provider(Turn& turn, Service& service, bool pursued);
    // What it provides is judged.
    void mark_provided(Turn& turn, const Service& provider);
    // While it waits for nothing but what need not be: sees to it that this comes to an end.
    void be_patient(Service& service, bool pursued);

    void observe_idle_stops(Turn& turn);
    bool is_adopting() const { return spaces_.adopting && spaces_.adopting(); }
    bool stays_for_a_while(const Service& service) const;
    bool goes_on(Service& service);
    // Runs `action` with the service, if it is still known, in a turn of ours after that time.
    Timer later(uint64_t nanoseconds, const Value& name,
                std::function<void(Tracker&, Turn&, Service&)> action);

    void settle(Turn& turn);
    void judge(Turn& turn, Service& service);
    void tell_taken_down(Turn& turn, Service& service);
    void activate(Turn& turn, const Service& service, const Value& dependee,
                  Dependency& dependency);
    void deactivate(Turn& turn, Dependency& dependency);
    void note_order(Service& service) const;
    bool still_up(const Service& service) const;
    bool satisfied(const Service& service, const Dependency& dependency) const;
    bool bond_satisfied(const Service& service, const Dependency& dependency) const;
    bool has_active_dependents(View name) const;
    void find_cycles(Turn& turn);
    void finish_turn(Turn& turn);
    void update_mirror(Turn& turn, Service& service);
    // The same, for many at once, in a moment.
    void mirror_later(Service& service);
    void check_all_stopped(Turn& turn);
    void log(Turn& turn, const std::string& line);

    TrackerSpaces spaces_;
    Ref<dataspace::Facet> facet_;
    ServiceTable services_;
    // Who depends on a service, and by which keys of Service::dependencies; and who is tied to it
    // by another bond.
    using Ties = ByValue<ByValue<std::vector<Value>>>;
    Ties& ties(Bond bond) { return bond == Bond::needs ? dependents_ : followers_; }
    void mark_tied(Turn& turn, const Ties& ties, View name);
    Ties dependents_;
    Ties followers_;
    std::vector<Value> dirty_;    // to be judged after the next settling
    std::vector<Value> settling_; // being settled
    std::vector<Value> touched_;
    int rounds_left_ = 0;
    bool finish_scheduled_ = false;
    bool cycles_may_have_changed_ = false;
    CycleReports cycles_;
    std::vector<Value> mirrored_late_;
    Timer mirror_timer_; // while there are such
    bool shutting_down_ = false;
    bool all_at_once_ = false; // no order is left to go by
    // While the system goes down: who was started after a service, because of it.
    ByValue<std::vector<Value>> started_after_;
    std::vector<Value> before_last_; // that `last_to_stop` waits for, some stopped already
    std::function<void()> stopped_, last_;
};

} // namespace muster::services
