// The two memfds of PID 1: its own state, and what it shares with the second stage.
#pragma once

#include "init/records.h"
#include "init/state.h"

namespace muster::pid1 {

// A new one of each, mapped; close-on-exec. nullptr, with errno, on failure.
State* make_state(int& fd);
records::SharedState* make_shared_state(int& fd);

// Takes over the state in `fd`, as it was left by an earlier init: nullptr if it is none of ours,
// or of another version. Sets close-on-exec for it and the descriptors it names.
State* adopt_state(int fd);
// The same for the slots. nullptr if it is not one.
records::SharedState* map_shared_state(int fd);

// Whether the state and all that it names stays open over an exec. Async-signal-safe.
void keep_over_exec(const State& state, int state_fd, bool keep);
// Executes `program` as init, to go on with this state. Returns only on failure, -errno.
int take_state_over(const char* program, const State& state, int state_fd);

} // namespace muster::pid1
