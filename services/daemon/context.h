// What the supervisor of daemons works with. Everything referred to must outlive it.
#pragma once

#include <cstdint>
#include <memory>

#include "init/base/event_loop.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "services/daemon/adoption.h"
#include "services/daemon/gathering.h"
#include "services/daemon/listen_sockets.h"
#include "services/log/journal.h"
#include "services/process/process.h"

namespace muster::services {

// How long things take, in nanoseconds; see instance.h. Tests make them short.
struct Timing {
    uint64_t first_delay = 200 * millisecond;
    uint64_t longest_delay = 30 * second;
    uint64_t good_run = 10 * second;
    // After a process tree has ended: how long its protocol channel may take to be read to its end.
    uint64_t channel_grace = 1 * second;
};

// How many turns there and back are waited for when what was just read may still change what is to
// run: rules in scripts draw conclusions, and the tracker judges them (tracker.cpp, settle_rounds).
// More than either needs, in practice.
inline constexpr int judgement_rounds = 40;

struct Context {
    EventLoop& loop;
    Processes& processes;
    dataspace::CapRef config;
    // Processes get windows (window.h) on $machine and $status. Both may be null.
    dataspace::CapRef machine;
    dataspace::CapRef log;
    dataspace::CapRef status;
    Timing timing{};
    Adoption* adoption = nullptr; // null: nothing is remembered
    // The sockets that are open for daemons, also while they do not run
    // (services/presence/client_facts.h); null: `serve_daemons` makes it.
    std::shared_ptr<ListenSockets> sockets{};
    // `serve_daemons` makes it.
    std::shared_ptr<Gathering> gathering{};
    // Where lines are kept until they are in their files; null: they are only sent to `log`.
    logs::Journal* journal = nullptr;
    // The system goes down already, and what was adopted is only to be stopped: nothing starts.
    bool ending = false;
};

} // namespace muster::services
