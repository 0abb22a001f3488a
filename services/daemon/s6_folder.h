// An s6 service directory, run unmodified: `s6: "/etc/s6/foo"`.
//
//   run              the service, executed in the directory
//   finish           after its end: exit code (256 if a signal ended it), signal, name, process
//   group;
//                    exit code 125: it is not to be started again
//   notification-fd  a newline there says that it is ready
//   down             it is not started, until somebody restarts it
//   down-signal      what asks it to stop; TERM
//   timeout-kill     milliseconds from there to SIGKILL; 0 for a day
//   timeout-finish   milliseconds for finish; 5000
//   flag-newpidns    it is process 1 of a pid namespace
//   log/run          reads what it writes to stdout (s6_logger.h)
//
// They are read at each start. What other fields say holds for what has no file. Source:
// skarnet.org/software/s6/servicedir.html
#pragma once

#include "services/daemon/spec.h"

namespace muster::services {

struct S6Folder {
    std::string path;
    std::string name; // the last part of the path
    bool finish = false;
    bool down = false;
    bool logger = false;
    uint64_t finish_timeout = 5'000'000'000; // nanoseconds; 0: none

    // The command line of finish.
    Command finish_command(int wait_status, pid_t pid) const;
};

// Reads it into `spec`. ERRORS: no program `run`, a file that does not say what it should.
Result<S6Folder> read_s6_folder(const std::string& path, DaemonSpec& spec);

} // namespace muster::services
