// Everything that PID 1 knows, as plain data.
//
// It lies in a memfd mapped by init alone, so that init can execute itself again (after a crash, or
// as the init of another root) and go on: descriptor numbers stay valid, deadlines are absolute.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "init/command_line.h"
#include "init/descriptor_store.h"
#include "init/records.h"
#include "init/slot_descriptors.h"
#include "init/status_table.h"

namespace muster::pid1 {

// Where PID 1 is; pid1.h says how it gets from one to the other.
enum class Phase : std::uint32_t {
    start,       // nothing begun
    shell,       // a shell on the console, no second stage
    running,     // a second stage
    waiting,     // before another attempt
    stopping,    // the end: services are asked to stop
    terminating, // TERM sent to all
    killing,     // KILL sent to all
    finishing,   // the child that syncs and unmounts is at work
    over,        // the last system call was made and refused
};

// How long things may take, in milliseconds.
struct Limits {
    std::int64_t stop = 60000;      // services to stop in order
    std::int64_t grace = 3000;      // between TERM and KILL for what is left
    std::int64_t kill = 5000;       // for processes to go after KILL
    std::int64_t finish = 30000;    // sync and unmount
    std::int64_t brief = 1000;      // a second stage that was up for less, or a shell, was brief
    std::int64_t wait = 1000;       // before starting again what was brief again and again
    std::int64_t shell_wait = 5000; // the same for a shell
};

struct State {
    static constexpr std::uint32_t kMagic = 0x5453494d; // "MIST"
    static constexpr std::uint32_t kVersion = 5;
    static constexpr std::size_t kMainSize = 4096;
    static constexpr std::uint32_t kMainWords = 128;

    std::uint32_t magic;
    std::uint32_t version;
    std::uint32_t size; // sizeof(State)

    // From the start on.
    bool container;
    bool terminal; // in a container: stdin is a terminal
    bool cgroup2;
    bool cgroup_kill;
    bool initramfs;
    bool quiet;
    bool shell_done; // the shell of emergency has been
    std::int64_t init_start_ms;
    Limits limits;
    CommandLine command_line;
    char config[records::kPathSize];       // the second stage's --config
    char second_stage[records::kPathSize]; // its program
    char own_path[records::kPathSize];     // for Welcome::init_program
    // The main service of a container: `main_words` strings, one after the other; with `main_named`
    // the one is the name of a service, else they are a command.
    char main[kMainSize];
    std::uint32_t main_words; // 0: there is none
    bool main_named;

    // Descriptors.
    std::int32_t shared_fd; // the state memfd
    std::int32_t link_fd;   // our end, -1: none

    // The second stage and the helper (shell, finisher); 0: none.
    Phase phase;
    pid_t second_stage_pid;
    pid_t helper_pid;
    std::uint32_t starts;
    std::uint32_t failures; // deaths in a row before it was up
    std::uint32_t briefs;   // deaths in a row shortly after it was up
    bool greeted;           // hello was read: records may be sent
    bool up;
    bool replacing;              // it said that it ends itself
    std::int64_t phase_since_ms; // when the second stage became up, or the phase began
    std::int64_t deadline_ms;    // of the phase; 0: none

    // Going through what is kept for a new second stage.
    std::uint32_t kept_at;
    std::uint32_t kept_statuses;
    std::uint32_t kept_fds;
    std::uint32_t kept_slot_at;
    std::uint32_t kept_slots;
    bool kept_done;

    // The end.
    records::Action action;
    std::int32_t exit_status; // of a container: asked for, or the main process's
    pid_t main_pid;           // 0: unknown
    std::int32_t stop_signal;
    bool stop_sent;
    records::SwitchRoot switch_root;

    // Crashes of init itself.
    std::uint32_t crashes;
    std::int64_t first_crash_ms;

    StatusTable statuses;
    DescriptorStore store;
    SlotDescriptors slot_descriptors;
};

} // namespace muster::pid1
