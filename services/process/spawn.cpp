#include "services/process/spawn.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "init/base/pidfd.h"
#include "services/process/spawn_child.h"

namespace muster::services {

namespace {

constexpr size_t page = 4096;
constexpr size_t stack_size = page;                      // the child needs some hundred bytes
constexpr uint64_t into_cgroup_flag = 0x200000000ULL;    // CLONE_INTO_CGROUP
constexpr uint64_t clear_handlers_flag = 0x100000000ULL; // CLONE_CLEAR_SIGHAND, Linux 5.5
constexpr int first_place = 32;                          // above the numbers that are handed on
constexpr int room_ahead = 32;                           // descriptors
constexpr size_t clone_arguments_v0 = 64;

// All signals are blocked while the child runs in our memory: a handler of ours must not run in it.
class BlockSignals {
  public:
    BlockSignals() {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, &before_);
    }
    ~BlockSignals() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
    BlockSignals(const BlockSignals&) = delete;
    BlockSignals& operator=(const BlockSignals&) = delete;

  private:
    sigset_t before_;
};

std::vector<char*> pointers(const std::vector<std::string>& strings) {
    std::vector<char*> result;
    result.reserve(strings.size() + 1);
    for (const std::string& text : strings)
        result.push_back(const_cast<char*>(text.c_str()));
    result.push_back(nullptr);
    return result;
}

// Those of ours that a child would inherit as ignored. We ignore SIGPIPE sooner or later. The
// kernel is asked itself: the C library hides its own two signals, which glibc's posix_spawn
// ignores.
uint64_t ignored_signals() {
    uint64_t mask = uint64_t{1} << (SIGPIPE - 1);
    for (int number = 1; number <= 64; ++number) {
        uint64_t action[4] = {}; // the handler comes first
        if (::syscall(SYS_rt_sigaction, number, nullptr, action, sizeof(uint64_t)) == 0 &&
            action[0] == reinterpret_cast<uintptr_t>(SIG_IGN))
            mask |= uint64_t{1} << (number - 1);
    }
    return mask;
}

rlimit descriptor_limit() {
    rlimit limit{1024, 1024};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return limit;
}

// The first bytes of a file, as much as tells its kind.
std::string head_of(const std::string& path) {
    Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    std::string head(4096, '\0');
    ssize_t size = file ? ::pread(file.get(), head.data(), head.size(), 0) : 0;
    head.resize(size > 0 ? static_cast<size_t>(size) : 0);
    return head;
}

template <typename T>
T read_at(const std::string& data, size_t offset) {
    T value{};
    if (offset <= data.size() && sizeof value <= data.size() - offset)
        std::memcpy(&value, data.data() + offset, sizeof value);
    return value;
}

// The path behind "#!", or PT_INTERP of a 64-bit ELF file of our byte order (elf(5)); empty if
// there is none within the head.
std::string interpreter_in(const std::string& head) {
    if (head.starts_with("#!")) {
        size_t start = head.find_first_not_of(" \t", 2);
        if (start == std::string::npos) return {};
        return head.substr(start, head.find_first_of(" \t\n", start) - start);
    }
    if (!head.starts_with("\x7f"
                          "ELF\x02"))
        return {};
    auto offset = read_at<uint64_t>(head, 32);
    auto entry_size = read_at<uint16_t>(head, 54);
    auto entries = read_at<uint16_t>(head, 56);
    for (size_t i = 0; i < entries && offset < head.size(); ++i, offset += entry_size) {
        constexpr uint32_t pt_interp = 3;
        if (read_at<uint32_t>(head, offset) != pt_interp) continue;
        auto start = read_at<uint64_t>(head, offset + 8);
        if (start >= head.size()) return {};
        return std::string(head.c_str() + start);
    }
    return {};
}

} // namespace

namespace {

// All that a child looks at before it has executed.
struct Cargo {
    SpawnRequest request;
    std::string program;
    std::vector<char*> argv, environment, pid_texts;
    std::vector<std::string> own_pid;
    std::vector<int> handed;
    ChildPlan plan{};
    int alone = 0; // cleared by the kernel when the child has left our memory

    void prepare();
    Error explain() const;
};

// What is looked up and written before the child is made.
void Cargo::prepare() {
    argv = pointers(request.argv);
    environment = pointers(request.environment);
    environment.pop_back();
    own_pid.reserve(request.pid_variables.size());
    for (const std::string& name : request.pid_variables) {
        own_pid.push_back(name + "=" + std::string(20, ' '));
        environment.push_back(own_pid.back().data());
        pid_texts.push_back(own_pid.back().data() + name.size() + 1);
    }
    environment.push_back(nullptr);
    plan.program = program.c_str();
    plan.argv = argv.data();
    plan.environment = environment.data();
    plan.directory = request.directory.c_str();
    plan.pid_texts = pid_texts.data();
    plan.pid_text_count = static_cast<int>(pid_texts.size());
    plan.cgroup_procs = -1;
}

Error Cargo::explain() const {
    switch (static_cast<ChildStep>(plan.step)) {
    case ChildStep::exec:
        return {explain_exec_failure(program, request.directory, plan.error_number),
                plan.error_number};
    case ChildStep::directory:
        return system_error("directory " + request.directory, plan.error_number);
    case ChildStep::descriptors:
        return system_error(program + ": descriptors", plan.error_number);
    case ChildStep::none:
    case ChildStep::cgroup:
        break;
    }
    return {};
}

} // namespace

// A child that may not have executed yet. Hundreds may have and wait to be asked.
struct Flight {
    std::unique_ptr<Cargo> cargo; // null: it has
    pid_t pid = 0;                // 0: none was made
    size_t stack = 0;
    uint32_t places = 0; // bits of Spawner::places_
    Error failure;
};

// --- Spawner ---

Result<Spawner> Spawner::create(Ways ways) {
    Spawner spawner;
    spawner.ways_ = ways;
    void* stacks = ::mmap(nullptr, page + most_flights * stack_size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stacks == MAP_FAILED) return system_error("memory for starting processes", errno);
    spawner.stacks_ = stacks;
    ::mprotect(stacks, page, PROT_NONE);
    Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null) return system_error("open /dev/null", errno);
    spawner.null_.reset(::fcntl(null.get(), F_DUPFD_CLOEXEC, first_place));
    if (!spawner.null_) return system_error("open /dev/null", errno);
    for (Fd& each : spawner.places_) {
        each.reset(::fcntl(spawner.null_.get(), F_DUPFD_CLOEXEC, first_place));
        if (!each) return system_error("descriptors for starting processes", errno);
        spawner.last_place_ = std::max(spawner.last_place_, each.get());
    }
    spawner.close_range_ = ::syscall(436 /* close_range */, ~0U, ~0U, 0) == 0;
    spawner.ignored_ = ignored_signals();
    spawner.files_ = descriptor_limit();
    return spawner;
}

Spawner::Spawner(Spawner&& other) noexcept { *this = std::move(other); }

Spawner& Spawner::operator=(Spawner&& other) noexcept {
    std::swap(ways_, other.ways_);
    std::swap(stacks_, other.stacks_);
    std::swap(null_, other.null_);
    std::swap(places_, other.places_);
    std::swap(last_place_, other.last_place_);
    std::swap(used_places_, other.used_places_);
    std::swap(table_, other.table_);
    std::swap(next_, other.next_);
    std::swap(flights_, other.flights_);
    std::swap(close_range_, other.close_range_);
    std::swap(ignored_, other.ignored_);
    std::swap(files_, other.files_);
    std::swap(oom_score_, other.oom_score_);
    return *this;
}

Spawner::~Spawner() {
    land_all();
    if (stacks_ != nullptr) ::munmap(stacks_, page + most_flights * stack_size);
}

// Waits for the child, and takes back what it had.
void Spawner::land(Flight& flight) {
    std::shared_ptr<Flight> keep = flights_[flight.stack];
    std::unique_ptr<Cargo> cargo = std::move(flight.cargo);
    if (!cargo) return;
    // mm_release in the kernel's kernel/fork.c: a futex that is not private.
    while (__atomic_load_n(&cargo->alone, __ATOMIC_ACQUIRE) != 0)
        ::syscall(SYS_futex, &cargo->alone, 0 /* FUTEX_WAIT */, 1, nullptr, nullptr, 0);
    for (size_t i = 0; i < most_places; ++i)
        if ((flight.places >> i & 1) != 0) ::dup3(null_.get(), places_[i].get(), O_CLOEXEC);
    used_places_ &= ~flight.places;
    flight.failure = cargo->explain();
    if (flights_[flight.stack].get() == &flight) flights_[flight.stack] = nullptr;
    if (flight.pid > 0) oom_score_.leaving(flight.pid);
    if (std::none_of(flights_.begin(), flights_.end(), [](auto& each) { return each != nullptr; }))
        oom_score_.restore();
}

void Spawner::land_all() {
    for (std::shared_ptr<Flight>& each : flights_)
        if (std::shared_ptr<Flight> flight = each) land(*flight);
}

Error Spawner::settle(Flight& flight) {
    land(flight);
    return flight.failure;
}

// Gives it a stack and that many places; if need be those of others, once they have executed.
void Spawner::board(const std::shared_ptr<Flight>& flight, size_t count) {
    // In turn: this is the one that has been under way for longest.
    if (flights_[next_]) land(*flights_[next_]);
    size_t used = static_cast<size_t>(std::popcount(used_places_));
    if (most_places - used < count) land_all();
    flight->stack = next_;
    flights_[next_] = flight;
    next_ = (next_ + 1) % most_flights;
    for (size_t i = 0; count > 0; ++i) {
        if ((used_places_ >> i & 1) != 0) continue;
        flight->places |= 1U << i;
        --count;
    }
    used_places_ |= flight->places;
}

// A table of descriptors that must grow while somebody shares it waits for an RCU grace period, ten
// milliseconds and more (expand_fdtable in the kernel's fs/file.c): ours grows when nobody does.
void Spawner::make_room(const SpawnRequest& request) {
    int last = request.cgroup;
    for (int fd : {request.standard_input, request.standard_output, request.standard_error})
        last = std::max(last, fd);
    if (last + room_ahead < table_) return;
    land_all();
    table_ = static_cast<int>(std::bit_ceil(static_cast<unsigned>(last + room_ahead + 1)));
    // Beyond the limit there is no room to be made.
    Fd highest(::fcntl(null_.get(), F_DUPFD_CLOEXEC, table_ - 1));
}

Result<Spawned> Spawner::spawn(SpawnRequest request) { return start(std::move(request), false); }

Result<Spawned> Spawner::launch(SpawnRequest request) { return start(std::move(request), true); }

Result<Spawned> Spawner::start(SpawnRequest wanted, bool may_fly) {
    if (wanted.argv.empty()) return Error{"no program to start"};
    auto program = find_program(wanted.argv[0], wanted.path);
    if (!program) return program.error();
    auto flight = std::make_shared<Flight>();
    flight->cargo = std::make_unique<Cargo>();
    Cargo& cargo = *flight->cargo;
    cargo.request = std::move(wanted);
    cargo.program = std::move(*program);
    cargo.prepare();
    const SpawnRequest& request = cargo.request;
    ChildPlan& plan = cargo.plan;
    plan.files = files_;
    if (!close_range_)
        plan.max_fd = static_cast<int>(std::min<rlim_t>(descriptor_limit().rlim_cur, 65536));

    // Sources lie above all of the numbers, so that none is overwritten before it was used.
    int highest = 2;
    size_t count = request.handed.size();
    for (const SpawnRequest::Handed& each : request.handed)
        highest = std::max(highest, each.number);
    for (int fd : {request.standard_input, request.standard_output, request.standard_error})
        if (fd >= 0) ++count;
    // Copying and closing thousands of descriptors costs more than all the rest: the child shares
    // ours and copies only those that are low, to where it finds its own.
    bool sharing =
        ways_.clone3 && ways_.into_cgroup && highest < first_place && count <= most_places;
    if (sharing) make_room(request);
    board(flight, sharing ? count : 0);
    std::vector<Fd> moved;
    uint32_t free = flight->places;
    auto above = [&](int fd) {
        if (sharing) {
            int place = places_[static_cast<size_t>(std::countr_zero(free))].get();
            free &= free - 1;
            // One that is not open is for the child to report.
            return ::dup3(fd, place, O_CLOEXEC) < 0 ? fd : place;
        }
        if (fd > highest) return fd;
        moved.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, highest + 1));
        return moved.back().get();
    };
    auto source = [&](int fd) {
        if (fd >= 0) return above(fd);
        return sharing ? null_.get() : above(null_.get());
    };
    plan.standard[0] = source(request.standard_input);
    plan.standard[1] = source(request.standard_output);
    plan.standard[2] = source(request.standard_error);
    for (const SpawnRequest::Handed& each : request.handed) {
        cargo.handed.push_back(above(each.fd));
        cargo.handed.push_back(each.number);
    }
    plan.handed = cargo.handed.data();
    plan.handed_count = static_cast<int>(request.handed.size());

    oom_score_.as_children();
    uint64_t flags = CLONE_VM;
    if (request.child_of_parent) flags |= CLONE_PARENT;
    if (request.pid_namespace) flags |= CLONE_NEWPID;
    if (request.pid_cell != nullptr) flags |= CLONE_PARENT_SETTID;
    // With CLONE_PARENT the signal is inherited and naming one is an error.
    int exit_signal = request.child_of_parent ? 0 : SIGCHLD;
    char* stack = static_cast<char*>(stacks_) + page + flight->stack * stack_size;

    Spawned spawned;
    Fd procs;
    long pid = -ENOSYS;
    int pidfd = -1;
    bool flying = false;

    auto open_procs = [&] {
        if (request.cgroup < 0 || procs) return;
        procs.reset(::openat(request.cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC));
        plan.cgroup_procs = procs.get();
    };
    auto try_clone3 = [&](bool newest) {
        bool into_cgroup = newest && request.cgroup >= 0;
        flying = newest && sharing && may_fly;
        CloneArguments arguments{};
        arguments.flags = flags | (flying ? CLONE_CHILD_CLEARTID : CLONE_VFORK) |
                          (into_cgroup ? into_cgroup_flag : 0);
        if (request.pidfd) arguments.flags |= CLONE_PIDFD;
        if (newest) arguments.flags |= clear_handlers_flag;
        if (newest && sharing) arguments.flags |= CLONE_FILES;
        plan.last_shared = newest && sharing ? last_place_ : 0;
        plan.ignored = newest ? ignored_ : ~uint64_t{0};
        arguments.pidfd = reinterpret_cast<uint64_t>(&pidfd);
        arguments.child_tid = reinterpret_cast<uint64_t>(&cargo.alone);
        arguments.parent_tid = reinterpret_cast<uint64_t>(request.pid_cell);
        arguments.exit_signal = static_cast<uint64_t>(exit_signal);
        arguments.stack = reinterpret_cast<uint64_t>(stack);
        arguments.stack_size = stack_size;
        if (into_cgroup) arguments.cgroup = static_cast<uint64_t>(request.cgroup);
        size_t size = into_cgroup ? sizeof arguments : clone_arguments_v0;
        if (newest) { // without handlers there is nothing of ours that could run in it
            cargo.alone = flying ? 1 : 0;
            long result = clone3_child(arguments, size, plan);
            if (result < 0) cargo.alone = 0;
            return result;
        }
        BlockSignals blocked;
        return clone3_child(arguments, size, plan);
    };
    auto out_of_room = [](long result) { return result == -EAGAIN || result == -ENOMEM; };

    if (ways_.clone3) {
        if (ways_.into_cgroup) {
            pid = try_clone3(true);
            spawned.in_cgroup = pid > 0 && request.cgroup >= 0;
            // Unknown to the kernel, or just not allowed for this cgroup?
            if (!request.pid_namespace && (pid == -EINVAL || pid == -E2BIG))
                ways_.into_cgroup = false;
        }
        if (pid < 0 && !out_of_room(pid)) {
            open_procs();
            pid = try_clone3(false);
            // Not for what only this process asked for.
            if (!request.pid_namespace && (pid == -ENOSYS || pid == -EPERM || pid == -EINVAL))
                ways_.clone3 = false;
        }
    }
    if (pid < 0 && !out_of_room(pid)) {
        open_procs();
        BlockSignals blocked;
        int result =
            ::clone(run_child, stack + stack_size,
                    static_cast<int>(flags | CLONE_VFORK) | exit_signal, &plan, request.pid_cell);
        pid = result < 0 ? -errno : result;
        // Not CLONE_PIDFD: clone has one pointer for it and for the pid. Ours stays a zombie until
        // we wait; init's may be gone already, then its status is on its way.
        if (pid > 0 && request.pidfd) pidfd = open_pidfd(static_cast<pid_t>(pid)).release();
    }
    if (pid < 0) {
        std::string what = request.argv[0] + ": could not start a process";
        land(*flight);
        return system_error(what, static_cast<int>(-pid));
    }

    spawned.pid = flight->pid = static_cast<pid_t>(pid);
    spawned.pidfd.reset(pidfd);
    if (!spawned.in_cgroup && plan.cgroup_procs >= 0)
        spawned.in_cgroup = plan.step != static_cast<int>(ChildStep::cgroup);
    if (flying)
        spawned.flight = std::move(flight);
    else
        spawned.failure = settle(*flight);
    return spawned;
}

Result<std::string> find_program(std::string_view program, std::string_view path) {
    std::string_view all = path;
    if (program.empty()) return Error{"the name of the program is empty"};
    if (program.find('/') != std::string_view::npos) return std::string(program);
    std::string not_executable;
    for (;;) {
        size_t end = std::min(path.find(':'), path.size());
        std::string candidate(path.substr(0, end));
        if (candidate.empty()) candidate = ".";
        candidate.append("/").append(program);
        struct stat status {};
        if (::stat(candidate.c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
            if (::access(candidate.c_str(), X_OK) == 0) return candidate;
            not_executable = candidate;
        }
        if (end == path.size()) break;
        path.remove_prefix(end + 1);
    }
    if (!not_executable.empty()) return Error{not_executable + ": not executable"};
    return Error{std::string(program) + ": no such program in " + std::string(all)};
}

std::string explain_exec_failure(const std::string& program, const std::string& directory,
                                 int error_number) {
    std::string path = program;
    if (!path.starts_with("/")) path = directory + "/" + path;
    struct stat status {};
    bool exists = ::stat(path.c_str(), &status) == 0;
    switch (error_number) {
    case ENOENT: {
        if (!exists) return path + ": no such program";
        std::string interpreter = interpreter_in(head_of(path));
        if (interpreter.ends_with('\r'))
            return path + ": its lines end in CR LF, which is part of its interpreter's name: save "
                          "it with LF alone";
        if (!interpreter.empty()) return path + ": interpreter " + interpreter + " missing";
        return path + ": its interpreter is missing";
    }
    case EACCES:
        if (exists && S_ISDIR(status.st_mode)) return path + ": is a directory";
        if (exists && (status.st_mode & 0111) == 0) return path + ": not executable";
        if (exists && ::access(path.c_str(), X_OK) == 0) {
            std::string interpreter = interpreter_in(head_of(path));
            if (!interpreter.empty())
                return path + ": interpreter " + interpreter + ": not executable";
        }
        break;
    case ENOEXEC:
        if (head_of(path).starts_with("\xef\xbb\xbf"))
            return path + ": not a program: a byte order mark is before its #!; save it without";
        return path + ": not a program (a script begins with #! and an interpreter)";
    default:
        break;
    }
    return system_error(path, error_number).message;
}

} // namespace muster::services
