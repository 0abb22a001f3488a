// Whom the kernel's OOM killer has ended, as its log tells.
//
// A control group says it itself where it is limited (cgroup.h). Of everybody else only /dev/kmsg
// tells: "oom-kill:constraint=…,task=NAME,pid=N,uid=U" before the signal comes, and "Killed process
// N" right after it. It is read when somebody asks, so that it costs nothing as long as nobody is
// killed.
//
// Source: dump_oom_victim and __oom_kill_process in the kernel's mm/oom_kill.c; Linux
// Documentation/ABI/testing/dev-kmsg.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "init/base/fd.h"

namespace muster::services {

// The process that this message of the kernel's is about; 0 if it is about no such thing.
pid_t oom_victim(std::string_view line);

class OomKills {
  public:
    // Where the log has the numbers of processes that we have, too: not in a namespace of ours.
    OomKills();
    // Each read of LOG gives a record, and EAGAIN when there are no more.
    explicit OomKills(Fd log) : log_(std::move(log)) {}

    // Whether it ended PID, which was there from SINCE on (CLOCK_MONOTONIC, nanoseconds).
    bool has(pid_t pid, uint64_t since);

  private:
    void read();

    struct Kill {
        pid_t pid;
        uint64_t time_us; // of the kernel's log
    };
    Fd log_;
    std::vector<Kill> kills_; // the latest
};

} // namespace muster::services
