// The end of the system, and what init says to the second stage about it.
//
// `$system` is a capability of its own. It takes the messages
//   <system poweroff> <system reboot> <system halt>
//   <system <shutdown ACTION DUE MESSAGE WHO>>, <system cancel-shutdown>   (pending_shutdown.h)
//   <system exit STATUS>                  in a container: ends it with that status
//   <system upgrade>                      init and we go on as the programs that are installed now
//   <system switch-root "NEWROOT" "INIT"> "" for INIT: init= of the kernel command line, /sbin/init
// init decides, and comes back with `stop`: then all services are stopped, in their order, and init
// is told when they are; meanwhile `<system-ends>` is asserted in `$config`. By itself, without
// init, the second stage stops the services and ends.
#pragma once

#include <functional>

#include "init/base/event_loop.h"
#include "init/dataspace/engine.h"
#include "init/second_stage_link.h"
#include "services/daemon/adoption.h"
#include "services/log/journal.h"
#include "services/process/process.h"
#include "services/system/main_service.h"
#include "services/system/pending_shutdown.h"
#include "services/system/stop_report.h"
#include "services/tracker/tracker.h"

namespace muster::services {

struct PowerContext {
    EventLoop& loop;
    dataspace::Engine& engine;
    SecondStageLink& link;
    Processes& processes;
    Adoption& adoption;
    TrackerControl tracker;
    dataspace::CapRef config;
    dataspace::CapRef status;
    dataspace::CapRef log;
    std::string pending_path;         // PendingShutdown's
    logs::Journal* journal = nullptr; // is told when the end begins
    bool ending = false;              // it had begun before us: we only go on with it
};

class Power {
  public:
    // `facet`: where what is to be said in `$log` is said from.
    Power(PowerContext context, Ref<dataspace::Facet> facet);

    // The capability `$system`, to be made in a turn of `facet`'s actor.
    dataspace::CapRef capability(dataspace::Turn& turn);
    // A shutdown that is still pending. In a turn of `facet`, once.
    void resume(dataspace::Turn& turn);
    // Of a container: its end is the end, and signals reach it. Must outlive this.
    void set_main(const MainService* main) { main_ = main; }
    // The main service has this process now; it has ended.
    void main_runs(pid_t pid);
    void main_ended();
    // Handles all records that wait. To be called when the link is readable.
    void on_records();
    // Stops all services, then leaves the event loop: the end without init.
    void stop_by_itself();
    bool stopping() const { return stopping_; } // everything, for good
    // Nobody waits for the services any longer: says in the log who has not stopped.
    void time_is_over();

  private:
    class Switch;
    void command(dataspace::Turn& turn, preserves::View request);
    void replace();
    void log(std::string line);
    void on_stop(records::Action action);
    void begin_stop(records::Action action);
    void stop_all(std::function<void()> stopped);

    PowerContext context_;
    Ref<dataspace::Facet> facet_;
    bool stopping_ = false;
    Timer before_stop_;
    PendingShutdown pending_;
    std::unique_ptr<StopReport> report_;
    const MainService* main_ = nullptr;
};

} // namespace muster::services
