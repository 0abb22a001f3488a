// From needs to running services (design 2; reference 3.2): who is needed, what that waits for, and
// what is told to everybody about it.
//
// For each service S the tracker knows
//   needed     somebody asserts `<require-service S>`. The tracker does so itself for
//              `<RequireService S>`, for interest in `<ServiceRunning S>`, for what a needed
//              service depends on, and for `<service-override S up>`.
//   obstacles  each `<depends-on S D>` whose D is not there; `<service-override S down>`;
//              `<disable-service S>`; what bonds.h says; the system going down while others that
//              depend on S still run.
// While S is needed and has no obstacle `<run-service S>` is asserted: whoever implements S runs
// it, and says how it is by `<service-state S …>`.
//
// Life of a service, in the words that people see:
//
//   stopped --needed--> waiting --no obstacle--> starting --ready--> running
//      ^                   ^                        |  ^                |
//      |                   |                      failed (and again)    |
//      +---- stopping <----+------------------------+-------------------+
//                                                   +--completed--> complete
//
// Judged when the world is at rest: a change marks S, and a few rounds through the dataspace later
// (so that rules in scripts have drawn their conclusions) S is looked at once. What is retracted
// and asserted again in between is never acted upon. `ServiceRunning` follows `service-state` at
// the end of the turn in which that changed.
//
// Milestones, `<milestone NAME>`, are services of the tracker's own: ready as soon as nothing
// stands in their way. One that was reached stays so while what it depends on ends and is started
// again by itself or by an operator, and is lost when something of it may not run any more.
//
// A one-shot that is complete and is run once more (`<restart-service S>`) counts as complete until
// that is over.
//
// `<idle-stop S SECONDS>`: S goes on for that long when nobody needs it any more.
//
// Services that wait for each other in a circle are named once in the log and in their status;
// all others start, and so do they if one of them only wants the next, or only comes after it.
//
// In the mirror, `$status`, each service has `<service S WORD {…}>` and copies of `service-state`,
// `ServiceRunning`, devices and links, all without capabilities.
#pragma once

#include <functional>
#include <string>

#include "init/base/event_loop.h"
#include "init/dataspace/dataspace.h"

namespace muster::services {

class KeptMatches;
class KeptTimes;

struct TrackerSpaces {
    dataspace::CapRef config;
    dataspace::CapRef machine;
    dataspace::CapRef status;
    dataspace::CapRef log;
    // Where overrides are kept over the life of a second stage; empty: nowhere.
    std::string overrides_path;
    // May be null; must outlive the engine.
    KeptTimes* times = nullptr;
    KeptMatches* matches = nullptr;
    // For what takes time; without it nothing goes on when nobody needs it, and what is wanted is
    // waited for without end. Must outlive the engine.
    EventLoop* loop = nullptr;
    // When all are stopped: the one that is asked to when all others have stopped, but for those
    // that it was started after itself. May be invalid.
    preserves::Value last_to_stop = {};
    // How long S waits for what it wants, or is to come after, when nothing is bringing it about.
    uint64_t patience = 5 * second;
    // Whether what ran in a second stage before us is being adopted still; may be empty.
    std::function<bool()> adopting = {};
    // The system goes down, and `stop_all` comes when the configuration is known: daemons that are
    // there stay until then, whoever needs them, and no others run.
    bool ending = false;
};

class Tracker;

// The running tracker, for whoever shuts the system down.
class TrackerControl {
  public:
    TrackerControl();
    TrackerControl(const TrackerControl&);
    TrackerControl& operator=(const TrackerControl&);
    ~TrackerControl();
    // Stops all services, each after those that were started because it was there, whatever the
    // configuration says by now, and calls `stopped` when no process of theirs is left; before
    // that, `last` when only `last_to_stop` and what it was started after are. REQUIRES: called in
    // no turn, as for the others.
    void stop_all(
        dataspace::Engine& engine, std::function<void()> stopped,
        std::function<void()> last = [] {});
    // While they are being stopped: nobody waits for this one any longer.
    void give_up(dataspace::Engine& engine, const preserves::Value& service);

  private:
    friend TrackerControl track_services(dataspace::Engine&, TrackerSpaces);
    Ref<Tracker> tracker_;
};

// Starts the tracker as an actor. Commands come as messages in `config`: `<start-service S>`,
// `<stop-service S>`, `<release-service S>`.
TrackerControl track_services(dataspace::Engine& engine, TrackerSpaces spaces);

} // namespace muster::services
