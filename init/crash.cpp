#include "init/crash.h"

#include <cerrno>
#include <csignal>
#include <ctime>

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/line.h"
#include "init/memory.h"

extern char** environ;

namespace muster::pid1 {

namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
constexpr std::uint32_t kMany = 5;
constexpr std::int64_t kWindowMs = 60000;

// A handler can know nothing else.
State* crashing_state = nullptr;
int crashing_state_fd = -1;
int program_fd = -1;
alignas(16) char handler_stack[65536];

void say(std::string_view line) {
    ssize_t written = write(2, line.data(), line.size());
    static_cast<void>(written);
}

[[noreturn]] void only_reap() {
    say("init: crashed again and again: from now on it only reaps\n");
    for (;;) {
        if (waitpid(-1, nullptr, __WALL) < 0 && errno == ECHILD) {
            timespec second{1, 0};
            nanosleep(&second, nullptr);
        }
    }
}

void on_crash(int signal) {
    if (syscall(SYS_getpid) != 1) { // a child that has not executed anything yet
        struct sigaction standard {};
        standard.sa_handler = SIG_DFL;
        sigaction(signal, &standard, nullptr);
        raise(signal);
        _exit(128 + signal);
    }
    State& state = *crashing_state;
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    std::int64_t now_ms = static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
    if (now_ms - state.first_crash_ms > kWindowMs) {
        state.crashes = 0;
        state.first_crash_ms = now_ms;
    }
    say(Line("init: crashed (signal ", signal, "), starting again\n").view());
    if (++state.crashes >= kMany || program_fd < 0) only_reap();
    keep_over_exec(state, crashing_state_fd, true);
    Line number(crashing_state_fd);
    const char* arguments[] = {"init", "--resume", number.c_str(), nullptr};
    syscall(SYS_execveat, program_fd, "", arguments, environ, AT_EMPTY_PATH);
    only_reap();
}

} // namespace

void catch_crashes(State& state, int state_fd) {
    crashing_state = &state;
    crashing_state_fd = state_fd;
    program_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    if (program_fd < 0) program_fd = open(state.own_path, O_PATH | O_CLOEXEC);
    stack_t stack{};
    stack.ss_sp = handler_stack;
    stack.ss_size = sizeof handler_stack;
    sigaltstack(&stack, nullptr);
    struct sigaction action {};
    action.sa_handler = on_crash;
    action.sa_flags = SA_ONSTACK | SA_NODEFER;
    for (int signal : kSignals)
        sigaction(signal, &action, nullptr);
}

} // namespace muster::pid1
