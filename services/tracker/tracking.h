// The tracker from within: what it keeps, and what its parts do for each other. Who uses it
// includes tracker.h.
//
//   tracker.cpp       what changed is judged when the world is at rest
//   demands.cpp       who is needed, and what operators say
//   dependencies.cpp  what a service waits for
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
    void stop_all(Turn& turn, std::function<void()> stopped);
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
    void note_order(Service& service) const;
    bool still_up(const Service& service) const;
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
    // While the system goes down: who was started after a service, because of it.
    ByValue<std::vector<Value>> started_after_;
    std::function<void()> stopped_;
};

} // namespace muster::services
