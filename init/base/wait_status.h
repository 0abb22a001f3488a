// How a process ended as a shell has it: its exit status, or 128 and the signal's number (wait(2)).
#pragma once

#include <sys/wait.h>

namespace muster {

inline int shell_status(int wait_status) {
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

} // namespace muster
