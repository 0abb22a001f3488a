// The child's side of Spawner: what runs between clone and exec, in the parent's memory. Private to
// spawn.cpp.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>

namespace muster::services {

enum class ChildStep : int { none, cgroup, descriptors, directory, exec };

// Everything the child needs, prepared by the parent; `step` and `error_number` are its answer.
struct ChildPlan {
    const char* program;
    char* const* argv;
    char* const* environment;
    const char* directory;
    int standard[3];   // sources, all >= 3
    const int* handed; // pairs: a source that is no number of these, the number in the child
    int handed_count;
    // Where the pid goes in values of the environment, each with room for it and a NUL.
    char* const* pid_texts;
    int pid_text_count;
    int cgroup_procs; // to write "0" to, or -1
    rlimit files;     // RLIMIT_NOFILE
    // Above 2: the child shares the table of descriptors; it takes a copy of those up to here, and
    // there are all that it needs.
    int last_shared;
    uint64_t ignored; // signals that are, or may be: bit N - 1
    int max_fd;       // where close_range is missing: the descriptors from 3 up to here
    volatile int step;
    volatile int error_number;
};

// struct clone_args of <linux/sched.h>, version 2 (88 bytes).
struct CloneArguments {
    uint64_t flags;
    uint64_t pidfd;
    uint64_t child_tid;
    uint64_t parent_tid;
    uint64_t exit_signal;
    uint64_t stack;
    uint64_t stack_size;
    uint64_t tls;
    uint64_t set_tid;
    uint64_t set_tid_size;
    uint64_t cgroup;
};

// Runs as the child; never returns. As clone's function it has to claim to.
int run_child(void* plan);

// clone3 whose child calls run_child(plan) on the stack of `arguments`. The pid, or -errno; -ENOSYS
// where we have no code for this processor.
long clone3_child(CloneArguments& arguments, size_t size, ChildPlan& plan);

} // namespace muster::services
