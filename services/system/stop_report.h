// The end, for people: which services take long to stop, while that goes on, and who was slow.
//
// The tracker stops services; this one looks on. A service stops from when its `<run-service S>`
// goes until its last `<service-state S …>` does. In the log, and so on the console:
//
//   waiting for sshd to stop, 3 s of 10 s          after 3 s and every 5 s
//   sshd was slow to stop, 4.2 s: exit code 0      at the end, who took a second or more
//   db was slow to stop, 10 s: killed by SIGKILL, as it did not stop in 10 s
//   nfs did not stop in 15 s, not even killed; going on without it
//
// While somebody has time left, init is asked to wait for so long. The last is when its stopTimeout
// and 5 s more are over: the tracker is told to go on without it.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "init/base/event_loop.h"
#include "init/dataspace/engine.h"

namespace muster::services {

class StopReport {
  public:
    struct Timing {
        uint64_t first_notice = 3 * second;
        uint64_t next_notice = 5 * second;
        uint64_t slow = 1 * second;
        uint64_t after_kill = 5 * second;
    };
    // `give_up(S)`: nothing waits for S any more; called in no turn.
    StopReport(EventLoop& loop, dataspace::Engine& engine, Ref<dataspace::Facet> facet,
               dataspace::CapRef config, dataspace::CapRef log,
               std::function<void(const preserves::Value&)> give_up)
        : StopReport(loop, engine, std::move(facet), std::move(config), std::move(log),
                     std::move(give_up), Timing()) {}
    StopReport(EventLoop& loop, dataspace::Engine& engine, Ref<dataspace::Facet> facet,
               dataspace::CapRef config, dataspace::CapRef log,
               std::function<void(const preserves::Value&)> give_up, Timing timing);

    // `more(LEFT)`: somebody may take so long still, in nanoseconds; called about every second
    // while that is so. Before `begin`.
    void set_more_time(std::function<void(uint64_t)> more) { more_time_ = std::move(more); }
    // Before the services are told to stop.
    void begin();
    // Says who was slow among those that have stopped; `finish` says it of the others.
    void tell();
    // The services have stopped, or nobody waits for them any longer: says who was slow, and who
    // still runs.
    void finish();

  private:
    using Turn = dataspace::Turn;
    using Value = preserves::Value;
    struct Each {
        size_t states = 0;
        uint64_t limit = 10 * second; // stopTimeout
        std::string last;
        uint64_t since = 0; // when it was told to stop; 0: not yet
        uint64_t took = 0;
        uint64_t next_notice = 0;
        bool given_up = false;
        bool told = false;
    };

    void observe_all(Turn& turn);
    void tick();
    void arm();
    void say_later(std::vector<std::string> lines);

    EventLoop& loop_;
    dataspace::Engine& engine_;
    Ref<dataspace::Facet> facet_;
    dataspace::CapRef config_;
    dataspace::CapRef log_;
    std::function<void(const Value&)> give_up_;
    std::function<void(uint64_t)> more_time_;
    Timing timing_;
    std::unordered_map<Value, Each, preserves::ValueHash, preserves::ValueEqual> services_;
    Timer timer_;
    bool finished_ = false;
};

} // namespace muster::services
