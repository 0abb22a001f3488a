// Commands beside the process of a daemon, one after another: before and after its start, after its
// end, the health probe. Each is a process tree of its own, with the service's user, limits and
// directory; what it prints is logged as the service's.
//
//   waiting --start--> running: the first command, and the next when nothing of it is left
//     a command fails, or the time for all is over (SIGKILL)  -> failed
//     the last one succeeds                                   -> done
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "services/daemon/carried.h"
#include "services/daemon/context.h"
#include "services/daemon/log_lines.h"
#include "services/daemon/program.h"

namespace muster::services {

class Commands {
  public:
    struct Owner {
        const Context& context;
        dataspace::Engine& engine;
        Ref<dataspace::Facet> facet;
        Value service;
        std::string name;   // of the service, in its text
        std::string cgroup; // of the process

        // In the log, as the supervisor; in a turn of its own.
        void say(std::string line) const;
    };
    // `failure`: "startPre: exit code 1"; empty if there is none. `status`: of the last command as
    // wait(2) gives it, or -1.
    using Done = std::function<void(const Error& failure, int status)>;

    // `spec` is only used in `start` and between two commands, and must be there then. `limit` in
    // nanoseconds for all of them; 0: none. `done` comes from the event loop.
    Commands(Owner owner, const DaemonSpec& spec, std::string what, std::vector<Command> commands,
             std::vector<std::string> environment, uint64_t limit, Done done);
    // Whatever still runs is killed, and nothing is told.
    ~Commands();
    Commands(const Commands&) = delete;
    Commands& operator=(const Commands&) = delete;

    void start();
    // What the system has no room for is tried again until the limit, or for a minute, instead of a
    // failure.
    void set_patient() { patience_ = 100 * millisecond; }

    // What is to survive us: `note` is called with the place whenever it has changed, before a
    // process is made and before its end is acknowledged. Before `start` or `resume`.
    void keep(std::function<void(const CommandPlace&)> note) { note_ = std::move(note); }
    // Instead of `start`, goes on there. `process`: of the command at that place, or null.
    void resume(const CommandPlace& place, Ref<Process> process);

  private:
    enum Role : uint8_t { output = 1, report = 2 }; // of what init keeps
    void begin_limit();
    void note(SlotRef slot, std::optional<int> status) const;
    Processes::Events events();
    void make_log_lines();
    void next();
    Result<> launch(const Command& command);
    void ended(int status);
    void gone();
    bool wait_for_room(const Error& error);
    void finish(const Error& failure);

    Owner owner_;
    const DaemonSpec& spec_;
    std::string what_;
    std::vector<Command> commands_;
    std::vector<std::string> environment_;
    uint64_t limit_;
    Done done_;
    std::function<void(const CommandPlace&)> note_;
    size_t at_ = 0; // the next one
    int status_ = -1;
    bool late_ = false;
    uint64_t patience_ = 0; // until it is tried again; 0: it is not
    uint64_t waited_ = 0;   // nanoseconds
    Ref<Process> process_;
    Fd report_;
    Error failure_; // to execute it
    std::unique_ptr<LogLines> log_lines_;
    Timer timer_;
    Timer soon_;
};

} // namespace muster::services
