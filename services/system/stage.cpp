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
#include "services/daemon/window.h"
#include "services/log/filing.h"
#include "services/log/settings.h"
#include "services/presence/presence.h"
#include "services/system/check.h"
#include "services/system/control.h"
#include "services/system/debts.h"
#include "services/system/kernel_parameters.h"
#include "services/system/log_printer.h"
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
                         Adoption& adoption, const Options& options)
    : loop_(loop), link_(link), processes_(processes), adoption_(adoption), options_(options) {}

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
        loop_.next_round([this] { power_->on_records(); }); // those that came with what was kept
    }
    if (options_.inferior) speak_on_stdio();
    if (!ended_) loop_.run();
    // Told to end while the system goes on: all stays for our successor.
    if (link_.attached() && !power_->stopping()) return exit_status_;
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
    turn.engine().set_on_exceeded([this](const dataspace::Actor& actor, dataspace::Bound bound) {
        say_later(actor.name() + ": " + dataspace::to_string(bound));
    });
    print_log(turn, log_, STDERR_FILENO, has(records::kQuiet));
    if (options_.system) open_journal();
    if (journal_) {
        logs::file_messages(turn, log_, *journal_);
        logs::serve_settings(turn, config_, *journal_,
                             [this](const std::string& line) { say_later(line); });
        take_other_logs();
    }

    std::string overrides = options_.system ? "/run/muster/overrides" : "";
    TrackerControl tracker = track_services(
        engine_,
        {.config = config_,
         .machine = machine_,
         .status = status_,
         .log = log_,
         .overrides_path = overrides,
         .times = open_times(),
         .matches = open_matches(),
         .loop = &loop_,
         .last_to_stop = preserves::record("daemon", {preserves::symbol(logs::writer_name)}),
         .adopting = [this] { return adoption_.settling(); },
         .ending = has(records::kEnding)});
    power_ = std::make_unique<Power>(PowerContext{loop_, engine_, link_, processes_, adoption_,
                                                  tracker, config_, status_, log_,
                                                  options_.system ? "/run/muster/shutdown" : "",
                                                  journal_.get(), has(records::kEnding)},
                                     facet_);
    power_->resume(turn);
    system_ = power_->capability(turn);
    if (options_.control) control_ = control(turn, log_, [this](int status) { end(status); });
    gatekeeper_ = protocol::spawn_gatekeeper(turn, config_, options_.answers);

    serve(turn);
    assert_capabilities(turn);
    if (options_.system) assert_boot_facts(turn);
    if (!options_.main.empty() || !options_.main_command.empty()) {
        main_ = std::make_unique<MainService>(
            turn, config_, log_, options_.main, options_.main_command,
            link_.attached() ? link_.welcome().init_program : "",
            [this](pid_t pid) { power_->main_runs(pid); }, [this] { power_->main_ended(); });
        power_->set_main(main_.get());
    }
    if (link_.attached()) assert_programs(turn);
    require_configuration(turn);
}

// Of services, since boot. Null: they are not kept.
KeptTimes* SecondStage::open_times() {
    if (!link_.attached()) return nullptr;
    if (Fd kept = adoption_.take_named(KeptTimes::kept_name)) {
        auto times = KeptTimes::take_over(std::move(kept), [this] { return adoption_.settling(); });
        if (times) times_ = std::make_unique<KeptTimes>(*std::move(times));
        if (times) return times_.get();
        (void)link_.drop_fd(KeptTimes::kept_name);
    }
    auto times = KeptTimes::create();
    if (times)
        if (auto stored = link_.store_fd(KeptTimes::kept_name, times->memory()); !stored)
            times = stored.error();
    if (times)
        times_ = std::make_unique<KeptTimes>(*std::move(times));
    else
        say_later(times.error().message);
    return times_.get();
}

// Of triggers, over our end. Null: they are not kept.
KeptMatches* SecondStage::open_matches() {
    if (!link_.attached()) return nullptr;
    matches_ = std::make_unique<KeptMatches>(adoption_.keeper());
    if (auto taken = matches_->take_over([this] { return adoption_.settling(); }); !taken)
        say_later(taken.error().message);
    return matches_.get();
}

void SecondStage::open_journal() {
    auto journal = logs::Journal::open(loop_, "/run/muster");
    if (!journal) return say_later("no log files: " + journal.error().message);
    journal_ = *std::move(journal);
    journal_->set_report([this](const std::string& line) { say_later(line); });
    if (link_.attached()) journal_->set_keeper(adoption_.keeper());
    for (auto& [name, fd] : adoption_.take_all_named(logs::Journal::kept_prefix))
        journal_->take_left(name, std::move(fd));
    journal_->set_stuck([this] {
        engine_.external(facet_, [this](Turn& turn) {
            Value writer = preserves::symbol(logs::writer_name);
            turn.message(config_, preserves::record("restart-service",
                                                    {preserves::record("daemon", {writer})}));
        });
    });
}

// The kernel's messages and /dev/log. Those of a container's kernel are not its own.
void SecondStage::take_other_logs() {
    constexpr const char* kept_socket = "log.socket";
    log_sources_ = std::make_unique<logs::Sources>(engine_, loop_, facet_, log_, *journal_);
    auto say = [this](const Result<>& done) {
        if (!done) say_later("not logged: " + done.error().message);
    };
    if (!has(records::kContainer)) say(log_sources_->take_kernel());
    if (Fd kept = adoption_.take_named(kept_socket))
        return say(log_sources_->take_syslog(std::move(kept)));
    auto socket = logs::Sources::make_socket();
    if (!socket) return say(socket.error());
    say(log_sources_->take_syslog(*std::move(socket)));
    if (link_.attached()) say(link_.store_fd(kept_socket, log_sources_->socket()));
}

// What is asserted as `<run-service …>`, by whoever does it, is implemented here.
void SecondStage::serve(Turn& turn) {
    serve_daemons(turn, Context{.loop = loop_,
                                .processes = processes_,
                                .config = config_,
                                .machine = machine_,
                                .log = log_,
                                .status = status_,
                                .adoption = &adoption_,
                                .sockets = sockets_,
                                .journal = journal_.get(),
                                .ending = has(records::kEnding)});
    auto tell = [log = log_](Turn& inner, const std::string& line) { say(inner, log, line); };
    serve_presence(turn, {.loop = loop_,
                          .config = config_,
                          .machine = machine_,
                          .sockets = sockets_,
                          .report = tell});
    // Reports come from within turns of their own or from none: they are said in one of ours.
    auto report = [this](const std::string& line) { say_later(line); };
    // As second stage, files that could do what root can must be root's.
    auto guarded = [this](View variables) { return options_.system && commands(variables); };
    config::serve_config_watchers(
        turn, loop_, config_,
        [report](const config::Problem& problem) { report(config::to_string(problem)); }, guarded,
        check_configured,
        [this](const std::string& path) {
            if (!options_.system) return config::KeptScripts();
            return config::KeptScripts("/run/muster/scripts", path, link_.welcome().starts == 0);
        });
    protocol::serve_gatekeepers(turn, config_, options_.answers);
    publish_debts(turn, loop_, config_);
    serve_debt_reporters(turn, loop_, config_, log_);
    bus_access_ = std::make_unique<BusAccess>(
        config_, spawn_window(turn, status_, BusAccess::max_seen), geteuid());
    protocol::serve_connectors(turn, loop_, config_, report);
    protocol::RelayListeners listeners;
    // Without descriptors this comes every second, and refused peers as often as they like.
    repeats_ = std::make_unique<Repeats>(loop_, 5 * second, report);
    listeners.report = [this, report](const std::string& line) {
        const bool again = line.starts_with("accept ") || line.starts_with("refuse ");
        again ? repeats_->say(line) : report(line);
    };
    if (link_.attached()) listeners.keeper = adoption_.keeper();
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

// For `muster upgrade`: which programs run, and what a new one must understand.
void SecondStage::assert_programs(Turn& turn) {
    char path[records::kPathSize] = {};
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    std::string_view own(path, size > 0 ? static_cast<size_t>(size) : 0);
    constexpr std::string_view deleted = " (deleted)"; // replaced by another already
    if (own.ends_with(deleted)) own.remove_suffix(deleted.size());
    std::string above = options_.configs.empty() ? "" : options_.configs.front();
    above = above.substr(0, above.find_last_of('/'));
    auto number = [](int64_t value) { return preserves::integer(value); };
    turn.assert_(config_,
                 preserves::record("system-programs",
                                   {preserves::dictionary(
                                       {{"init", preserves::string(link_.welcome().init_program)},
                                        {"second-stage", preserves::string(own)},
                                        {"configuration", preserves::string(above)},
                                        {"process", number(getpid())},
                                        {"records", number(records::kVersion)},
                                        {"ledger", number(Ledger::version)},
                                        {"state", number(link_.welcome().state_version)},
                                        {"state-size", number(link_.welcome().state_size)}})}));
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
        // A command runs also where nobody has written a configuration.
        if (!options_.main_command.empty() && access(path.c_str(), F_OK) != 0 && errno == ENOENT)
            continue;
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
    auto one_more = [this](Turn& now) {
        if (watchers_missing_ > 0 && --watchers_missing_ > 0) return;
        // From the facet that this began in, which outlives whoever tells.
        if (main_) now.in(*facet_, [this](Turn& inner) { main_->require(inner); });
        adoption_.configuration_loaded();
        if (journal_) journal_->finish_orphans();
        Result<> sent = link_.up();
        if (!sent) std::fprintf(stderr, "dataspace: %s\n", sent.error().message.c_str());
        if (options_.banner && !options_.system && !options_.inferior)
            std::fprintf(stderr, "dataspace: running\n");
    };
    if (watchers.empty()) one_more(turn);
    for (const Value& watcher : watchers) {
        Value ready = preserves::record("service-state", {watcher, preserves::symbol("ready")});
        bool seen = false;
        observe(turn, config_, pat::literal(ready),
                [one_more, seen](Turn& now, View) mutable {
                    if (!std::exchange(seen, true)) one_more(now);
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
        // init sends TERM when the services are down already, or when they had their time.
        if (link_.attached()) {
            power_->time_is_over();
            loop_.stop();
        } else {
            power_->stop_by_itself();
        }
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
