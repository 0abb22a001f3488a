// What runs in children of init: everything that executes, parses or may hang. Each is called in a
// new process with no signal blocked, and may allocate nothing either (it is a copy of init).
#pragma once

#include "init/state.h"

namespace muster::pid1 {

// Executes `dataspace --system --config DIR/boot --init-fd N` in the cgroup muster.scope, in a
// session of its own, with stdin from /dev/null. `link` is its end of the socket pair.
[[noreturn]] void become_second_stage(const State& state, int link);

// A shell on the console (in a container: on stdin), as the leader of a session that has it as
// controlling terminal; through sulogin if root has a password.
[[noreturn]] void become_shell(const State& state);

// Does the line of `root` in a shadow file (shadow(5)) hold a password that was ever set? A locked
// one ("!" before it) counts, "*" and "!" alone do not. -1: there is no such line.
int root_has_password(const char* path);

// sync, swapoff of everything, unmount of everything but the API file systems, the rest read-only.
// Returns 0, or 1 if a file system on a device could be neither unmounted nor made read-only.
int release_file_systems();

} // namespace muster::pid1
