// The file systems that PID 1 mounts, and the cgroups it makes, before anything else runs.
//
// Each is optional: one that fails is named in one line and everything goes on. One that is there
// already (from an initramfs, a container engine) is left as it is. In a container the caller has
// made sure that mounts are private to us (see enter_container); /sys is mounted read-only there,
// and devtmpfs, which is the host's, never.
//
// Sources: mount(2), cgroups(7), cgroup_namespaces(7), Documentation/admin-guide/cgroup-v2.rst.
#pragma once

#include "init/kernel.h"
#include "init/state.h"

namespace muster::pid1 {

void mount_file_systems(Kernel& kernel, const State& state);

// Makes init.scope, muster.scope and services, and moves this process to init.scope. Sets
// state.cgroup2 and state.cgroup_kill. In a container only if the top of the tree that is seen is
// not the host's: a cgroup namespace, made from within a cgroup.
void make_cgroups(Kernel& kernel, State& state);

} // namespace muster::pid1
