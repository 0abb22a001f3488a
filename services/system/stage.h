// The second stage: the dataspaces, what is served in them, and the end. `dataspace_main.cpp` makes
// one of these.
//
// By itself it does what syndicate-server does with the same options (reference 3.1). With --system
// it is the second stage of init: it also asserts what kind of start this is, keeps overrides in
// /run/muster, and tells init when it is up and when the services have stopped.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "init/base/event_loop.h"
#include "init/dataspace/engine.h"
#include "init/protocol/relay.h"
#include "init/second_stage_link.h"
#include "services/daemon/adoption.h"
#include "services/daemon/listen_sockets.h"
#include "services/log/journal.h"
#include "services/log/sources.h"
#include "services/process/process.h"
#include "services/system/bus_access.h"
#include "services/system/options.h"
#include "services/system/power.h"
#include "services/system/repeats.h"
#include "services/system/trace.h"
#include "services/tracker/kept_matches.h"
#include "services/tracker/kept_times.h"

namespace muster::services {

class SecondStage {
  public:
    // Everything referred to must outlive it.
    SecondStage(EventLoop& loop, SecondStageLink& link, Processes& processes, Adoption& adoption,
                const Options& options);
    ~SecondStage();

    // Runs until the end of the system, of this server, or `<exit STATUS>`. Returns the exit
    // status. ERRORS: what was asked for cannot be begun.
    Result<int> run();

  private:
    using Turn = dataspace::Turn;
    using CapRef = dataspace::CapRef;
    using Value = preserves::Value;

    void boot(Turn& turn);
    void serve(Turn& turn);
    bool commands(preserves::View variables) const;
    void assert_capabilities(Turn& turn);
    void assert_boot_facts(Turn& turn);
    void assert_programs(Turn& turn);
    void require_configuration(Turn& turn);
    void speak_on_stdio();
    Value variables(const std::string& path) const;
    void report_up(Turn& turn, const std::vector<Value>& watchers);
    Result<Watch> watch_signals();
    void end(int status);
    void say_later(std::string line);
    KeptTimes* open_times();
    KeptMatches* open_matches();
    void open_journal();
    void take_other_logs();
    bool has(uint32_t flag) const {
        return link_.attached() && (link_.welcome().flags & flag) != 0;
    }

    EventLoop& loop_;
    SecondStageLink& link_;
    Processes& processes_;
    Adoption& adoption_;
    const Options& options_;
    std::unique_ptr<TraceFile> trace_; // outlives the engine
    std::unique_ptr<KeptTimes> times_; // and these
    std::unique_ptr<KeptMatches> matches_;
    std::unique_ptr<logs::Journal> journal_; // so does this; null: no log files
    std::shared_ptr<ListenSockets> sockets_ = std::make_shared<ListenSockets>();
    dataspace::Engine engine_;
    CapRef config_;
    CapRef machine_;
    CapRef status_;
    CapRef log_;
    CapRef system_;
    CapRef control_; // null unless asked for
    CapRef gatekeeper_;
    Ref<dataspace::Facet> facet_;
    Ref<dataspace::Facet> listeners_;
    dataspace::KeepAlive keep_;
    std::unique_ptr<MainService> main_;
    std::unique_ptr<Power> power_;
    std::unique_ptr<logs::Sources> log_sources_;
    std::unique_ptr<BusAccess> bus_access_;
    std::unique_ptr<Repeats> repeats_;
    protocol::Connection superior_;
    size_t watchers_missing_ = 0;
    int exit_status_ = 0;
    bool ended_ = false;
    Fd signals_;
};

} // namespace muster::services
