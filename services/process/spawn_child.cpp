#include "services/process/spawn_child.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

// The child shares the parent's memory and must not touch what the C library keeps there (errno,
// locks, cancellation state) nor what a sanitizer keeps about stacks: system calls are made by
// hand, and nothing here is instrumented.
#define MUSTER_PLAIN                                                                               \
    __attribute__((no_sanitize("address", "undefined"), no_stack_protector, noinline))

namespace muster::services {

namespace {

#if defined(__x86_64__)

inline __attribute__((always_inline)) long raw(long number, long a = 0, long b = 0, long c = 0,
                                               long d = 0) {
    register long r10 __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

inline __attribute__((always_inline)) long raw(long number, long a = 0, long b = 0, long c = 0,
                                               long d = 0) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}

#else

// The C library's wrapper sets errno, which in a vfork child is the parent's: harmless, since the
// parent is stopped and reads the plan only.
inline long raw(long number, long a = 0, long b = 0, long c = 0, long d = 0) {
    long result = ::syscall(number, a, b, c, d);
    return result == -1 ? -static_cast<long>(errno) : result;
}

#endif

inline __attribute__((always_inline)) long address(const volatile void* pointer) {
    return reinterpret_cast<long>(pointer);
}

#if defined(SYS_close_range)
constexpr long close_range_number = SYS_close_range;
#else
constexpr long close_range_number = 436; // the same on every architecture
#endif
constexpr long close_range_unshare = 2;
constexpr long close_range_cloexec = 4;

MUSTER_PLAIN void write_pid(const ChildPlan& plan, long pid) {
    for (int i = 0; i < plan.pid_text_count; ++i) {
        int length = 1;
        for (long rest = pid; rest >= 10; rest /= 10)
            ++length;
        volatile char* text = plan.pid_texts[i];
        text[length] = '\0';
        for (long rest = pid; length > 0; rest /= 10)
            text[--length] = static_cast<char>('0' + rest % 10);
    }
}

} // namespace

MUSTER_PLAIN int run_child(void* argument) {
    ChildPlan& plan = *static_cast<ChildPlan*>(argument);
    long failed = 0;

    int step = static_cast<int>(ChildStep::descriptors);
    // Linux 5.9 copies only what lies below the range. Nothing may be done to a table that is still
    // our parent's.
    if (plan.last_shared > 2 &&
        raw(close_range_number, plan.last_shared + 1, ~0U, close_range_unshare) < 0) {
        failed = raw(SYS_unshare, CLONE_FILES);
        if (failed < 0) goto fail;
    }

    raw(SYS_setsid);
    if (plan.cgroup_procs >= 0) {
        failed = raw(SYS_write, plan.cgroup_procs, address("0"), 1);
        if (failed < 0) {
            // Without the cgroup it still works, with less: the parent is told, not stopped.
            plan.step = static_cast<int>(ChildStep::cgroup);
            plan.error_number = static_cast<int>(-failed);
        }
    }

    // The kernel's sigaction is at most 32 bytes; all zero means SIG_DFL, no flags, no mask.
    // SIGKILL and SIGSTOP refuse, which does not matter.
    uint64_t nothing[8];
    for (int i = 0; i < 8; ++i)
        *const_cast<volatile uint64_t*>(&nothing[i]) = 0;
    for (int number = 1; number <= 64; ++number)
        if (plan.ignored >> (number - 1) & 1) raw(SYS_rt_sigaction, number, address(nothing), 0, 8);

    failed = 0;
    for (int i = 0; i < 3 && failed >= 0; ++i)
        failed = raw(SYS_dup3, plan.standard[i], i, 0);
    if (failed < 0) goto fail;

    // Only marked: the closing itself happens in execve, after the parent has been let go.
    if (raw(close_range_number, 3, ~0U, close_range_cloexec) < 0)
        for (int fd = 3; fd < plan.max_fd; ++fd)
            raw(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
    for (int i = 0; i < plan.handed_count; ++i) {
        failed = raw(SYS_dup3, plan.handed[2 * i], plan.handed[2 * i + 1], 0);
        if (failed < 0) goto fail;
    }
    if (plan.pid_text_count > 0) write_pid(plan, raw(SYS_getpid));

    step = static_cast<int>(ChildStep::directory);
    failed = raw(SYS_chdir, address(plan.directory));
    if (failed < 0) goto fail;
    raw(SYS_umask, 022);
    raw(SYS_prlimit64, 0, RLIMIT_NOFILE, address(&plan.files));

    // The mask last: until here nothing could interrupt us.
    raw(SYS_rt_sigprocmask, SIG_SETMASK, address(nothing), 0, 8);

    step = static_cast<int>(ChildStep::exec);
    failed = raw(SYS_execve, address(plan.program), address(plan.argv), address(plan.environment));

fail:
    plan.step = step;
    plan.error_number = static_cast<int>(-failed);
    for (;;)
        raw(SYS_exit_group, 127);
}

MUSTER_PLAIN long clone3_child([[maybe_unused]] CloneArguments& arguments,
                               [[maybe_unused]] size_t size, [[maybe_unused]] ChildPlan& plan) {
    constexpr long clone3_number = 435; // the same on every architecture
#if defined(__x86_64__)
    long result;
    register void* argument __asm__("r8") = &plan;
    register int (*function)(void*) __asm__("r9") = run_child;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %[argument], %%rdi\n\t"
                     "call *%[function]\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "0"(clone3_number), "D"(&arguments),
                       "S"(size), [argument] "r"(argument), [function] "r"(function)
                     : "rcx", "r11", "memory", "cc");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = clone3_number;
    register long x0 __asm__("x0") = reinterpret_cast<long>(&arguments);
    register long x1 __asm__("x1") = static_cast<long>(size);
    register void* argument __asm__("x10") = &plan;
    register int (*function)(void*) __asm__("x11") = run_child;
    __asm__ volatile("svc 0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x0, %[argument]\n\t"
                     "blr %[function]\n\t"
                     "brk 0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), [argument] "r"(argument), [function] "r"(function)
                     : "x30", "memory", "cc");
    return x0;
#else
    return -ENOSYS;
#endif
}

} // namespace muster::services
