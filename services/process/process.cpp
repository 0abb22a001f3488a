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

// As glibc and who writes signals down count them: 32 and 33 are the library's own.
constexpr int first_real_time = 34;
constexpr int last_real_time = 64;

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

// Another program of ours where this one lies; empty if it is not there.
std::string beside_us(const char* name) {
    char path[4096];
    ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
    std::string_view own(path, size > 0 ? static_cast<size_t>(size) : 0);
    size_t slash = own.rfind('/');
    if (slash == own.npos) return {};
    std::string other = std::string(own.substr(0, slash + 1)) + name;
    return ::access(other.c_str(), X_OK) == 0 ? other : std::string();
}

} // namespace

std::string signal_name(int number) {
    for (const SignalName& signal : signal_names)
        if (signal.number == number) return std::string(signal.name);
    if (number == first_real_time) return "RTMIN";
    if (number > first_real_time && number <= last_real_time)
        return "RTMIN+" + std::to_string(number - first_real_time);
    return std::to_string(number);
}

std::string describe_wait_status(int wait_status) {
    if (WIFEXITED(wait_status)) return "exit code " + std::to_string(WEXITSTATUS(wait_status));
    int number = WTERMSIG(wait_status);
    std::string name = signal_name(number);
    bool named = name[0] < '0' || name[0] > '9';
    std::string text = (named ? "killed by SIG" : "killed by signal ") + name;
    return (wait_status & 0x80) != 0 ? text + " (core dumped)" : text;
}

int signal_number(std::string_view name) {
    if (name.starts_with("SIG")) name.remove_prefix(3);
    for (const SignalName& signal : signal_names)
        if (signal.name == name) return signal.number;
    // RTMIN+3, RTMAX-1
    bool from_first = name.starts_with("RTMIN");
    if (!from_first && !name.starts_with("RTMAX")) return 0;
    int from = from_first ? first_real_time : last_real_time;
    name.remove_prefix(5);
    if (name.empty()) return from;
    if (name[0] != (from_first ? '+' : '-')) return 0;
    name.remove_prefix(1);
    int number = 0;
    if (name.empty() || name.size() > 2) return 0;
    for (char c : name) {
        if (c < '0' || c > '9') return 0;
        number = number * 10 + (c - '0');
    }
    number = from_first ? from + number : from - number;
    return number >= first_real_time && number <= last_real_time ? number : 0;
}

// --- Process ---

Process::~Process() = default;

bool Process::group_remains() const {
    if (pid_ <= 1) return false;
    // Once the process has been reaped its number may be somebody else's; but the kernel does not
    // give it away while its group has members.
    if (!running_ && (::kill(pid_, 0) == 0 || errno != ESRCH)) return false;
    return ::kill(-pid_, 0) == 0 || errno == EPERM;
}

Error Process::settle() {
    if (!flight_) return {};
    std::shared_ptr<Flight> flight = std::move(flight_);
    flight_ = nullptr;
    return owner_.spawner_.settle(*flight);
}

// Before that it has no group and no handlers of its own.
void Process::be_executed() const {
    if (flight_) (void)owner_.spawner_.settle(*flight_);
}

// One that runs has its number, and the group is its own.
void Process::signal_group(int number) const {
    be_executed();
    if (pid_ > 1 && (running_ || group_remains())) ::kill(-pid_, number);
}

void Process::signal(int number) {
    if (gone_) return;
    if (running_ || !in_cgroup_) {
        signal_group(number);
        if (number != SIGKILL) signal_group(SIGCONT);
    } else {
        cgroup_.signal(number);
        cgroup_.signal(SIGCONT);
    }
}

void Process::signal_process(int number) {
    if (!running_) return signal_tree(number);
    be_executed();
    ::kill(pid_, number);
    ::kill(pid_, SIGCONT);
}

void Process::signal_tree(int number) {
    if (gone_) return;
    if (!in_cgroup_) return signal(number);
    be_executed();
    cgroup_.signal(number);
    cgroup_.signal(SIGCONT);
}

void Process::leave() {
    if (gone_ || running_) return;
    end_cgroup_watch();
    if (in_cgroup_) owner_.keep_left(std::move(cgroup_));
    cgroup_ = Cgroup();
    in_cgroup_ = false;
    killed_ = true; // nobody is waited for
    check_gone();
}

void Process::kill() {
    if (gone_ || pid_ <= 1) return;
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

void Process::let_go() {
    if (!running_) return attach({});
    Ref<Process> self(this);
    exited_ = nullptr;
    running_ = false;
    gone_ = true;
    owner_.by_slot_.erase(slot_.index);
    owner_.finished(*this);
    owner_.link_.release(slot_); // a status that is on its way is a stranger's
}

void Process::ended(int wait_status) {
    Ref<Process> self(this);
    running_ = false;
    if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL)
        out_of_memory_ = (cgroup_ && cgroup_.out_of_memory()) ||
                         (!killed_ && owner_.oom_kills_.has(pid_, since_));
    end_watch_.cancel();
    pidfd_.reset();
    auto exited = std::move(exited_);
    exited_ = nullptr;
    if (exited) exited(wait_status);
    check_gone();
}

void Process::acknowledge() {
    if (running_ || std::exchange(acknowledged_, true)) return;
    if (owner_.link_.attached())
        (void)owner_.acknowledge(slot_, pid_); // without init there is nobody to tell
    else
        owner_.link_.forget(slot_);
}

void Process::check_gone() {
    if (gone_ || running_ || waiting_) return;
    if (in_cgroup_ && !cgroup_.remove()) watch_cgroup();
    bool remains = in_cgroup_ ? static_cast<bool>(cgroup_) : !killed_ && group_remains();
    if (remains && !followed_) return;
    Ref<Process> self(this);
    gone_ = true;
    end_cgroup_watch();
    cgroup_ = Cgroup();
    auto callback = std::move(gone_callback_);
    gone_callback_ = nullptr;
    owner_.finished(*this);
    if (callback) callback();
    acknowledge();
}

// Of a leftover: while the process itself runs there is nothing to be learned from its group.
void Process::watch_cgroup() {
    if (cgroup_watch_) return;
    cgroup_events_ = cgroup_.open_events();
    Result<Watch> watch = Error{"no events"};
    if (cgroup_events_)
        watch = owner_.loop_.watch(cgroup_events_.get(), EPOLLPRI, [this](uint32_t) {
            // Reading it is also what ends the readiness.
            if (!Cgroup::populated(cgroup_events_.get())) check_gone();
        });
    // Out of descriptors or memory for a watch: less, but it works (process group).
    if (watch)
        cgroup_watch_ = std::move(*watch);
    else
        in_cgroup_ = false;
}

void Process::end_cgroup_watch() {
    cgroup_watch_.cancel();
    cgroup_events_.reset();
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
    auto processes = std::make_unique<Processes>(loop, link, std::move(*spawner),
                                                 tree ? std::move(*tree) : CgroupTree());
    std::string init = link.attached() ? link.welcome().init_program : beside_us("init");
    if (!init.empty()) processes->set_exec_stub({init, "--exec"});
    return processes;
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
        process->end_cgroup_watch();
        if (link_.attached()) continue; // init reaps them
        // A killed process that does not end hangs in the kernel: not for us to wait for.
        pollfd end{process->pidfd_.get(), POLLIN, 0};
        siginfo_t info{};
        if (process->running_ && ::poll(&end, 1, last_wait) > 0)
            ::waitid(P_PID, static_cast<id_t>(process->pid_), &info, WEXITED | WNOHANG);
        if (process->in_cgroup_ && process->cgroup_) {
            Fd events = process->cgroup_.open_events();
            pollfd empty{events.get(), POLLPRI, 0};
            while (events && Cgroup::populated(events.get()) && ::poll(&empty, 1, last_wait) > 0) {
            }
        }
        link_.forget(process->slot_);
    }
    (void)link_.flush();
    for (const Ref<Process>& process : rest) {
        process->gone_ = true;
        process->running_ = false;
        process->cgroup_ = Cgroup();
    }
}

// What could not be set, in words.
std::vector<std::string>
Processes::set_limits(const Cgroup& group,
                      const std::vector<std::pair<std::string, std::string>>& settings) const {
    std::vector<std::string> remarks;
    for (const auto& [file, value] : settings) {
        Result<> set = Error{"there are no control groups"};
        if (group) {
            set = tree_.enable(file.substr(0, file.find('.')));
            if (set) set = group.set(file, value);
        }
        if (!set) remarks.push_back(file + " is not in force: " + set.error().message);
    }
    return remarks;
}

Result<Processes::Started> Processes::start(std::string_view name, SpawnRequest request,
                                            Events events, Survival survival, bool launch) {
    Ref<Process> process(new Process(*this));
    Fd directory;
    if (tree_) {
        auto group = tree_.create(name);
        if (!group) return group.error();
        process->cgroup_ = std::move(*group);
        auto opened = process->cgroup_.open_directory();
        if (!opened) return opened.error();
        directory = std::move(*opened);
        request.cgroup = directory.get();
    }
    std::vector<std::string> remarks = set_limits(process->cgroup_, request.cgroup_settings);
    auto slot = link_.claim(name, process->cgroup_.path());
    if (!slot) return slot.error();
    process->slot_ = *slot;
    if (survival.claimed) survival.claimed(*slot);
    if (auto kept = link_.store_slot_fds(*slot, survival.kept.data(), survival.kept.size());
        !kept) {
        link_.release(*slot);
        return kept.error();
    }
    request.pid_cell = link_.pid_cell(*slot);
    request.child_of_parent = link_.attached();
    request.pidfd = !link_.attached();
    std::string program = request.argv.empty() ? std::string() : request.argv[0];
    auto spawned =
        launch ? spawner_.launch(std::move(request)) : spawner_.spawn(std::move(request));
    if (!spawned) {
        link_.release(*slot);
        if (!survival.kept.empty()) (void)link_.drop_slot_fds(*slot);
        return spawned.error();
    }
    process->pid_ = spawned->pid;
    process->since_ = monotonic_now();
    process->pidfd_ = std::move(spawned->pidfd);
    process->in_cgroup_ = spawned->in_cgroup;
    process->exited_ = std::move(events.exited);
    process->gone_callback_ = std::move(events.gone);

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
            return watch.error().with_context(program);
        }
        process->end_watch_ = std::move(*watch);
    }
    by_slot_[slot->index] = process;
    processes_[process.get()] = process;
    process->flight_ = std::move(spawned->flight);
    return Started{process, std::move(spawned->failure), std::move(remarks),
                   static_cast<bool>(process->flight_)};
}

Ref<Process> Processes::follow(std::string_view name, pid_t pid,
                               const std::function<void(SlotRef)>& claimed) {
    if (!link_.attached()) return {};
    auto slot = link_.claim(name, "");
    if (!slot) return {};
    claimed(*slot);
    Ref<Process> process(new Process(*this));
    process->slot_ = *slot;
    process->pid_ = pid;
    process->since_ = monotonic_now();
    process->followed_ = true;
    by_slot_[slot->index] = process;
    processes_[process.get()] = process;
    __atomic_store_n(link_.pid_cell(*slot), pid, __ATOMIC_RELEASE);
    return process;
}

Result<> Processes::on_status(const records::Status& status) {
    auto found = by_slot_.find(status.slot);
    Ref<Process> process;
    if (found != by_slot_.end() && found->second->slot_.generation == status.generation) {
        process = found->second;
        by_slot_.erase(found);
    }
    if (!process) return acknowledge({status.slot, status.generation}, status.pid);
    process->wait_status_ = status.wait_status;
    process->ended(status.wait_status);
    return {};
}

// Those of one round are sent together.
Result<> Processes::acknowledge(SlotRef slot, pid_t pid) {
    if (!std::exchange(to_flush_, true))
        loop_.defer([this] {
            to_flush_ = false;
            (void)link_.flush();
        });
    return link_.acknowledge(slot, pid);
}

void Processes::keep_left(Cgroup group) {
    auto left = std::make_unique<Left>();
    left->group = std::move(group);
    left->events = left->group.open_events();
    if (left->events) {
        auto watch = loop_.watch(left->events.get(), EPOLLPRI, [this, raw = left.get()](uint32_t) {
            if (Cgroup::populated(raw->events.get())) return;
            std::erase_if(left_, [raw](const auto& each) { return each.get() == raw; });
        });
        if (watch) left->watch = std::move(*watch);
    }
    left_.push_back(std::move(left));
}

void Processes::finished(Process& process) { processes_.erase(&process); }

} // namespace muster::services
