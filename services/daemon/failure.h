// What is asserted in `$config` of the last failure of a daemon, until the daemon is stopped:
//
//   <failure <daemon ID> {
//       time: "2026-11-22T01:02:03.456789Z"
//       how: "killed by SIGSEGV (core dumped)"     a phrase for people
//       kind: signal             exit signal oom start protocol; time-limit: it did not stop in
//       time;
//                                not-well: not ready in time, or its watchdog or probe failed
//       code: 3                  of exit
//       signal: SEGV             of signal, oom
//       core: #t                 a core was dumped
//       lines: ["…"]             what it wrote last, at most 10 lines and 1 KiB
//       count: 3                 failures since the daemon was last stopped, this one included
//       next: "2026-…"           when it is started again, if it is
//   }>
//
// and by the tracker, for as long as S is needed and does not run because of it:
//
//   <taken-down S BY>            S was stopped since BY, a service that it depends on, went away
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "init/preserves/value.h"

namespace muster::services {

struct Failure {
    enum class Kind : uint8_t { exit, signal, oom, time_limit, start, protocol, not_well };

    Kind kind = Kind::start;
    std::string how; // empty: there was none
    int wait_status = 0;
    uint64_t time_us = 0; // CLOCK_REALTIME
    uint64_t next_us = 0; // 0: it is not started again
    uint64_t count = 0;
    std::vector<std::string> lines;
};

// How a process ended that should not have. `oom`: the kernel ended it for want of memory.
Failure failure_of(int wait_status, bool oom);
preserves::Value failure_record(const preserves::Value& service, const Failure& failure);

} // namespace muster::services
