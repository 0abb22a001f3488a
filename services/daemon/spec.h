// What a `<daemon ID SPEC>` says (reference 3.4, and fields of our own).
//
//   SPEC = "shell command"                    run by sh -c
//        | ["program" "argument" …]
//        | <one-shot COMMAND>                 either of the above; runs once, again if it fails
//        | { argv: COMMAND  …fields… }        or s6: "folder" instead of argv
//
// All fields are in muster-service(5). What is unknown or of a wrong kind is an error that knows
// the part of the value it is about.
//
//   spec_values   reading texts, numbers, times, sizes, commands
//   spec_process  fields about the process: mostly options of `init --exec`
//   spec_life     fields about its life: times, signals, restarts, commands, readiness
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "init/base/result.h"
#include "init/preserves/value.h"
#include "services/log/ring.h"

namespace muster::services {

using preserves::Value;
using preserves::View;

enum class Restart : uint8_t { always, on_error, all, never };
enum class Protocol : uint8_t { none, packed, text };
// Whom the stop signal goes to, and what becomes of those that it does not reach.
enum class KillMode : uint8_t {
    group,   // the process group; what is left when the process has ended gets TERM
    tree,    // everything
    mixed,   // the process; the rest is killed when it has ended
    process, // the process; the rest stays
};
enum class Output : uint8_t { log, null, file, standard_output };

using Command = std::vector<std::string>;

// What few services ask for.
struct RareFields {
    struct Health {
        Command argv; // empty: none
        uint64_t interval = 30'000'000'000;
        uint64_t timeout = 10'000'000'000;
        unsigned retries = 3;
    };
    struct CgroupSetting {
        std::string file; // "memory.max"
        std::string value;
        std::string device; // its MAJOR:MINOR goes in front; empty: none
    };

    std::vector<std::string> streams;  // the same, for the process alone
    std::vector<std::string> stub;     // options of `init --exec`
    std::vector<CgroupSetting> cgroup; // in the order in which they are written
    std::vector<Command> start_pre, start_post, stop_post;
    Health health;
    std::vector<int> success;       // wait statuses that count as exit code 0
    Value listen;                   // a sequence (listen_sockets.h), or invalid
    std::string s6;                 // the folder (s6_folder.h), or empty
    uint64_t start_timeout = 0;     // nanoseconds; 0: none
    uint64_t watchdog = 0;          // nanoseconds; 0: none
    uint64_t restart_delay = 0;     // nanoseconds; 0: the usual
    uint64_t restart_delay_max = 0; // nanoseconds; 0: the usual
    unsigned restart_starts = 0;    // so many starts …
    uint64_t restart_within = 0;    // … in this time, nanoseconds; 0: no limit
    KillMode kill_mode = KillMode::group;
    bool notify_socket = false;
    bool pid_namespace = false;
    bool net_namespace = false;
    bool user = false;           // becomes somebody: HOME is his
    bool standard_input = false; // a file
    bool tty = false;
    Output standard_output = Output::log;
    Output standard_error = Output::log;
};

struct DaemonSpec {
    struct Variable {
        std::string name;
        std::string value;
        bool removed = false;
    };

    Command argv;
    std::vector<Variable> env;
    std::string dir = "/";
    bool clear_env = false;
    bool ready_on_start = true;
    Restart restart = Restart::always;
    Protocol protocol = Protocol::none;
    bool resume = false;
    uint64_t linger = 0;                    // nanoseconds
    int notify = -1;                        // descriptor
    Value grant;                            // a dictionary, or invalid
    uint64_t stop_timeout = 10'000'000'000; // nanoseconds
    int stop_signal = 15;
    logs::Rotation log;                     // what is 0 is the default
    std::shared_ptr<const RareFields> rare; // or null

    const RareFields& more() const;
    // Whether this end of a process is one without failure.
    bool is_success(int wait_status) const;
};

struct SpecProblem {
    View part; // of the specification
    // Names the field and what it should be: "stopTimeout: "soon" is not a number of seconds".
    std::string message;
};

// All that is wrong with it; `out`, if given, is complete if nothing is.
std::vector<SpecProblem> read_spec(View spec, DaemonSpec* out);
// The same with the first problem as error.
Result<DaemonSpec> parse_spec(View spec);

// For config::Script: what is wrong with an assertion, if it is a `<daemon ID SPEC>`.
std::vector<std::pair<View, std::string>> check_assertion(View assertion);

// The environment of its processes, "NAME=value": PATH, HOME=/root, TERM=linux and
// MUSTER_SERVICE=`service` (the text of `<daemon ID>`) unless clearEnv, then what `env` says. What
// the second stage itself was started with is not passed on.
std::vector<std::string> environment_of(const DaemonSpec& spec, const std::string& service);
// The value of PATH in such an environment, or the usual one.
std::string path_of(const std::vector<std::string>& environment);

} // namespace muster::services
