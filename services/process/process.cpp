#include "services/process/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace muster::services {

namespace {

#ifndef P_PIDFD
constexpr auto pidfd_id = static_cast<idtype_t>(3);
#else
constexpr auto pidfd_id = static_cast<idtype_t>(P_PIDFD);
#endif

constexpr int last_wait = 2000; // milliseconds, for what was killed at our own end

struct SignalName {
    int number;
    std::string_view name;
};
constexpr SignalName signal_names[] = {
    {SIGHUP, "HUP"},   {SIGINT, "INT"},       {SIGQUIT, "QUIT"}, {SIGILL, "ILL"},
    {SIGTRAP, "TRAP"}, {SIGABRT, "ABRT"},     {SIGBUS, "BUS"},   {SIGFPE, "FPE"},
    {SIGKILL, "KILL"}, {SIGUSR1, "USR1"},     {SIGSEGV, "SEGV"}, {SIGUSR2, "USR2"},
    {SIGPIPE, "PIPE"}, {SIGALRM, "ALRM"},     {SIGTERM, "TERM"}, {SIGCHLD, "CHLD"},
    {SIGCONT, "CONT"}, {SIGSTOP, "STOP"},     {SIGTSTP, "TSTP"}, {SIGTTIN, "TTIN"},
    {SIGTTOU, "TTOU"}, {SIGURG, "URG"},       {SIGXCPU, "XCPU"}, {SIGXFSZ, "XFSZ"},
    {SIGIO, "IO"},     {SIGVTALRM, "VTALRM"}, {SIGPROF, "PROF"}, {SIGWINCH, "WINCH"},
    {SIGPWR, "PWR"},   {SIGSYS, "SYS"},
};

// As wait(2) gives it, from what waitid gives.
int wait_status_of(const siginfo_t& info) {
    if (info.si_code == CLD_EXITED) return (info.si_status & 0xff) << 8;
    return (info.si_status & 0x7f) | (info.si_code == CLD_DUMPED ? 0x80 : 0);
}

// SIGKILL to what is in the session of `leader` but no longer in its process group (a shell's
// jobs). Only where there are no cgroups. proc(5): the sixth field of stat is the session.
void kill_session(pid_t leader) {
    DIR* entries = ::opendir("/proc");
    if (entries == nullptr) return;
    while (const dirent* entry = ::readdir(entries)) {
        char* end = nullptr;
        long pid = std::strtol(entry->d_name, &end, 10);
        if (pid <= 1 || *end != '\0') continue;
        std::string path = "/proc/" + std::string(entry->d_name) + "/stat";
        Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        char text[512];
        ssize_t size = file ? ::read(file.get(), text, sizeof text - 1) : 0;
        if (size <= 0) continue;
        text[size] = '\0';
        const char* rest = std::strrchr(text, ')'); // the name may contain anything
        if (rest == nullptr) continue;
        // ") S PPID PGRP SESSION …"
        char* at = const_cast<char*>(rest) + 3;
        long fields[3] = {};
        for (long& field : fields)
            field = std::strtol(at, &at, 10);
        if (fields[2] == leader) ::kill(static_cast<pid_t>(pid), SIGKILL);
    }
    ::closedir(entries);
}

} // namespace

std::string describe_wait_status(int wait_status) {
    if (WIFEXITED(wait_status)) return "exit code " + std::to_string(WEXITSTATUS(wait_status));
    int number = WTERMSIG(wait_status);
    std::string text = "killed by signal " + std::to_string(number);
    for (const SignalName& signal : signal_names)
        if (signal.number == number) text = "killed by SIG" + std::string(signal.name);
    return (wait_status & 0x80) != 0 ? text + " (core dumped)" : text;
}

int signal_number(std::string_view name) {
    if (name.starts_with("SIG")) name.remove_prefix(3);
    for (const SignalName& signal : signal_names)
        if (signal.name == name) return signal.number;
    return 0;
}

// --- Process ---

Process::~Process() = default;

bool Process::group_remains() const {
    // Once the process has been reaped its number may be somebody else's; but the kernel does not
    // give it away while its group has members.
    if (!running_ && (::kill(pid_, 0) == 0 || errno != ESRCH)) return false;
    return ::kill(-pid_, 0) == 0 || errno == EPERM;
}

void Process::signal_group(int number) const {
    if (group_remains()) ::kill(-pid_, number);
}

void Process::signal(int number) {
    if (gone_) return;
    if (running_ || !in_cgroup_) {
        signal_group(number);
        signal_group(SIGCONT);
    } else {
        cgroup_.signal(number);
        cgroup_.signal(SIGCONT);
    }
}

void Process::kill() {
    if (gone_) return;
    killed_ = true;
    if (in_cgroup_) {
        cgroup_.kill();
        return;
    }
    kill_session(pid_);
    signal_group(SIGKILL);
    if (!running_) check_gone();
}

void Process::abandon() {
    exited_ = nullptr;
    gone_callback_ = nullptr;
    kill();
}

void Process::ended(int wait_status) {
    Ref<Process> self(this);
    running_ = false;
    end_watch_.cancel();
    pidfd_.reset();
    auto exited = std::move(exited_);
    exited_ = nullptr;
    if (exited) exited(wait_status);
    check_gone();
}

void Process::check_gone() {
    if (gone_ || running_) return;
    if (in_cgroup_ ? cgroup_.populated() : !killed_ && group_remains()) return;
    Ref<Process> self(this);
    gone_ = true;
    cgroup_watch_.cancel();
    cgroup_ = Cgroup();
    auto callback = std::move(gone_callback_);
    gone_callback_ = nullptr;
    owner_.finished(*this);
    if (callback) callback();
}

// --- Processes ---

Processes::Processes(EventLoop& loop, SecondStageLink& link, Spawner spawner, CgroupTree tree)
    : loop_(loop), link_(link), spawner_(std::move(spawner)), tree_(std::move(tree)) {}

Result<std::unique_ptr<Processes>> Processes::create(EventLoop& loop, SecondStageLink& link,
                                                     std::string* remark) {
    auto spawner = Spawner::create();
    if (!spawner) return spawner.error();
    Result<CgroupTree> tree = Error{"init has no cgroup2"};
    if (!link.attached())
        tree = CgroupTree::standalone();
    else if ((link.welcome().flags & records::kCgroup2) != 0)
        tree = CgroupTree::under_init();
    if (!tree && remark != nullptr)
        *remark = "no control groups (" + tree.error().message +
                  "): what a service leaves behind is ended by its process group";
    return std::make_unique<Processes>(loop, link, std::move(*spawner),
                                       tree ? std::move(*tree) : CgroupTree());
}

Processes::~Processes() {
    // No callback may come from here on, and each of ours that ends must be reaped.
    std::vector<Ref<Process>> rest;
    for (auto& [pointer, process] : processes_)
        rest.push_back(process);
    for (const Ref<Process>& process : rest)
        process->abandon();
    for (const Ref<Process>& process : rest) {
        process->end_watch_.cancel();
        process->cgroup_watch_.cancel();
        if (link_.attached()) continue; // init reaps them
        // A killed process that does not end hangs in the kernel: not for us to wait for.
        pollfd end{process->pidfd_.get(), POLLIN, 0};
        siginfo_t info{};
        if (process->running_ && ::poll(&end, 1, last_wait) > 0)
            ::waitid(P_PID, static_cast<id_t>(process->pid_), &info, WEXITED | WNOHANG);
        pollfd empty{process->cgroup_.events(), POLLPRI, 0};
        while (process->in_cgroup_ && process->cgroup_.populated() &&
               ::poll(&empty, 1, last_wait) > 0) {
        }
        link_.forget(process->slot_);
    }
    for (const Ref<Process>& process : rest) {
        process->gone_ = true;
        process->running_ = false;
        process->cgroup_ = Cgroup();
    }
}

Result<Processes::Started> Processes::start(std::string_view name, SpawnRequest request,
                                            Events events) {
    Ref<Process> process(new Process(*this));
    if (tree_) {
        auto group = tree_.create(name);
        if (!group) return group.error();
        process->cgroup_ = std::move(*group);
        request.cgroup = process->cgroup_.directory();
    }
    auto slot = link_.claim(name, process->cgroup_.path());
    if (!slot) return slot.error();
    process->slot_ = *slot;
    request.pid_cell = link_.pid_cell(*slot);
    request.child_of_parent = link_.attached();
    auto spawned = spawner_.spawn(request);
    if (!spawned) {
        link_.release(*slot);
        return spawned.error();
    }
    process->pid_ = spawned->pid;
    process->pidfd_ = std::move(spawned->pidfd);
    process->in_cgroup_ = spawned->in_cgroup;
    process->exited_ = std::move(events.exited);
    process->gone_callback_ = std::move(events.gone);

    if (process->in_cgroup_) {
        auto watch =
            loop_.watch(process->cgroup_.events(), EPOLLPRI, [p = process.get()](uint32_t) {
                // Reading it is also what ends the readiness.
                if (!p->cgroup_.populated()) p->check_gone();
            });
        // Out of descriptors or memory for a watch: less, but it works (process group).
        if (watch)
            process->cgroup_watch_ = std::move(*watch);
        else
            process->in_cgroup_ = false;
    }
    if (!link_.attached()) {
        Result<Watch> watch = Error{"no pidfd"};
        if (process->pidfd_)
            watch =
                loop_.watch(process->pidfd_.get(), EPOLLIN, [this, p = process.get()](uint32_t) {
                    siginfo_t info{};
                    // Zombie first: while it is not reaped nobody else has its number.
                    if (::waitid(pidfd_id, static_cast<id_t>(p->pidfd_.get()), &info,
                                 WEXITED | WNOHANG) < 0 ||
                        info.si_pid == 0)
                        return;
                    Ref<Process> self(p);
                    link_.forget(p->slot_);
                    by_slot_.erase(p->slot_.index);
                    p->ended(wait_status_of(info));
                });
        if (!watch) {
            process->kill();
            siginfo_t info{};
            while (::waitid(P_PID, static_cast<id_t>(process->pid_), &info, WEXITED) < 0 &&
                   errno == EINTR) {
            }
            link_.release(*slot);
            return watch.error().with_context(request.argv[0]);
        }
        process->end_watch_ = std::move(*watch);
    }
    by_slot_[slot->index] = process;
    processes_[process.get()] = process;
    return Started{process, std::move(spawned->failure)};
}

Result<> Processes::on_status(const records::Status& status) {
    auto found = by_slot_.find(status.slot);
    Ref<Process> process;
    if (found != by_slot_.end() && found->second->slot_.generation == status.generation) {
        process = found->second;
        by_slot_.erase(found);
    }
    auto acknowledged = link_.acknowledge(status);
    if (process) process->ended(status.wait_status);
    return acknowledged;
}

void Processes::finished(Process& process) { processes_.erase(&process); }

} // namespace muster::services
