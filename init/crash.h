// What happens when PID 1 itself crashes: it executes itself again, with its state.
//
// SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT and SIGSYS are caught on a stack of their own. The
// handler makes the descriptors of the state survive and executes `init --resume FD`; nothing has
// to be saved, since the state always lies in a memfd. After the fifth crash within a minute it
// stays in the handler and only reaps: services run on, and nothing makes the kernel panic.
//
// Source: sigaction(2), sigaltstack(2), execveat(2).
#pragma once

#include "init/state.h"

namespace muster::pid1 {

// `state`, in the memfd `state_fd`, must stay mapped. Opens the running program for the re-exec.
void catch_crashes(State& state, int state_fd);

} // namespace muster::pid1
