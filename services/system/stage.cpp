#include "services/system/stage.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "init/config/watcher.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"
#include "init/protocol/bridge.h"
#include "init/protocol/connector.h"
#include "init/protocol/gatekeeper.h"
#include "init/protocol/relay_listener.h"
#include "services/daemon/daemons.h"
#include "services/system/control.h"
#include "services/system/debts.h"
#include "services/system/kernel_parameters.h"
#include "services/system/log_printer.h"
#include "services/daemon/window.h"
#include "services/tracker/tracker.h"

namespace muster::services {

using dataspace::CapRef;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

namespace {

std::string read_command_line() {
    Fd file(open("/proc/cmdline", O_RDONLY | O_CLOEXEC));
    char buffer[4096];
    ssize_t count = file ? read(file.get(), buffer, sizeof buffer) : 0;
    return std::string(buffer, count > 0 ? static_cast<size_t>(count) : 0);
}

Value listener(Value address, const CapRef& cap) {
    return preserves::record("relay-listener", {address, dataspace::embed(cap)});
}

Value unix_address(const std::string& path) {
    return preserves::record("unix", {preserves::string(path)});
}

} // namespace

SecondStage::SecondStage(EventLoop& loop, SecondStageLink& link, Processes& processes,
                         const Options& options)
    : loop_(loop), link_(link), processes_(processes), options_(options) {
}

SecondStage::~SecondStage() = default;

Result<int> SecondStage::run() {
    engine_.accounts().set_limit(options_.credit);
    if (!options_.trace_file.empty()) {
        auto trace = TraceFile::open(options_.trace_file);
        if (!trace) return trace.error();
        trace_ = *std::move(trace);
        engine_.set_tracer(trace_.get());
    }
    config_ = spawn_dataspace(engine_, "config");
    machine_ = spawn_dataspace(engine_, "machine");
    status_ = spawn_dataspace(engine_, "status");
    log_ = spawn_dataspace(engine_, "log");
    engine_.spawn("system", [this](Turn& turn) { boot(turn); });
    engine_.run(); // before anything comes from outside
    loop_.set_after_round([this] { return engine_.run(); });
    Result<Watch> signals = watch_signals();
    if (!signals) return signals.error();
    Watch link;
    if (link_.attached()) {
        auto watch = loop_.watch(link_.fd(), EPOLLIN, [this](uint32_t) { power_->on_records(); });
        if (!watch) return watch.error();
        link = *std::move(watch);
    }
    if (options_.inferior) speak_on_stdio();
    if (!ended_) loop_.run();
    // Their socket files go; everything else may just end.
    engine_.external(facet_, [this](Turn& turn) { turn.stop(*listeners_); });
    engine_.run();
    return exit_status_;
}

void SecondStage::boot(Turn& turn) {
    facet_ = Ref<dataspace::Facet>(&turn.current());
    keep_ = dataspace::KeepAlive(facet_);
    turn.engine().set_on_failure([this](const dataspace::Actor& actor, const Error& error) {
        if (error.message.empty()) return; // said already
        std::string line = actor.name() + ": " + error.message;
        if (&actor == &facet_->actor())
            std::fprintf(stderr, "dataspace: %s\n", line.c_str());
        else
            say_later(line);
    });
    print_log(turn, log_, STDERR_FILENO, has(records::kQuiet));

    std::string overrides = options_.system ? "/run/muster/overrides" : "";
    TrackerControl tracker = track_services(engine_, {config_, machine_, status_, log_, overrides});
    power_ = std::make_unique<Power>(PowerContext{loop_, engine_, link_, processes_, tracker, log_},
                                     facet_);
    system_ = power_->capability(turn);
    if (options_.control) control_ = control(turn, log_, [this](int status) { end(status); });
    gatekeeper_ = protocol::spawn_gatekeeper(turn, config_, options_.answers);

    serve(turn);
    assert_capabilities(turn);
    if (options_.system) assert_boot_facts(turn);
    require_configuration(turn);
}

// What is asserted as `<run-service …>`, by whoever does it, is implemented here.
void SecondStage::serve(Turn& turn) {
    serve_daemons(turn, Context{.loop = loop_,
                                .processes = processes_,
                                .config = config_,
                                .machine = machine_,
                                .log = log_,
                                .status = status_});
    // Reports come from within turns of their own or from none: they are said in one of ours.
    auto report = [this](const std::string& line) { say_later(line); };
    // As second stage, files that could do what root can must be root's.
    auto guarded = [this](View variables) { return options_.system && commands(variables); };
    config::serve_config_watchers(
        turn, loop_, config_,
        [report](const config::Problem& problem) { report(config::to_string(problem)); }, guarded);
    protocol::serve_gatekeepers(turn, config_, options_.answers);
    publish_debts(turn, loop_, config_);
    serve_debt_reporters(turn, loop_, config_, log_);
    bus_access_ = std::make_unique<BusAccess>(config_, spawn_window(turn, status_), geteuid());
    protocol::serve_connectors(turn, loop_, config_, report);
    protocol::RelayListeners listeners;
    listeners.report = report;
    listeners.bus = config_;
    listeners.admit_to_bus = [this](int socket) { return bus_access_->admit(socket); };
    listeners_ = turn.facet([&](Turn& inner) {
        protocol::serve_relay_listeners(inner, loop_, config_, std::move(listeners));
        protocol::serve_bridges(inner, loop_, config_, report);
    });
}

// Whether `$config`, however narrowed, or `$system` is among these variables.
bool SecondStage::commands(View variables) const {
    bool found = false;
    preserves::for_each_embedded(variables, [&](preserves::Embedded& object) {
        auto& cap = static_cast<dataspace::Cap&>(object);
        if (!cap.facet().alive()) return;
        found = found || &cap.entity() == &config_->entity() || &cap.entity() == &system_->entity();
    });
    return found;
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
    offer("gatekeeper", gatekeeper_);
    if (control_) offer("control", control_);
}

void SecondStage::assert_boot_facts(Turn& turn) {
    auto assert_mode = [&](std::string_view mode) {
        turn.assert_(config_, preserves::record("boot-mode", {preserves::symbol(mode)}));
    };
    if (has(records::kContainer)) {
        assert_mode("container");
        return;
    }
    auto parameters = parse_kernel_parameters(read_command_line());
    assert_mode(boot_mode(parameters, has(records::kInitramfs)));
    for (const auto& [key, value] : parameters)
        turn.assert_(config_, preserves::record("kernel-parameter", {preserves::symbol(key),
                                                                     preserves::string(value)}));
}

// What the scripts under `path` find. `configuration` is the folder above: that of the layers.
Value SecondStage::variables(const std::string& path) const {
    size_t end = path.find_last_not_of('/');
    size_t slash = end == std::string::npos ? end : path.find_last_of('/', end);
    std::string above = slash == std::string::npos ? "." : path.substr(0, slash);
    preserves::Encoder out;
    out.begin_dictionary();
    auto variable = [&](std::string_view name, const CapRef& cap) {
        if (!cap) return;
        out.symbol(name);
        out.embedded(cap);
    };
    variable("config", config_);
    variable("control", control_);
    variable("gatekeeper", gatekeeper_);
    variable("log", log_);
    variable("machine", machine_);
    variable("status", status_);
    variable("system", system_);
    out.symbol("configuration");
    out.string(above);
    out.end();
    return *out.finish();
}

// By itself it runs what the command line says, as syndicate-server does; as second stage it needs
// it, so that it is stopped with the rest.
void SecondStage::require_configuration(Turn& turn) {
    const char* demand = options_.system ? "require-service" : "run-service";
    auto require = [&](View service) {
        turn.assert_(config_, preserves::record(demand, {service}));
    };
    std::vector<Value> watchers;
    for (const std::string& path : options_.configs) {
        watchers.push_back(
            preserves::record("config-watcher", {preserves::string(path), variables(path)}));
        require(watchers.back());
    }
    if (options_.debt_reporter)
        require(preserves::record("debt-reporter", {preserves::number(1.0)}));
    for (uint16_t port : options_.ports)
        require(listener(
            preserves::record("tcp", {preserves::string("0.0.0.0"), preserves::integer(port)}),
            gatekeeper_));
    for (const std::string& path : options_.sockets)
        require(listener(unix_address(path), gatekeeper_));
    for (const std::string& path : options_.buses)
        require(listener(unix_address(path), config_));
    report_up(turn, watchers);
}

// We are up when all configuration that we were given has been read.
void SecondStage::report_up(Turn& turn, const std::vector<Value>& watchers) {
    watchers_missing_ = watchers.size();
    auto one_more = [this] {
        if (watchers_missing_ > 0 && --watchers_missing_ > 0) return;
        Result<> sent = link_.up();
        if (!sent) std::fprintf(stderr, "dataspace: %s\n", sent.error().message.c_str());
        if (options_.banner && !options_.system && !options_.inferior)
            std::fprintf(stderr, "dataspace: running\n");
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

// Whoever started us as its inferior holds `$config`, and is why we are there.
void SecondStage::speak_on_stdio() {
    protocol::RelayOptions relay;
    relay.name = "superior";
    relay.initial_export = config_;
    relay.on_closed = [this](const std::string& reason) {
        if (!reason.empty()) std::fprintf(stderr, "dataspace: superior: %s\n", reason.c_str());
        if (!reason.empty()) exit_status_ = 1;
        power_->stop_by_itself();
    };
    // What we start must not find these: its standard descriptors are others.
    Fd input(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
    Fd output(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
    superior_ = protocol::Connection::start(engine_, loop_, std::move(input), std::move(output),
                                            std::move(relay));
}

Result<Watch> SecondStage::watch_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (int each : {SIGTERM, SIGINT, SIGHUP})
        sigaddset(&set, each);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    signal(SIGPIPE, SIG_IGN);
    signals_ = Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    return loop_.watch(signals_.get(), EPOLLIN, [this](uint32_t) {
        signalfd_siginfo info;
        if (read(signals_.get(), &info, sizeof info) != sizeof info) return;
        if (info.ssi_signo == SIGHUP) {
            engine_.external(facet_, [this](Turn& turn) {
                turn.message(config_, preserves::record("reload-configuration", {}));
            });
            return;
        }
        // init sends TERM when the services are down already: there is nothing left to do.
        if (link_.attached())
            loop_.stop();
        else
            power_->stop_by_itself();
    });
}

void SecondStage::end(int status) {
    exit_status_ = status;
    ended_ = true; // scripts run before the loop does
    loop_.stop();
}

// In a turn of its own.
void SecondStage::say_later(std::string line) {
    engine_.external(facet_, [this, line = std::move(line)](Turn& turn) { say(turn, log_, line); });
}

} // namespace muster::services
