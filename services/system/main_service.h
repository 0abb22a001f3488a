// The main service of a container: the one that the container is there for. Its end is the
// container's, which ends with its status; signals that do not end the container reach it.
//
//   init --container -- COMMAND…     it is <daemon main>, defined here: COMMAND with the
//   environment
//                                    and the standard descriptors of the container, run once
//   init --container --main NAME     it is <daemon NAME> of the configuration
//
// However it ends, and whatever its restart policy says, it is over then. It is over with the
// status of a command that is not found if it could run and nobody says how: no specification is
// there when all configuration that is required has been read and what follows from it is drawn.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "init/dataspace/engine.h"

namespace muster::services {

class MainService {
  public:
    // Defines it in the current facet, which must outlive this. One of `name` and `command` is
    // given. `init_program`: for `init --exec`. `ended` is called when it has ended by itself or
    // because it was told to, `runs` whenever it has a process.
    MainService(dataspace::Turn& turn, const dataspace::CapRef& config,
                const dataspace::CapRef& log, const std::string& name,
                const std::vector<std::string>& command, const std::string& init_program,
                std::function<void(pid_t)> runs, std::function<void()> ended);

    // Now that the configuration, which says what it waits for, is known: it is to run.
    void require(dataspace::Turn& turn);

    // Once it has ended: its exit status as a shell has it, 128 and the signal's number for one
    // that was killed.
    std::optional<int> status() const { return status_; }
    // To its process, if it runs.
    void signal(int number) const;

  private:
    void observe_definition(dataspace::Turn& turn);
    bool undefined() const;
    void end_if_undefined(dataspace::Turn& turn);
    void judge(dataspace::Turn& turn, int rounds);

    dataspace::CapRef config_;
    dataspace::CapRef log_;
    preserves::Value service_;
    std::optional<int> status_;
    int64_t pid_ = 0;
    bool waits_for_definition_ = false; // it is to run now, and the supervisor knows not how
    size_t definitions_ = 0;
    int64_t unread_ = 0; // configuration that is required, less what is read
    bool judging_ = false;
    std::function<void(pid_t)> runs_;
    std::function<void()> ended_;
};

} // namespace muster::services
