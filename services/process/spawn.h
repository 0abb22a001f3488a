// Starting a process without anything slow between clone and exec.
//
// The child shares our memory until it executes (CLONE_VM), so starting costs the same however
// large we are. It runs on a stack of its own and makes only raw system calls that cannot block;
// everything that has to look, allocate or search is done by the parent beforehand. What fails in
// the child is left in the shared memory for the parent to read.
//
// `spawn` waits until the child has executed. `launch` goes on meanwhile, which lets another
// processor do that part: what the child needs stays where it is until `settle`, which waits for
// it, has read how it went (the kernel clears a word and wakes us when the child leaves our memory,
// CLONE_CHILD_CLEARTID). Only a few are under way at a time.
//
// Three ways, best first; one that the kernel or a sandbox refuses is not tried again:
//   clone3 with CLONE_INTO_CGROUP     Linux 5.7; also without a copy of all our descriptors
//   clone3, the child writes itself into cgroup.procs
//   clone, the same                   no clone3: Linux before 5.3, some container engines
// Under init the child is init's (CLONE_PARENT) and its pid goes into the state memfd by
// CLONE_PARENT_SETTID before it can run (init/records.h).
//
// The child: a session of its own, default signals and an empty mask, umask 022, OOM score 0
// (oom_score.h), the given descriptors and no others, and the limit on descriptors that was in
// force when the Spawner was made: we may raise ours afterwards.
//
// Sources: clone(2), close_range(2), execve(2), pidfd_open(2), proc(5), cgroups(7).
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "init/base/fd.h"
#include "init/base/result.h"
#include "services/process/oom_score.h"

namespace muster::services {

inline constexpr std::string_view default_path =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct SpawnRequest {
    std::vector<std::string> argv;        // argv[0] is searched in `path` if it has no slash
    std::vector<std::string> environment; // "NAME=value"
    std::string path{default_path};
    std::string directory = "/"; // a relative argv[0] with a slash is relative to it
    // Borrowed, close-on-exec or not. -1: /dev/null.
    int standard_input = -1;
    int standard_output = -1;
    int standard_error = -1;
    // More descriptors, each with its number in the child (3 to 1023). Borrowed.
    struct Handed {
        int fd;
        int number;
    };
    std::vector<Handed> handed;
    // Variables that are set to the process's own pid, as it sees it itself (LISTEN_PID).
    std::vector<std::string> pid_variables;
    // Files of the cgroup and what is written to them: {"memory.max", "1048576"}.
    std::vector<std::pair<std::string, std::string>> cgroup_settings;
    int cgroup = -1;              // the cgroup's directory, or -1
    bool pidfd = true;            // Spawned::pidfd is wanted
    bool pid_namespace = false;   // its own, in which it is process 1
    bool child_of_parent = false; // CLONE_PARENT
    pid_t* pid_cell = nullptr;    // CLONE_PARENT_SETTID
};

struct Flight;

struct Spawned {
    pid_t pid = 0;
    Fd pidfd;               // invalid if the process was reaped before one could be opened
    bool in_cgroup = false; // it was born in `cgroup`
    // Not empty: the child was made but could not be executed; it ends, or has ended, with 127, and
    // its end comes as any other. `exhausted`: it may be, later.
    Error failure;
    // Of `launch`: what `failure` is will be known by `settle`. Null: it is known.
    std::shared_ptr<Flight> flight;
};

class Spawner {
  public:
    // For tests: which ways may be used.
    struct Ways {
        bool clone3 = true;
        bool into_cgroup = true;
    };
    static Result<Spawner> create(Ways ways);
    static Result<Spawner> create() { return create(Ways()); }

    Spawner(Spawner&& other) noexcept;
    Spawner& operator=(Spawner&& other) noexcept;
    ~Spawner();

    // Errors: no such program (nothing was started, as for all errors), a descriptor could not be
    // made, no more processes or memory (EAGAIN, ENOMEM; worth another try later).
    Result<Spawned> spawn(SpawnRequest request);
    // The same, but it may return before the child has executed; then `settle` must follow, and
    // soon: until then a pipe that the child got has not ended for others. The request's
    // descriptors may be closed at once.
    Result<Spawned> launch(SpawnRequest request);
    // Waits until it has executed or failed to; Spawned::failure.
    Error settle(Flight& flight);
    const Ways& ways() const { return ways_; }

  private:
    static constexpr size_t most_flights = 4;
    static constexpr size_t most_places = 12;

    Spawner() = default;
    Result<Spawned> start(SpawnRequest wanted, bool may_fly);
    void board(const std::shared_ptr<Flight>& flight, size_t count);
    void land(Flight& flight);
    void land_all();
    void make_room(const SpawnRequest& request);

    Ways ways_;
    void* stacks_ = nullptr; // one each, and below them a page that is not accessible
    Fd null_;                // /dev/null
    // Places that are low, for what children get that share our descriptors; free ones are
    // /dev/null.
    std::array<Fd, most_places> places_;
    int last_place_ = 0; // the highest number of them
    uint32_t used_places_ = 0;
    int table_ = 0;   // descriptors that ours has room for, as far as we know
    size_t next_ = 0; // of flights_
    std::array<std::shared_ptr<Flight>, most_flights> flights_; // each with its stack
    bool close_range_ = false;
    uint64_t ignored_ = 0; // signals: bit N - 1
    rlimit files_{};       // RLIMIT_NOFILE of a child
    OomScore oom_score_;
};

// The path to execute for `program`: as it stands if it has a slash, else the first executable
// file of that name in the directories of `path`.
Result<std::string> find_program(std::string_view program, std::string_view path);

// Why executing `program` (as found, relative to `directory`) failed with `error_number`, in words:
// "/usr/bin/foo: no such program", "/usr/bin/foo: interpreter /bin/bar missing".
std::string explain_exec_failure(const std::string& program, const std::string& directory,
                                 int error_number);

} // namespace muster::services
