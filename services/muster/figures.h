// What the kernel says of processes: memory, processor time, control groups. Only from files that
// everybody may read. Sources: proc(5), the kernel's Documentation/admin-guide/cgroup-v2.rst.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace muster::command {

struct Process {
    pid_t pid = 0;
    pid_t parent = 0;
    std::string command;  // its words, or its name if it has none
    uint64_t cpu = 0;     // microseconds, its own and that of children it waited for
    uint64_t memory = 0;  // bytes, resident
    uint64_t started = 0; // microseconds of CLOCK_MONOTONIC, as exact as a clock tick
};

// Of a service: of its control group and all in it, or, where there is none, of one process.
struct Figures {
    bool known = false;      // something of it runs here
    bool resident = false;   // memory is the sum of what is resident: shared pages count each time
    bool whole = false;      // of a control group
    uint64_t memory = 0;     // bytes
    uint64_t cpu = 0;        // microseconds
    std::string cgroup;      // "/services/sshd"
    std::vector<pid_t> pids; // sorted
};

// Where files are read from; tests have others.
struct KernelFiles {
    std::string proc = "/proc";
    // Where version 2 of the control groups is mounted for a process with this /proc/PID/cgroup;
    // empty: looked up in /proc/self/mountinfo.
    std::string cgroup2;
};

// Of the service whose process `pid` is.
Figures figures_of(pid_t pid, const KernelFiles& files = {});
// One process; its pid is 0 if it is gone.
Process process_of(pid_t pid, const KernelFiles& files = {});

// Microseconds of CLOCK_MONOTONIC now, and the time of day at such a moment: "2026-11-22 07:12:03".
uint64_t now_us();
std::string time_of_day(uint64_t us);
std::string time_of_day_rfc3339(uint64_t us);
// The same of microseconds since 1970, as lines of the log have them.
std::string local_time(uint64_t realtime_us);

} // namespace muster::command
