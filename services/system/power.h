// The end of the system, and what init says to the second stage about it.
//
// `$system` is a capability of its own. It takes the messages
//   <system poweroff> <system reboot> <system halt>
//   <system exit STATUS>                  in a container: ends it with that status
//   <system switch-root "NEWROOT" "INIT"> "" for INIT: init= of the kernel command line, /sbin/init
// init decides, and comes back with `stop`: then all services are stopped, in their order, and init
// is told when they are. By itself, without init, the second stage stops the services and ends.
#pragma once

#include <functional>

#include "init/base/event_loop.h"
#include "init/dataspace/engine.h"
#include "init/second_stage_link.h"
#include "services/process/process.h"
#include "services/tracker/tracker.h"

namespace muster::services {

struct PowerContext {
    EventLoop& loop;
    dataspace::Engine& engine;
    SecondStageLink& link;
    Processes& processes;
    TrackerControl tracker;
    dataspace::CapRef log;
};

class Power {
  public:
    // `facet`: where what is to be said in `$log` is said from.
    Power(PowerContext context, Ref<dataspace::Facet> facet);

    // The capability `$system`, to be made in a turn of `facet`'s actor.
    dataspace::CapRef capability(dataspace::Turn& turn);
    // Handles all records that wait. To be called when the link is readable.
    void on_records();
    // Stops all services, then leaves the event loop: the end without init.
    void stop_by_itself();

  private:
    class Switch;
    void command(dataspace::Turn& turn, preserves::View request);
    void log(std::string line);

    PowerContext context_;
    Ref<dataspace::Facet> facet_;
    bool stopping_ = false;
};

} // namespace muster::services
