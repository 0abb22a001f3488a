#include "init/run.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init/base/standard_descriptors.h"
#include "init/crash.h"
#include "init/exec_stub.h"
#include "init/line.h"
#include "init/linux_kernel.h"
#include "init/memory.h"
#include "init/mounts.h"
#include "init/pid1.h"
#include "init/read_lines.h"
#include "init/switch_root.h"

#ifndef MUSTER_VERSION
#define MUSTER_VERSION "0.1"
#endif

extern char** environ;

namespace muster::pid1 {

namespace {

constexpr const char* kSecondStage = "/usr/libexec/muster/dataspace";
constexpr const char* kMuster = "/usr/bin/muster";
constexpr const char* kConfig = "/etc/muster";
constexpr char kPath[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr rlim_t kFiles =
    records::kSlots * records::kSlotFds + records::kStoredFds + 128; // those kept, and init's own
constexpr std::int64_t kContainerStopMs = 8000; // engines kill after ten seconds

constexpr std::string_view kUsage =
    "usage: init                     as process 1: boots the machine\n"
    "       init --container [--config DIR] [--second-stage PROGRAM] [--stop-timeout SECONDS]\n"
    "                        [--quiet] [--main NAME | -- COMMAND...]\n"
    "                                as process 1 of a container\n"
    "       init --exec [OPTION]... -- PROGRAM [ARGUMENT]...\n"
    "                                sets up a service's process and becomes it\n"
    "       init --takes-over VERSION SIZE\n"
    "                                whether it can go on for an init with such a state\n"
    "       init 0 | 6 | 1 | S | 2 | 3 | 4 | 5 | q | u   what telinit does with these\n"
    "       init --help | --version\n"
    "To power off, reboot or halt the system: muster poweroff, muster reboot, muster halt.\n";

void write_text(int fd, std::string_view text) {
    ssize_t written = write(fd, text.data(), text.size());
    static_cast<void>(written);
}

int wrong(std::string_view what, std::string_view subject) {
    write_text(2, Line("init: ", what, subject, "\n").view());
    write_text(2, kUsage);
    return 2;
}

struct Options {
    const char* config = kConfig;
    const char* second_stage = kSecondStage;
    std::int64_t stop_limit_ms = kContainerStopMs;
    bool quiet = false;
    char** main = nullptr; // its words; of a name there is one
    int main_words = 0;
    bool main_named = false;
};

// What follows --container. 0, or the exit status.
int read_options(int argc, char** argv, Options& options) {
    for (int at = 2; at < argc; ++at) {
        std::string_view option = argv[at];
        if (option == "--quiet") {
            options.quiet = true;
            continue;
        }
        if (option == "--") {
            options.main = argv + at + 1;
            options.main_words = argc - at - 1;
            if (options.main_words == 0) return wrong("no command after ", option);
            if (options.main_named) return wrong("--main and a command exclude each other", "");
            break;
        }
        bool known = option == "--config" || option == "--second-stage" ||
                     option == "--stop-timeout" || option == "--main";
        if (!known) return wrong("unknown option ", option);
        if (++at == argc) return wrong("no value for ", option);
        std::string_view value = argv[at];
        if (option == "--stop-timeout") {
            std::int64_t seconds = 0;
            for (char c : value) {
                if (c < '0' || c > '9' || seconds > 86400)
                    return wrong("not a number of seconds: ", value);
                seconds = seconds * 10 + (c - '0');
            }
            if (value.empty()) return wrong("not a number of seconds: ", value);
            options.stop_limit_ms = seconds > 0 ? seconds * 1000 : 1;
        } else if (value.empty() || value.size() >= records::kPathSize - 8) {
            return wrong("not usable: ", value);
        } else if (option == "--main") {
            options.main = argv + at;
            options.main_words = 1;
            options.main_named = true;
        } else {
            (option == "--config" ? options.config : options.second_stage) = argv[at];
        }
    }
    std::size_t size = 0;
    for (int i = 0; i < options.main_words; ++i)
        size += std::strlen(options.main[i]) + 1;
    if (size > State::kMainSize || options.main_words > static_cast<int>(State::kMainWords))
        return wrong("the command of the main service is too long", "");
    return 0;
}

// Their size has been checked.
void keep_main(State& state, const Options& options) {
    char* to = state.main;
    for (int i = 0; i < options.main_words; ++i) {
        std::size_t size = std::strlen(options.main[i]) + 1;
        std::memcpy(to, options.main[i], size);
        to += size;
    }
    state.main_words = static_cast<std::uint32_t>(options.main_words);
    state.main_named = options.main_named;
}

// The last allocation-like thing: a PATH for our children, and without the variable of the state.
void make_environment() {
    std::size_t many = 2; // PATH and the end
    for (char** variable = environ; *variable != nullptr; ++variable)
        ++many;
    void* memory = mmap(nullptr, many * sizeof(char*), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return; // as it was given to us
    auto** variables = static_cast<char**>(memory);
    std::size_t own = std::strlen(kStateVariable);
    bool path = false;
    std::size_t count = 0;
    for (char** variable = environ; *variable != nullptr; ++variable) {
        if (std::strncmp(*variable, kStateVariable, own) == 0 && (*variable)[own] == '=') continue;
        if (std::strncmp(*variable, "PATH=", 5) == 0) path = true;
        variables[count++] = *variable;
    }
    static char setting[sizeof kPath];
    std::memcpy(setting, kPath, sizeof kPath);
    if (!path) variables[count++] = setting;
    variables[count] = nullptr;
    environ = variables;
}

int number_or_none(const char* text) {
    int number = 0;
    if (text == nullptr || *text == 0) return -1;
    for (; *text != 0; ++text) {
        if (*text < '0' || *text > '9' || number > 100000000) return -1;
        number = number * 10 + (*text - '0');
    }
    return number;
}

const char* variable(const char* name) {
    std::size_t length = std::strlen(name);
    for (char** at = environ; *at != nullptr; ++at) {
        if (std::strncmp(*at, name, length) == 0 && (*at)[length] == '=') return *at + length + 1;
    }
    return nullptr;
}

void read_own_path(State& state, const char* name) {
    char path[records::kPathSize] = {};
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    // What a root that was only changed to by chroot(2) has is named from outside.
    if (size > 0 && access(path, X_OK) < 0) size = -1;
    copy_field(state.own_path, sizeof state.own_path,
               size > 0 ? std::string_view(path, static_cast<std::size_t>(size)) : name);
}

void protect_from_oom(Kernel& kernel) {
    int written = kernel.write_file("/proc/self/oom_score_adj", "-1000");
    if (written < 0)
        kernel.print(
            Line("init: protect from the out-of-memory killer: ", strerror(-written)).view());
}

void allow_many_files() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= kFiles) return;
    rlimit wanted{kFiles, limit.rlim_max < kFiles ? kFiles : limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0) return;
    limit.rlim_cur = limit.rlim_max; // what we may
    setrlimit(RLIMIT_NOFILE, &limit);
}

// The words that the kernel did not know are our arguments and on its command line; both count.
void read_kernel_command_line(State& state, Kernel& kernel, char** argv) {
    CommandLine& line = state.command_line;
    LineReader lines("/proc/cmdline");
    std::string_view text;
    while (lines.next(text))
        parse_command_line(text, line);
    for (char** word = argv + 1; *word != nullptr; ++word)
        parse_command_line(*word, line);
    if (line.overlong) kernel.print("init: a path on the kernel command line is too long");
    state.quiet = line.quiet;
    copy_field(state.config, sizeof state.config, line.config[0] != 0 ? line.config : kConfig);
}

// What the kernel unpacked its initramfs to has the type rootfs, whatever is below it, and nothing
// is mounted over it.
bool root_is_initramfs() {
    LineReader lines("/proc/self/mounts");
    std::string_view line;
    bool initramfs = false;
    while (lines.next(line)) {
        next_word(line);
        if (next_word(line) == "/") initramfs = next_word(line) == "rootfs";
    }
    return initramfs;
}

// Mounts of ours must be seen by nobody else, and those of others must not be touched: a mount
// namespace of our own, whatever we were given, with private propagation.
bool enter_container(Kernel& kernel) {
    if (unshare(CLONE_NEWNS) < 0) {
        kernel.print(
            Line("init: new mount namespace: ", strerror(errno), ": nothing is mounted").view());
        return false;
    }
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) {
        kernel.print(
            Line("init: private mounts: ", strerror(errno), ": nothing is mounted").view());
        return false;
    }
    return true;
}

// All that can wait. Not by sigfillset(), which leaves out those that musl uses between threads.
sigset_t block_signals() {
    sigset_t all;
    std::memset(&all, 0xff, sizeof all);
    for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP})
        sigdelset(&all, signal);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    return all;
}

[[noreturn]] void loop(Pid1& pid1, Kernel& kernel, int signals) {
    for (;;) {
        pollfd polled[2] = {{signals, POLLIN, 0}, {pid1.link_fd(), POLLIN, 0}};
        if (pid1.wants_to_write()) polled[1].events |= POLLOUT;
        int ready = poll(polled, 2, pid1.timeout_ms());
        if (ready < 0 && errno != EINTR) {
            kernel.print(Line("init: poll: ", strerror(errno)).view());
            continue;
        }
        if (ready > 0 && polled[1].revents != 0 && polled[1].fd == pid1.link_fd()) {
            if (polled[1].revents & POLLOUT) pid1.on_link_writable();
            if (polled[1].revents & ~POLLOUT) pid1.on_link_readable();
        }
        if (ready > 0 && polled[0].revents != 0) {
            signalfd_siginfo got[8];
            ssize_t size = read(signals, got, sizeof got);
            for (std::size_t i = 0; size > 0 && i < static_cast<std::size_t>(size) / sizeof got[0];
                 ++i)
                pid1.on_signal(static_cast<int>(got[i].ssi_signo));
        }
        pid1.on_time();
    }
}

// Without memory for the state there is nothing to run with. Never returns as a machine's init.
int hopeless(LinuxKernel& kernel, std::string_view what, bool container) {
    kernel.print(Line("init: ", what, ": ", strerror(errno)).view());
    if (container) return 1;
    for (;;)
        pause();
}

// Process 1 of a pid namespace that is not the machine's, whoever forgot to say so: what is done to
// a machine would be done to somebody else's.
bool is_contained(Kernel& kernel) {
    constexpr std::uint64_t kFirstPidNamespace = 0xEFFFFFFC; // include/linux/proc_ns.h
    std::uint64_t ours = kernel.inode("/proc/self/ns/pid");  // 0: no /proc yet, as on a machine
    return (ours != 0 && ours != kFirstPidNamespace) || variable("container") != nullptr;
}

int run_as_pid1(int argc, char** argv) {
    fill_standard_descriptors();
    bool resumed = argc == 3 && std::strcmp(argv[1], "--resume") == 0;
    bool container = argc > 1 && std::strcmp(argv[1], "--container") == 0;
    Options options;
    char* nothing[] = {nullptr};
    LinuxKernel early(-1, nothing);
    if (!container && !resumed && is_contained(early)) {
        early.print("init: not process 1 of the machine: as with --container");
        container = true;
    } else if (container) {
        if (int status = read_options(argc, argv, options); status != 0) return status;
    }
    prctl(PR_SET_NAME, "init");
    umask(022);
    int state_fd = number_or_none(resumed ? argv[2] : variable(kStateVariable));
    State* state = state_fd >= 0 && !container ? adopt_state(state_fd) : nullptr;
    bool switched = state != nullptr && !resumed;
    if (state == nullptr) {
        resumed = false;
        state = make_state(state_fd);
        if (state == nullptr) return hopeless(early, "memory for the state", container);
        state->init_start_ms = early.now_ms();
        state->container = container;
    }
    records::SharedState* shared =
        resumed || switched ? map_shared_state(state->shared_fd) : nullptr;
    if (shared == nullptr || switched) {
        if (switched) close(state->shared_fd);
        shared = make_shared_state(state->shared_fd);
    }
    if (shared == nullptr) return hopeless(early, "memory for the slots", container);

    LinuxKernel kernel(state_fd, resumed ? nothing : argv + 1);
    const sigset_t blocked = block_signals();
    int signals = signalfd(-1, &blocked, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) return hopeless(kernel, "signals", container);
    make_environment();
    if (resumed) {
        if (!state->container) kernel.open_console();
    } else {
        if (chdir("/") < 0) kernel.print("init: no root directory");
        setsid();
        if (container) {
            LinuxKernel::share_output();
            if (enter_container(kernel)) mount_file_systems(kernel, *state);
            state->terminal = isatty(0);
            state->quiet = options.quiet;
            state->limits.stop = options.stop_limit_ms;
            state->limits.grace = 1000;
            copy_field(state->config, sizeof state->config, options.config);
            keep_main(*state, options);
        } else {
            reboot(RB_DISABLE_CAD); // Ctrl-Alt-Del comes as SIGINT
            mount_file_systems(kernel, *state);
            kernel.open_console();
            bool shell_done = state->shell_done;
            state->command_line = CommandLine{};
            read_kernel_command_line(*state, kernel, argv);
            state->shell_done = shell_done;
            state->initramfs = root_is_initramfs();
        }
        copy_field(state->second_stage, sizeof state->second_stage, options.second_stage);
        read_own_path(*state, argv[0]);
        make_cgroups(kernel, *state);
        protect_from_oom(kernel);
        allow_many_files();
    }
    catch_crashes(*state, state_fd);
    block_signals(); // again: with the first handler musl unblocks its own
    Pid1 pid1(*state, *shared, kernel);
    pid1.begin();
    loop(pid1, kernel, signals);
}

} // namespace

// Whether this program can go on with the state of the init that runs: the version of its records.
int takes_over(int argc, char** argv) {
    if (argc != 4) return wrong("--takes-over needs a version and a size", "");
    if (number_or_none(argv[2]) != static_cast<int>(State::kVersion) ||
        number_or_none(argv[3]) != static_cast<int>(sizeof(State))) {
        write_text(2, "init: the state of the init that runs is of another version: a reboot is "
                      "needed\n");
        return 1;
    }
    write_text(1, Line(static_cast<int>(records::kVersion), "\n").view());
    return 0;
}

int run_init(int argc, char** argv) {
    std::string_view mode = argc > 1 ? argv[1] : "";
    if (mode == "--takes-over") return takes_over(argc, argv);
    if (mode == "--exec") return run_exec_stub(argc - 2, argv + 2);
    if (getpid() == 1) return run_as_pid1(argc, argv);
    if (mode == "--help" || mode == "-h") {
        write_text(1, kUsage);
        return 0;
    }
    if (mode == "--version") {
        write_text(1, "init (muster) " MUSTER_VERSION "\n");
        return 0;
    }
    bool level = mode.size() == 1 && std::strchr("0123456sSqQuU", mode[0]) != nullptr;
    if (level || mode == "-t") { // as people call it: that is telinit
        argv[0] = const_cast<char*>("telinit");
        execv(kMuster, argv);
        return wrong("execute ", kMuster);
    }
    if (mode == "--container") return wrong("not process 1: --container needs a pid namespace", "");
    if (mode.empty()) return wrong("not process 1", "");
    return wrong("not process 1, and not a mode: ", mode);
}

} // namespace muster::pid1
