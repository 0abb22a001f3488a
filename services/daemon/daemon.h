// One daemon: its processes, and what is asserted about it.
//
// It has one instance (instance.h) for each specification. When the specifications change, those
// that went are stopped, and the new ones start when nothing of them is left; equal ones are not
// touched. What is asserted in `$config`, while it is wanted or something of it is left:
//
//   <service-state <daemon ID> started>    from the beginning, while processes run, start or stop
//   <service-state <daemon ID> ready>      beside it, while every process is ready or complete
//   <service-state <daemon ID> failed>     instead, while one waits for its delay or was given up
//   <service-state <daemon ID> complete>   instead, when all are complete
//   <daemon-status ID {…}>                 for people
//   <failure <daemon ID> {…}>              the last one (failure.h)
//
// Changing from one to the other is one turn without a gap. When it is stopped, `ready` goes at
// once and the rest when nothing of its processes is left.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "services/daemon/instance.h"

namespace muster::services {

class Daemon : public Counted {
  public:
    // `id` of `<daemon ID>`. `on_gone` is called in a turn when it was stopped and nothing is left.
    Daemon(std::shared_ptr<const Context> context, dataspace::Engine& engine, Value id,
           TurnAction on_gone);
    // `facet`: for this daemon alone; what it asserts is owned by it. Before anything else.
    void attach(Ref<Facet> facet);

    const Value& id() const { return id_; }
    // Runs with these specifications, each once.
    void run(Turn& turn, const std::vector<Value>& specs);
    void stop(Turn& turn);
    // Takes over what a second stage before us ran, and keeps it until `end_hold`: then what is not
    // wanted is stopped.
    void adopt(Turn& turn, Value spec, LedgerEntry entry);
    bool held() const { return held_; }
    void end_hold() { held_ = false; }
    void restart(Turn& turn);
    // Somebody says that it is ready: for people only.
    void set_declared_ready(Turn& turn, bool ready);

    // For instances.
    const Context& context() const { return *context_; }
    dataspace::Engine& engine() const { return engine_; }
    const Ref<Facet>& facet() const { return facet_; }
    const Value& service() const { return service_; } // <daemon ID>
    const std::string& name() const { return name_; } // its text
    void changed(Turn& turn);
    void instance_idle(Turn& turn);
    void instance_gone(Turn& turn, Instance& instance);
    void restart_others(Turn& turn, Instance& failed);

  private:
    void start_idle(Turn& turn);
    void confirm(Turn& turn, const std::vector<Value>& specs);
    void finish(Turn& turn);
    void publish(Turn& turn);
    Value status() const;
    void publish_failure(Turn& turn);

    std::shared_ptr<const Context> context_; // of all daemons
    dataspace::Engine& engine_;
    Value id_;
    Value service_;
    std::string name_;
    TurnAction on_gone_;
    Ref<Facet> facet_;
    dataspace::KeepAlive keep_;
    std::vector<Ref<Instance>> instances_;
    bool wanted_ = false;
    bool held_ = false;
    bool restart_when_wanted_ = false;
    bool restarting_ = false; // all of them: they start together
    bool declared_ready_ = false;
    bool publishing_ = false; // at the end of this turn

    std::string_view state_; // what is asserted: started, failed, complete or nothing
    dataspace::Handle state_handle_ = 0;
    dataspace::Handle ready_handle_ = 0;
    Value status_;
    dataspace::Handle status_handle_ = 0;
    uint64_t failures_ = 0; // what is asserted: their count and the time of the last
    uint64_t failed_at_ = 0;
    dataspace::Handle failure_handle_ = 0;
};

} // namespace muster::services
