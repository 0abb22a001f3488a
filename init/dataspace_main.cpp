// `dataspace`, the second stage: one process with one thread that keeps the assertions, runs the
// configuration scripts, listens on the bus and supervises the services. init starts it with
// --system; it also runs by itself.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "init/base/event_loop.h"
#include "init/config/watcher.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/protocol/gatekeeper.h"
#include "init/protocol/listener.h"
#include "init/second_stage_link.h"
#include "services/daemon/daemons.h"
#include "services/system/kernel_parameters.h"
#include "services/system/log_printer.h"
#include "services/system/power.h"
#include "services/tracker/tracker.h"

namespace muster {
namespace {

using dataspace::CapRef;
using dataspace::Engine;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

constexpr const char* usage =
    "usage: dataspace [--config PATH]... [--socket PATH]... [--no-banner]\n"
    "       dataspace --system [--config PATH]... [--init-fd N]\n"
    "\n"
    "Keeps assertions and supervises services.\n"
    "\n"
    "  -c, --config PATH   run the scripts (*.pr) in this file or folder, and watch it\n"
    "  -s, --socket PATH   listen on this Unix socket; peers get $config\n"
    "      --system        as the second stage of init: kernel parameters, overrides in "
    "/run/muster\n"
    "      --init-fd N     the link to init\n"
    "      --gatekeeper-answers accepted|ok\n"
    "                      how gatekeepers spell: <accepted #:cap> (the default) or <ok #:cap>\n"
    "      --no-banner     say nothing at start\n"
    "  -h, --help          this text\n"
    "  -V, --version       the version\n"
    "\n"
    "Scripts find the variables config, gatekeeper, machine, status, log and system, and\n"
    "configuration, the folder in which PATH is.\n";

struct Options {
    std::vector<std::string> configs;
    std::vector<std::string> sockets;
    int init_fd = -1;
    protocol::Answers answers = protocol::Answers::accepted;
    bool system = false;
    bool banner = true;
};

// What a bus client may leave unread, and for how long, before it is closed as too slow.
constexpr size_t bus_max_unsent = 4 * 1024 * 1024;
constexpr uint64_t bus_max_stall = 30 * second;

[[noreturn]] void usage_error(const std::string& what) {
    std::fprintf(stderr, "dataspace: %s\n%s", what.c_str(), usage);
    std::exit(2);
}

Options parse_options(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        std::string word = argv[i];
        auto argument = [&]() -> std::string {
            if (i + 1 >= argc) usage_error(word + " needs an argument");
            return argv[++i];
        };
        if (word == "-c" || word == "--config")
            options.configs.push_back(argument());
        else if (word == "-s" || word == "--socket")
            options.sockets.push_back(argument());
        else if (word == "--init-fd")
            options.init_fd = std::atoi(argument().c_str());
        else if (word == "--gatekeeper-answers") {
            std::string spelling = argument();
            auto answers = protocol::answers_by_name(spelling);
            if (!answers) usage_error(word + " is accepted or ok, not " + spelling);
            options.answers = *answers;
        } else if (word == "--system")
            options.system = true;
        else if (word == "--no-banner")
            options.banner = false;
        else if (word == "-h" || word == "--help") {
            std::fputs(usage, stdout);
            std::exit(0);
        } else if (word == "-V" || word == "--version") {
            std::puts("dataspace (muster) 0.1");
            std::exit(0);
        } else
            usage_error("unknown argument " + word);
    }
    return options;
}

[[noreturn]] void die(const Error& error) {
    std::fprintf(stderr, "dataspace: %s\n", error.message.c_str());
    std::exit(1);
}

template <typename T>
T value_or_die(Result<T> result) {
    if (!result) die(result.error());
    return *std::move(result);
}

std::string read_command_line() {
    Fd file(open("/proc/cmdline", O_RDONLY | O_CLOEXEC));
    char buffer[4096];
    ssize_t count = file ? read(file.get(), buffer, sizeof buffer) : 0;
    return std::string(buffer, count > 0 ? static_cast<size_t>(count) : 0);
}

class SecondStage {
  public:
    SecondStage(EventLoop& loop, SecondStageLink& link, services::Processes& processes,
                const Options& options)
        : loop_(loop), link_(link), processes_(processes), options_(options) {
        config_ = spawn_dataspace(engine_, "config");
        machine_ = spawn_dataspace(engine_, "machine");
        status_ = spawn_dataspace(engine_, "status");
        log_ = spawn_dataspace(engine_, "log");
    }

    void run();

  private:
    void boot(Turn& turn);
    void assert_capabilities(Turn& turn);
    void assert_boot_facts(Turn& turn);
    void require_configuration(Turn& turn);
    Value variables(const std::string& path) const;
    void report_up(Turn& turn, const std::vector<Value>& watchers);
    Watch watch_signals();
    bool quiet() const {
        return link_.attached() && (link_.welcome().flags & records::kQuiet) != 0;
    }
    bool container() const {
        return link_.attached() && (link_.welcome().flags & records::kContainer) != 0;
    }

    EventLoop& loop_;
    SecondStageLink& link_;
    services::Processes& processes_;
    const Options& options_;
    Engine engine_;
    CapRef config_;
    CapRef machine_;
    CapRef status_;
    CapRef log_;
    CapRef system_;
    CapRef gatekeeper_;
    dataspace::KeepAlive keep_;
    std::unique_ptr<services::Power> power_;
    size_t watchers_missing_ = 0;
    Fd signals_;
};

void SecondStage::run() {
    engine_.spawn("system", [this](Turn& turn) { boot(turn); });
    engine_.run(); // before anything comes from outside
    loop_.set_after_round([this] { return engine_.run(); });
    Watch signals = watch_signals();
    Watch link;
    if (link_.attached()) {
        link = value_or_die(
            loop_.watch(link_.fd(), EPOLLIN, [this](uint32_t) { power_->on_records(); }));
    }
    loop_.run();
}

void SecondStage::boot(Turn& turn) {
    Ref<dataspace::Facet> facet(&turn.current());
    keep_ = dataspace::KeepAlive(facet);
    turn.engine().set_on_failure([this, facet](const dataspace::Actor& actor, const Error& error) {
        if (error.message.empty()) return; // said already
        std::string line = actor.name() + ": " + error.message;
        if (&actor == &facet->actor())
            std::fprintf(stderr, "dataspace: %s\n", line.c_str());
        else
            engine_.external(facet, [this, line](Turn& t) { services::say(t, log_, line); });
    });
    services::print_log(turn, log_, STDERR_FILENO, quiet());

    std::string overrides = options_.system ? "/run/muster/overrides" : "";
    services::TrackerControl tracker =
        services::track_services(engine_, {config_, machine_, status_, log_, overrides});
    power_ = std::make_unique<services::Power>(
        services::PowerContext{loop_, engine_, link_, processes_, tracker, log_}, facet);
    system_ = power_->capability(turn);

    services::serve_daemons(turn, services::Context{.loop = loop_,
                                                    .processes = processes_,
                                                    .config = config_,
                                                    .machine = machine_,
                                                    .log = log_,
                                                    .status = status_});
    // Reports come from within turns of their own or from none: they are said in one of ours.
    auto report = [this, facet](std::string line) {
        engine_.external(facet,
                         [this, line = std::move(line)](Turn& t) { services::say(t, log_, line); });
    };
    config::serve_config_watchers(turn, loop_, config_, [report](const config::Problem& problem) {
        report(config::to_string(problem));
    });
    protocol::ListenerOptions listener;
    listener.name = "bus";
    listener.max_unsent = bus_max_unsent;
    listener.max_stall = bus_max_stall;
    listener.report = report;
    protocol::serve_relay_listeners(turn, loop_, config_, listener);
    gatekeeper_ = protocol::spawn_gatekeeper(turn, config_, options_.answers);
    protocol::serve_gatekeepers(turn, config_, options_.answers);

    assert_capabilities(turn);
    if (options_.system) assert_boot_facts(turn);
    require_configuration(turn);
}

// `<capability NAME #:cap>`: how whoever holds `$config` comes by the rest.
void SecondStage::assert_capabilities(Turn& turn) {
    auto offer = [&](std::string_view name, const CapRef& cap) {
        turn.assert_(config_,
                     preserves::record("capability", {preserves::symbol(name), embed(cap)}));
    };
    offer("machine", machine_);
    offer("status", status_);
    offer("log", log_);
    offer("system", system_);
}

void SecondStage::assert_boot_facts(Turn& turn) {
    auto assert_mode = [&](std::string_view mode) {
        turn.assert_(config_, preserves::record("boot-mode", {preserves::symbol(mode)}));
    };
    if (container()) {
        assert_mode("container");
        return;
    }
    auto parameters = services::parse_kernel_parameters(read_command_line());
    bool initramfs = link_.attached() && (link_.welcome().flags & records::kInitramfs) != 0;
    assert_mode(services::boot_mode(parameters, initramfs));
    for (const auto& [key, value] : parameters)
        turn.assert_(config_, preserves::record("kernel-parameter", {preserves::symbol(key),
                                                                     preserves::string(value)}));
}

// What the scripts under `path` find. `configuration` is the folder above: that of the layers.
Value SecondStage::variables(const std::string& path) const {
    size_t end = path.find_last_not_of('/');
    size_t slash = end == std::string::npos ? end : path.find_last_of('/', end);
    std::string above = slash == std::string::npos ? "." : path.substr(0, slash);
    Value configuration = preserves::string(above);
    return preserves::dictionary({{"config", embed(config_)},
                                  {"configuration", configuration},
                                  {"gatekeeper", embed(gatekeeper_)},
                                  {"machine", embed(machine_)},
                                  {"status", embed(status_)},
                                  {"log", embed(log_)},
                                  {"system", embed(system_)}});
}

void SecondStage::require_configuration(Turn& turn) {
    auto require = [&](View service) {
        turn.assert_(config_, preserves::record("require-service", {service}));
    };
    std::vector<Value> watchers;
    for (const std::string& path : options_.configs) {
        watchers.push_back(
            preserves::record("config-watcher", {preserves::string(path), variables(path)}));
        require(watchers.back());
    }
    for (const std::string& path : options_.sockets)
        require(preserves::record(
            "relay-listener",
            {preserves::record("unix", {preserves::string(path)}), embed(config_)}));
    report_up(turn, watchers);
}

// We are up when all configuration that we were given has been read.
void SecondStage::report_up(Turn& turn, const std::vector<Value>& watchers) {
    watchers_missing_ = watchers.size();
    auto one_more = [this] {
        if (watchers_missing_ > 0 && --watchers_missing_ > 0) return;
        Result<> sent = link_.up();
        if (!sent) std::fprintf(stderr, "dataspace: %s\n", sent.error().message.c_str());
        if (options_.banner && !options_.system) std::fprintf(stderr, "dataspace: running\n");
    };
    if (watchers.empty()) one_more();
    for (const Value& watcher : watchers) {
        Value ready = preserves::record("service-state", {watcher, preserves::symbol("ready")});
        bool seen = false;
        observe(turn, config_, pat::literal(ready),
                [one_more, seen](Turn&, View) mutable {
                    if (!std::exchange(seen, true)) one_more();
                },
                {});
    }
}

Watch SecondStage::watch_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (int each : {SIGTERM, SIGINT, SIGHUP})
        sigaddset(&set, each);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    signal(SIGPIPE, SIG_IGN);
    signals_ = Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    return value_or_die(loop_.watch(signals_.get(), EPOLLIN, [this](uint32_t) {
        signalfd_siginfo info;
        if (read(signals_.get(), &info, sizeof info) != sizeof info) return;
        if (info.ssi_signo == SIGHUP) return;
        // init sends TERM when the services are down already: there is nothing left to do.
        if (link_.attached())
            loop_.stop();
        else
            power_->stop_by_itself();
    }));
}

} // namespace
} // namespace muster

int main(int argc, char** argv) {
    using namespace muster;
    Options options = parse_options(argc, argv);
    auto link = value_or_die(options.init_fd >= 0 ? SecondStageLink::connect(options.init_fd)
                                                  : SecondStageLink::standalone());
    std::unique_ptr<EventLoop> loop = value_or_die(EventLoop::create());
    std::string remark;
    std::unique_ptr<services::Processes> processes =
        value_or_die(services::Processes::create(*loop, link, &remark));
    if (!remark.empty()) std::fprintf(stderr, "dataspace: %s\n", remark.c_str());
    // For the bus and the overrides. What it is needed for says so if it could not be made.
    if (options.system) mkdir("/run/muster", 0755);
    SecondStage stage(*loop, link, *processes, options);
    stage.run();
    for (const std::string& path : options.sockets)
        unlink(path.c_str());
    // What the kernel frees at once need not be taken apart, but processes are ended in order.
    processes.reset();
    std::_Exit(0);
}
