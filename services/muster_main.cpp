// `muster`: the command for people and scripts.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "init/base/event_loop.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"
#include "services/log/writer.h"
#include "services/muster/bridge.h"
#include "services/muster/bus.h"
#include "services/muster/enabling.h"
#include "services/muster/help.h"
#include "services/muster/log.h"
#include "services/muster/look.h"
#include "services/muster/notation.h"
#include "services/muster/selection.h"
#include "services/muster/shutdown.h"
#include "services/muster/shutdown_request.h"
#include "services/muster/status_line.h"
#include "services/muster/sturdy.h"
#include "services/muster/templates.h"
#include "services/muster/upgrade.h"
#include "services/muster/watch.h"
#include "services/tracker/service.h"

namespace muster::command {
namespace {

namespace pat = dataspace::pattern;

constexpr const char* usage =
    "usage: muster [--bus PATH] COMMAND\n"
    "\n"
    "  status [SERVICE...]       what runs and what it waits for, one line a service; of one all\n"
    "                            that is known\n"
    "  status --debt             which connections owe for work that waits, and are held back\n"
    "  why SERVICE...            why it runs, or exactly what it waits for\n"
    "  tree [--reverse] [--all] [SERVICE...]\n"
    "                            what depends on what, with states and processes\n"
    "  blame [--boot] [SERVICE...]\n"
    "                            how long each took to start, the slowest first\n"
    "  plot [-o FILE]            the start as a chart, with the critical path, as SVG\n"
    "  graph [--all] [--dot] [-o FILE] [SERVICE...]\n"
    "                            what depends on what as a picture: SVG, or for graphviz\n"
    "  top [-n TIMES] [--delay SECONDS]\n"
    "                            memory, processor time and restarts, until q\n"
    "  list [--in SPACE] PATTERN assertions that match, one a line\n"
    "  watch [--in SPACE] PATTERN\n"
    "                            what comes (+), goes (-) and passes (!), until interrupted\n"
    "  wait [--in SPACE] [--timeout SECONDS] PATTERN\n"
    "                            until something matches, and print it; 1 if none came in time\n"
    "  start SERVICE...          have it run, whether or not anybody needs it\n"
    "  stop SERVICE...           have it stopped, whoever needs it\n"
    "  release SERVICE...        undo start or stop: run if somebody needs it\n"
    "  restart SERVICE...        stop it and start it again\n"
    "  enable [--root DIR] SERVICE...\n"
    "                            have it run from now on, and at each boot\n"
    "  disable [--root DIR] SERVICE...\n"
    "                            have it not run, unless it is started by hand\n"
    "  assert [--in SPACE] VALUE...\n"
    "                            assert this until interrupted\n"
    "  send [--in SPACE] VALUE...\n"
    "                            send this as a message\n"
    "  log [-f] [-n NUMBER] [--since TIME] [--json] [SERVICE...]\n"
    "                            what services wrote, also before the last start\n"
    "  poweroff, reboot, halt    stop all services, and then the machine\n"
    "  upgrade                   go on with the programs that are installed now, in place of "
    "those\n"
    "                            that run: init and the second stage; services notice nothing\n"
    "  shutdown [-h | -r] TIME   the same later, with a warning: see `muster shutdown --help`\n"
    "  mint, attenuate           make sturdyrefs, and narrow them: see `muster mint --help`\n"
    "  resolve [--at TRANSPORT]... [--timeout SECONDS] REF [COMMAND...]\n"
    "                            try a sturdyref or a route, and have COMMAND (list, watch, wait,\n"
    "                            assert, send) look at what it stands for, or speak there\n"
    "  pipe                      join standard input and output to the bus\n"
    "  bridge [--bridge PATH] -- COMMAND...\n"
    "                            join what this system exports to what COMMAND speaks for, as in\n"
    "                            `muster bridge -- ssh HOST muster serve-stdio`\n"
    "  serve-stdio [--bridge PATH]\n"
    "                            the other end of that\n"
    "  help [COMMAND]            this, or more about a command\n"
    "\n"
    "SERVICE is a name, as in `sshd` for <daemon sshd>, or a value such as '<milestone default>'; "
    "in\n"
    "one that is not known as it stands _ is anything, and the end may be left out:\n"
    "'<config-watcher \"/etc/muster/core\">'.\n"
    "PATTERN is a value in which _ stands for anything: '<device block _ {DEVNAME: \"vda\"}>'.\n"
    "SPACE is config, machine, log or status; without --in the first three, and config to say\n"
    "something. Looking at a service never starts it.\n"
    "status, why, tree, blame, plot, graph and top take --json.\n"
    "Exit status: 0, 1 if it could not be done, 2 if the command is wrong; of status SERVICE 3 if "
    "it\n"
    "is not running or complete; 4 if there is no such service.\n";

// What the command line said, apart from the command itself.
struct Arguments {
    std::string bus = "/run/muster/bus";
    std::string command;
    std::vector<std::string> words;
    std::vector<std::string> spaces;
    std::vector<std::string> transports; // --at
    uint64_t deadline = 0;
    std::string root; // of enable and disable
    bool debt = false;
    LookOptions look;
    std::string bridge = "/run/muster/bridge";
};

[[noreturn]] void wrong(const std::string& what) {
    std::fprintf(stderr, "muster: %s\n", what.c_str());
    std::exit(2);
}

[[noreturn]] void wrong_command(const std::string& what) {
    wrong(what + "; `muster --help` lists them");
}

// Without a text it is repeated (Bus::lost).
int failed(const Error& error) {
    if (error.message.empty()) return 1;
    std::fprintf(stderr, "muster: %s\n", error.message.c_str());
    return 1;
}

// To who is not root on this bus.
int denied(const std::string& what) {
    return failed(Error{"permission denied: only root may " + what});
}

const std::vector<std::string> all_spaces{"config", "machine", "log", "status"};
// Those that are looked at when none is named. `$status` repeats the others.
const std::vector<std::string> usual_spaces{"config", "machine", "log"};

Arguments parse_arguments(int argc, char** argv) {
    Arguments arguments;
    if (const char* bus = std::getenv("MUSTER_BUS"); bus && *bus) arguments.bus = bus;
    bool only_words = false;
    for (int i = 1; i < argc; ++i) {
        std::string word = argv[i];
        auto argument = [&]() -> std::string {
            if (i + 1 >= argc) wrong(word + " needs an argument");
            return argv[++i];
        };
        if (arguments.command == "log") { // has options of its own
            arguments.words.push_back(word);
            continue;
        }
        if (only_words)
            arguments.words.push_back(word);
        else if (word == "-h" || word == "--help") {
            std::fputs(usage, stdout);
            std::exit(0);
        } else if (word == "-V" || word == "--version") {
            std::puts("muster 0.1");
            std::exit(0);
        } else if (word == "--debt")
            arguments.debt = true;
        else if (bool* flag = look_flag(arguments.look, arguments.command, word))
            *flag = true;
        else if (std::string* value = look_value(arguments.look, arguments.command, word))
            *value = argument();
        else if (word == "--bus")
            arguments.bus = argument();
        else if (word == "--bridge")
            arguments.bridge = argument();
        else if (word == "--root")
            arguments.root = argument();
        else if (word == "--in")
            arguments.spaces.push_back(argument());
        else if (word == "--at")
            arguments.transports.push_back(argument());
        else if (word == "--timeout") {
            std::string text = argument();
            char* end = nullptr;
            double seconds = std::strtod(text.c_str(), &end);
            if (end == text.c_str() || *end || !(seconds >= 0 && seconds < 1e9))
                wrong("--timeout: " + text + " is no number of seconds");
            arguments.deadline = monotonic_now() + static_cast<uint64_t>(seconds * 1e9);
        } else if (word == "--")
            only_words = true;
        else if (word.size() > 1 && word[0] == '-' && arguments.words.empty())
            wrong_command("unknown option " + word);
        else if (arguments.command.empty())
            arguments.command = word;
        else
            arguments.words.push_back(word);
    }
    for (const std::string& space : arguments.spaces)
        if (std::find(all_spaces.begin(), all_spaces.end(), space) == all_spaces.end())
            wrong("--in " + space + ": the dataspaces are config, machine, log and status");
    if (std::string what = check_look(arguments.look, arguments.command); !what.empty())
        wrong(what);
    if (arguments.debt && (arguments.command != "status" || !arguments.words.empty()))
        wrong("--debt goes with status, and with nothing else");
    return arguments;
}

// The first of `spaces` that this bus does not let us look at; empty if there is none.
std::string hidden_space(const Bus& bus, const std::vector<std::string>& spaces) {
    for (const std::string& space : spaces)
        if (!bus.capability(space)) return space;
    return "";
}

int hidden(const std::string& space) {
    return denied("look into " + space + "; everybody may look --in status");
}

std::vector<std::string> spaces_of(const Arguments& arguments, const Value& pattern) {
    if (!arguments.spaces.empty()) return arguments.spaces;
    std::vector<std::string> spaces = usual_spaces;
    // What only `$status` has.
    if (pattern.view().at(0).at(0).is_symbol("service")) spaces.push_back("status");
    return spaces;
}

std::string usage_of(const Arguments& arguments) { return "muster " + arguments.command; }

Value pattern_argument(const Arguments& arguments) {
    if (arguments.words.size() != 1)
        wrong(usage_of(arguments) + " takes one pattern, such as '<daemon _>'");
    Result<Value> pattern = parse_pattern(arguments.words[0]);
    if (!pattern) wrong("pattern " + arguments.words[0] + ": " + pattern.error().message);
    return *pattern;
}

std::vector<Value> value_arguments(const Arguments& arguments) {
    if (arguments.words.empty())
        wrong(usage_of(arguments) + " needs a value, such as '<here \"I am\">'");
    std::vector<Value> values;
    for (const std::string& word : arguments.words) {
        Result<Value> value = parse_value(word);
        if (!value) wrong("value " + word + ": " + value.error().message);
        values.push_back(*value);
    }
    return values;
}

void print(const char* before, View value) {
    std::string line = before + text_of(value);
    std::puts(line.c_str());
    std::fflush(stdout); // for whoever reads along
}

// All services, as `$status` knows them.
Result<std::vector<Value>> services(Bus& bus) {
    return bus.query({"status"},
                     pat::record("service", {pat::discard(), pat::discard(), pat::discard()}));
}

// Who owes for work that is queued. The other side asserts it because we look, so it takes a
// while until it is there.
int debts(Bus& bus) {
    if (!bus.is_root()) return denied("see debts");
    std::vector<Value> found;
    Value pattern = pat::record("debt", {pat::discard(), pat::discard(), pat::discard()});
    auto follower = Follower::start(
        bus, {"config"}, pattern,
        {.appeared = [&](View debt) { found.push_back(Value(debt)); }, .gone = {}, .message = {}});
    Result<> settled = bus.settle();
    if (settled) settled = bus.settle();
    follower->stop(bus);
    if (!settled) return failed(settled.error());
    auto events_of = [](const Value& debt) { return debt.view().at(1).as_int().value_or(0); };
    std::sort(found.begin(), found.end(),
              [&](const Value& a, const Value& b) { return events_of(a) > events_of(b); });
    for (const Value& debt : found) {
        std::string name(debt.view().at(0).as_string().value_or("?"));
        int64_t limit = debt.view().at(2).as_int().value_or(0);
        std::printf("%-32s %8lld%s\n", name.c_str(), static_cast<long long>(events_of(debt)),
                    events_of(debt) > limit ? "   held back" : "");
    }
    return 0;
}

int show(Bus& bus, const Arguments& arguments) {
    if (arguments.debt) return debts(bus);
    LookOptions options = arguments.look;
    options.words = arguments.words;
    return look(bus, arguments.command, options);
}

int list(Bus& bus, const Arguments& arguments) {
    Value pattern = pattern_argument(arguments);
    std::vector<std::string> spaces = spaces_of(arguments, pattern);
    if (std::string space = hidden_space(bus, spaces); !space.empty()) return hidden(space);
    auto found = bus.query(spaces, pattern);
    if (!found) return failed(found.error());
    std::vector<std::string> lines;
    for (const Value& each : *found)
        lines.push_back(text_of(each));
    std::sort(lines.begin(), lines.end());
    for (const std::string& line : lines)
        std::puts(line.c_str());
    return 0;
}

int watch_on(Bus& bus, const Arguments& arguments, Watching& watching) {
    Value pattern = pattern_argument(arguments);
    std::vector<std::string> spaces = spaces_of(arguments, pattern);
    if (std::string space = hidden_space(bus, spaces); !space.empty()) return hidden(space);
    return failed(watching.follow(bus, spaces, pattern));
}

int watch(Bus& bus, const Arguments& arguments) {
    Watching watching(print);
    return watch_on(bus, arguments, watching);
}

int wait(Bus& bus, const Arguments& arguments) {
    bool seen = false;
    Value pattern = pattern_argument(arguments);
    std::vector<std::string> spaces = spaces_of(arguments, pattern);
    if (std::string space = hidden_space(bus, spaces); !space.empty()) return hidden(space);
    auto follower = Follower::start(bus, spaces, pattern,
                                    {.appeared =
                                         [&](View value) {
                                             if (!seen) print("", value);
                                             seen = true;
                                         },
                                     .gone = {},
                                     .message = {}});
    Result<bool> done = bus.run_until([&] { return seen; }, arguments.deadline);
    if (!done) return failed(done.error());
    if (*done) return 0;
    std::fprintf(stderr, "muster: nothing matched %s in time\n", arguments.words[0].c_str());
    return 1;
}

// The one service that `word` means, as `$config` names it, and what `$status` says of it.
struct Meant {
    Value status; // invalid if nobody knows it
    Value name;
};

Result<Meant> one_service(Bus& bus, const std::string& word, const std::vector<Value>& known) {
    std::vector<Value> names = services_meant(word, known);
    if (names.size() > 1) {
        std::string text = word + " could be any of these:";
        for (const Value& each : names)
            text += "\n  " + preserves::to_text(each);
        return Error{text};
    }
    Meant meant;
    for (const Value& each : known)
        if (each.view().at(0) == names[0].view()) meant.status = each;
    auto name = real_name(bus, names[0]);
    if (!name) return name.error();
    meant.name = *std::move(name);
    return meant;
}

// Why this cannot be done to the service; empty if it can.
std::string objection(const std::string& command, const Meant& meant) {
    View status = meant.status;
    bool undefined = !status.valid() || status.at(2).get("undefined").valid();
    if (undefined && command != "release")
        return "nobody defines " + preserves::to_text(services::without_capabilities(meant.name));
    if (command != "restart") return {};
    if (meant.name.view().is_record("milestone"))
        return services::display_name(meant.name) + " is no process: restart what it stands for";
    bool idle = status.at(1).is_symbol("stopped") || status.at(1).is_symbol("waiting");
    return idle ? short_name(status.at(0)) + " does not run" : "";
}

// `start`, `stop`, `release`, `restart`: a message each, to whoever implements it.
int order(Bus& bus, const Arguments& arguments) {
    if (!bus.is_root()) return denied(arguments.command + " services");
    auto known = services(bus);
    if (!known) return failed(known.error());
    int result = 0;
    for (const std::string& word : arguments.words) {
        auto meant = one_service(bus, word, *known);
        if (!meant) {
            result = failed(meant.error());
            continue;
        }
        std::string why = objection(arguments.command, *meant);
        // What is made when it is needed is not there before.
        if (!why.empty() && arguments.command == "start") {
            auto made = has_template(bus, meant->name);
            if (!made) return failed(made.error());
            if (*made) why.clear();
        }
        if (!why.empty()) {
            result = failed(Error{why});
            continue;
        }
        if (arguments.command == "stop") {
            auto more = goes_down_with(bus, Value(meant->status.view().at(0)), *known);
            if (!more) return failed(more.error());
            for (const std::string& each : *more)
                std::printf("%s: %s\n", word.c_str(), each.c_str());
        }
        bus.client().message(bus.config(),
                             preserves::record(arguments.command + "-service", {meant->name}));
    }
    Result<> settled = bus.settle();
    return settled ? result : failed(settled.error());
}

Ref<protocol::Reference> target_of(Bus& bus, const Arguments& arguments) {
    if (arguments.spaces.size() > 1) wrong(arguments.command + " takes one --in");
    if (!bus.is_root()) return {};
    return arguments.spaces.empty() ? bus.config() : bus.capability(arguments.spaces[0]);
}

int assert_values(Bus& bus, const Arguments& arguments) {
    std::vector<Value> values = value_arguments(arguments);
    Ref<protocol::Reference> target = target_of(bus, arguments);
    if (!target) return denied("assert something");
    bus.client().begin();
    for (const Value& value : values)
        bus.client().assert_(target, value);
    bus.client().commit();
    Result<bool> done = bus.run_until([] { return false; });
    return done ? 0 : failed(done.error());
}

int send(Bus& bus, const Arguments& arguments) {
    std::vector<Value> values = value_arguments(arguments);
    Ref<protocol::Reference> target = target_of(bus, arguments);
    if (!target) return denied("send something");
    for (const Value& value : values)
        bus.client().message(target, value);
    Result<> settled = bus.settle();
    return settled ? 0 : failed(settled.error());
}

int power(Bus& bus, const Arguments& arguments) {
    Ref<protocol::Reference> system = bus.capability("system");
    if (!system) return denied(arguments.command + " the system");
    Value word = preserves::symbol(arguments.command);
    bus.client().message(system, preserves::record("system", {word}));
    Result<> settled = bus.settle();
    return settled ? 0 : failed(settled.error());
}

// What a command takes, so that a wrong one is told from one that failed before the bus is asked.
enum class Takes { anything, pattern, values, services, nothing };

struct Command {
    const char* name;
    Takes takes;
    int (*run)(Bus&, const Arguments&);
};

constexpr Command commands[] = {
    {"status", Takes::anything, show},
    {"why", Takes::services, show},
    {"tree", Takes::anything, show},
    {"blame", Takes::anything, show},
    {"graph", Takes::anything, show},
    {"plot", Takes::nothing, show},
    {"top", Takes::nothing, show},
    {"list", Takes::pattern, list},
    {"watch", Takes::pattern, watch},
    {"wait", Takes::pattern, wait},
    {"start", Takes::services, order},
    {"stop", Takes::services, order},
    {"release", Takes::services, order},
    {"restart", Takes::services, order},
    {"assert", Takes::values, assert_values},
    {"send", Takes::values, send},
    {"poweroff", Takes::nothing, power},
    {"reboot", Takes::nothing, power},
    {"halt", Takes::nothing, power},
};

void check(const Arguments& arguments, Takes takes) {
    switch (takes) {
    case Takes::anything:
        break;
    case Takes::pattern:
        (void)pattern_argument(arguments);
        break;
    case Takes::values:
        (void)value_arguments(arguments);
        break;
    case Takes::services:
        if (arguments.words.empty())
            wrong(usage_of(arguments) + " needs a service, such as sshd or '<milestone default>'");
        break;
    case Takes::nothing:
        if (!arguments.words.empty()) wrong(usage_of(arguments) + " takes no argument");
        break;
    }
    for (const std::string& word : arguments.words)
        if (takes == Takes::services || takes == Takes::anything) {
            Result<Value> service = parse_service(word);
            if (!service) wrong("service " + word + ": " + service.error().message);
        }
}

const Command* find_command(const std::string& name) {
    for (const Command& command : commands)
        if (name == command.name) return &command;
    return nullptr;
}

// What only looks, or says what holds for as long as we run, is done again when the second stage
// was started again meanwhile.
int run_on_bus(const Command& command, const Arguments& arguments) {
    const bool watches = command.run == watch;
    const bool repeats = watches || command.run == list || command.run == wait ||
                         command.run == assert_values || command.run == show;
    Watching watching(print);
    for (bool again = false;; again = true) {
        auto bus = Bus::connect(arguments.bus, repeats, again ? Bus::replaced : 0);
        if (!bus && !bus.error().message.empty()) return failed(bus.error());
        if (!bus) continue;
        if (watches && again)
            std::fputs("muster: the second stage was started again; what follows is what is "
                       "different now\n",
                       stderr);
        int status = watches ? watch_on(**bus, arguments, watching) : command.run(**bus, arguments);
        if (!repeats || !(*bus)->lost()) return status;
    }
}

// Tries a reference; a command that follows has what it stands for in place of `$config`.
int resolve(Arguments arguments) {
    if (arguments.words.empty()) wrong(usage_of(arguments) + " needs a sturdyref or a route");
    Result<Value> route = parse_route(arguments.words[0], arguments.transports);
    if (!route) wrong(route.error().message);
    const Command* command = nullptr;
    if (arguments.words.size() > 1) {
        arguments.command = arguments.words[1];
        command = find_command(arguments.command);
        bool fits =
            command && (command->takes == Takes::pattern || command->takes == Takes::values);
        if (!fits) wrong("resolve can be followed by list, watch, wait, assert or send");
        if (!arguments.spaces.empty()) wrong("resolve takes no --in");
        arguments.spaces = {"config"};
        arguments.words.erase(arguments.words.begin(), arguments.words.begin() + 2);
        check(arguments, command->takes);
    }
    auto bus = Bus::resolve(arguments.bus, *route, arguments.deadline);
    if (!bus) return failed(bus.error());
    if (command) return command->run(**bus, arguments);
    std::puts("accepted");
    return 0;
}

// `mint` and `attenuate` talk to nobody.
int sturdy(int argc, char** argv) {
    Result<std::string> output = sturdy_command(argc, argv);
    if (!output) wrong(output.error().message + "; see `muster mint --help`");
    std::fputs(output->c_str(), stdout);
    return std::fflush(stdout) == 0 ? 0 : 1;
}

int help(const std::string& command) {
    std::string text = command.empty() ? usage : help_of(usage, command);
    if (text.empty()) wrong_command("unknown command " + command);
    std::fputs(text.c_str(), stdout);
    return std::fflush(stdout) == 0 ? 0 : 1;
}

} // namespace

int run(int argc, char** argv) {
    signal(SIGPIPE, SIG_DFL);
    std::string_view first = argc > 1 ? argv[1] : "";
    if (first == "help") return help(argc > 2 ? argv[2] : "");
    if (first == "log-writer") return logs::log_writer(argc - 1, argv + 1);
    // Also by names of its own, which are links to this program.
    std::string_view own = argc > 0 ? argv[0] : "";
    own = own.substr(own.rfind('/') + 1);
    const char* bus = std::getenv("MUSTER_BUS");
    std::string bus_path = bus && *bus ? bus : "/run/muster/bus";
    if (is_shutdown_command(own)) return shutdown_command(own, {argv + 1, argv + argc}, bus_path);
    if (is_shutdown_command(first))
        return shutdown_command(first, {argv + 2, argv + argc}, bus_path);
    if (first == "mint" || first == "attenuate") return sturdy(argc - 1, argv + 1);
    Arguments arguments = parse_arguments(argc, argv);
    if (arguments.command.empty()) wrong_command("which command?");
    if (arguments.command == "log") {
        std::vector<char*> words{arguments.command.data()};
        for (std::string& word : arguments.words)
            words.push_back(word.data());
        return log_command(arguments.bus.c_str(), static_cast<int>(words.size()), words.data());
    }
    if (arguments.command == "resolve") return resolve(arguments);
    bool enable = arguments.command == "enable";
    if (enable || arguments.command == "disable") {
        check(arguments, Takes::services);
        return enabling_command(arguments.bus, enable, arguments.root, arguments.words);
    }
    if (!arguments.root.empty()) wrong("only enable and disable take --root");
    if (!arguments.transports.empty()) wrong("only resolve takes --at");
    if (const Command* command = find_command(arguments.command)) {
        check(arguments, command->takes);
        return run_on_bus(*command, arguments);
    }
    if (arguments.command == "upgrade") {
        check(arguments, Takes::nothing);
        return upgrade(arguments.bus);
    }
    if (arguments.command == "bridge" && arguments.words.empty())
        wrong("muster bridge needs a command after --");
    if (arguments.command == "bridge") return bridge(arguments.bridge, arguments.words);
    if (arguments.command != "pipe" && arguments.command != "serve-stdio")
        wrong_command("unknown command " + arguments.command);
    check(arguments, Takes::nothing);
    return arguments.command == "pipe" ? join_stdio(arguments.bus, "the system bus")
                                       : join_stdio(arguments.bridge, "the bridge");
}

} // namespace muster::command

int main(int argc, char** argv) { return muster::command::run(argc, argv); }
