// An s6 service directory, run unmodified: `s6: "/etc/s6/foo"`.
//
//   run              the service, executed in the directory with its name
//   finish           after its end: exit code (256 if a signal ended it), signal, name, process
//   group;
//                    exit code 125: it is not to be started again
//   notification-fd  a newline there says that it is ready
//   down             it is not started, until somebody restarts it
//   down-signal      what asks it to stop; TERM
//   timeout-kill     milliseconds from there to SIGKILL; 0 for a day
//   timeout-finish   milliseconds for finish; 5000
//   flag-newpidns    it is process 1 of a pid namespace
//   log/run          reads what it writes to stdout (s6_logger.h); log/finish, log/timeout-finish
//                    and log/notification-fd, where nobody waits for a newline, as above
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
};

// What it says about its logger.
struct S6LogFolder {
    std::string path; // FOLDER/log
    std::string name; // FOLDER/log, without what is before FOLDER
    int notification = -1;
    bool finish = false;
    uint64_t finish_timeout = 5'000'000'000; // nanoseconds; 0: none
};
// ERRORS: a file that does not say what it should.
Result<S6LogFolder> read_s6_log_folder(const std::string& path);
// The command line of finish.
Command s6_finish_command(const std::string& name, int wait_status, pid_t pid);

// Reads it into `spec`. ERRORS: no program `run`, a file that does not say what it should.
Result<S6Folder> read_s6_folder(const std::string& path, DaemonSpec& spec);

} // namespace muster::services
