// What bench-services runs in its namespaces, as a tiny static program: the services themselves,
// the start of the clock, and the floor. Each event is one record of 16 bytes appended to a file in
// memory, with CLOCK_MONOTONIC, so that nobody has to wake up to take the time.
//
//   probe begin FILE PROGRAM...     notes 'b' and becomes PROGRAM
//   probe run FILE ID               a service: notes 's'; TERM: notes 'e' and ends
//   probe ready FILE ID FD          the same, says on FD that it is ready and notes 'r' before that
//   probe mortal FILE ID FIFO       the same; for one byte from FIFO, which the service takes that
//                                   has waited longest, it notes 'd' and kills itself
//   probe floor FILE COUNT CGROUP   the floor: starts COUNT services, each with a session, a pipe
//   and
//                                   a control group of its own below CGROUP, and waits
//   probe serial FILE COUNT         starts COUNT services, each when the one before was up
//   probe end                       powers off, for who has to be told
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct Record {
    uint32_t kind;
    uint32_t id;
    int64_t ns;
};

static int file;
static uint32_t id;

static void note(char kind) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    Record record = {(uint32_t)kind, id, now.tv_sec * 1000000000LL + now.tv_nsec};
    if (write(file, &record, sizeof record) != sizeof record) _exit(111);
}

static void ended(int number) {
    (void)number;
    note('e');
    _exit(0);
}

static void say(const char* text) {
    if (write(2, text, strlen(text)) < 0) _exit(112);
}

static void open_file(const char* path) {
    file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file < 0) {
        say("probe: cannot open the file of records\n");
        _exit(113);
    }
}

// --- the floor ---

struct Child {
    int output;
    char** argv;
};

static char path_variable[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
static char home_variable[] = "HOME=/root";
static char* const environment[] = {path_variable, home_variable, nullptr};
static char program[] = "/bench/probe";

static int become(void* argument) {
    Child* child = static_cast<Child*>(argument);
    setsid();
    dup2(child->output, 1);
    dup2(child->output, 2);
    execve(child->argv[0], child->argv, environment);
    _exit(127);
}

// As in vfork(2), on a stack of its own.
static char stack[65536] __attribute__((aligned(16)));
static pid_t start(Child* child) {
    return clone(become, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, child);
}

// The same, born in the control group where that is possible.
static pid_t start_in(int cgroup, Child* child) {
#if defined(__x86_64__)
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
            set_tid_size, cgroup;
    } arguments = {0x200000000ULL | CLONE_VM | CLONE_VFORK,
                   0,
                   0,
                   0,
                   SIGCHLD,
                   (uint64_t)stack,
                   sizeof stack,
                   0,
                   0,
                   0,
                   (uint64_t)cgroup};
    long result;
    register void* what __asm__("r8") = child;
    register int (*function)(void*) __asm__("r9") = become;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %[what], %%rdi\n\t"
                     "call *%[function]\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "0"(435L), "D"(&arguments),
                       "S"(sizeof arguments), [what] "r"(what), [function] "r"(function)
                     : "rcx", "r11", "memory", "cc");
    if (result > 0) return (pid_t)result;
#endif
    pid_t pid = start(child);
    int procs = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    char text[16];
    int at = sizeof text;
    for (pid_t rest = pid; rest > 0; rest /= 10)
        text[--at] = (char)('0' + rest % 10);
    if (procs < 0 || write(procs, text + at, sizeof text - (size_t)at) < 0)
        say("probe: no control group\n");
    close(procs);
    return pid;
}

static void number(char* text, int value) {
    char digits[12];
    int count = 0;
    do
        digits[count++] = (char)('0' + value % 10);
    while (value /= 10);
    while (count)
        *text++ = digits[--count];
    *text = 0;
}

static int make_floor(char* path, int count, const char* cgroup) {
    char name[12];
    char word[] = "run";
    char* argv[] = {program, word, path, name, nullptr};
    mkdir(cgroup, 0755);
    int parent = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < count; ++i) {
        int ends[2];
        number(name, i);
        if (pipe2(ends, O_CLOEXEC) < 0 || mkdirat(parent, name, 0755) < 0) {
            say("probe: no pipe or no control group\n");
            return 1;
        }
        int group = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        Child child = {ends[1], argv};
        if (start_in(group, &child) < 0) {
            say("probe: cannot start\n");
            return 1;
        }
        close(ends[1]);
        close(group);
    }
    for (;;)
        pause();
}

static int make_serial(char* path, int count) {
    char name[12];
    char word[] = "ready";
    char descriptor[] = "1";
    char* argv[] = {program, word, path, name, descriptor, nullptr};
    for (int i = 0; i < count; ++i) {
        int ends[2];
        char byte;
        number(name, i);
        if (pipe2(ends, O_CLOEXEC) < 0) return 1;
        Child child = {ends[1], argv};
        id = static_cast<uint32_t>(i);
        note('v');
        if (start(&child) < 0) return 1;
        close(ends[1]);
        if (read(ends[0], &byte, 1) != 1) return 1;
        close(ends[0]);
    }
    for (;;)
        pause();
}

int main(int argc, char** argv) {
    const char* what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "end")) return reboot(RB_POWER_OFF);
    if (argc < 4) {
        say("probe: see the head of probe.cpp\n");
        return 2;
    }
    open_file(argv[2]);
    if (!strcmp(what, "begin")) {
        note('b');
        execv(argv[3], argv + 3);
        say("probe: cannot execute PROGRAM\n");
        return 127;
    }
    int value = atoi(argv[3]);
    if (!strcmp(what, "floor")) return make_floor(argv[2], value, argv[4]);
    if (!strcmp(what, "serial")) return make_serial(argv[2], value);
    id = (uint32_t)value;
    note('s');
    signal(SIGTERM, ended);
    if (!strcmp(what, "ready")) {
        int descriptor = atoi(argv[4]);
        note('r');
        if (write(descriptor, "\n", 1) != 1) return 114;
        close(descriptor);
    }
    if (!strcmp(what, "mortal")) {
        // for writing too, so that there is never an end of file
        int fifo = open(argv[4], O_RDWR | O_CLOEXEC);
        char byte;
        if (read(fifo, &byte, 1) != 1) return 115;
        note('d');
        kill(getpid(), SIGKILL);
    }
    for (;;)
        pause();
}
