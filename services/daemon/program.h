// How the programs of a specification are started: its process, and the commands around it.
//
// With fields that need more than the clone itself can do (RareFields::stub) they start through
// `init --exec`. Then what went wrong before the program ran comes through a pipe: a record
// ExecFailure, or end of file when the program was executed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "services/daemon/spec.h"
#include "services/process/process.h"

namespace muster::services {

struct Program {
    SpawnRequest request;
    std::vector<Fd> child; // ends that are the child's, to be closed here when it has them
    Fd report;             // of `init --exec`; invalid without it
};

// Fills in argv, environment, directory, cgroup; standard and handed descriptors stand there
// already. `streams`: with the files and the terminal that the specification names.
Result<> prepare_program(Program& program, const Processes& processes, const DaemonSpec& spec,
                         const std::string& service, const Command& argv, bool streams,
                         const std::vector<std::string>& environment = {});

// What the report says: nothing yet; no message, it was executed; else why not.
std::optional<Error> read_report(int report);

struct PipeEnds {
    Fd read;
    Fd write;
};
Result<PipeEnds> make_pipe(); // close-on-exec

} // namespace muster::services
