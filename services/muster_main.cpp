// `muster`: the command for people and scripts.
#include <signal.h>

#include <cstdio>
#include <cstdlib>

#include "init/base/standard_descriptors.h"
#include "services/log/writer.h"
#include "services/muster/arguments.h"
#include "services/muster/assertions.h"
#include "services/muster/bridge.h"
#include "services/muster/bus.h"
#include "services/muster/enabling.h"
#include "services/muster/failed.h"
#include "services/muster/help.h"
#include "services/muster/log.h"
#include "services/muster/look.h"
#include "services/muster/notation.h"
#include "services/muster/orders.h"
#include "services/muster/output.h"
#include "services/muster/shutdown.h"
#include "services/muster/shutdown_request.h"
#include "services/muster/sturdy.h"
#include "services/muster/upgrade.h"

namespace muster::command {
namespace {

int show(Bus& bus, const Arguments& arguments) {
    if (arguments.debt) return debts(bus, arguments.look.json);
    LookOptions options = arguments.look;
    options.words = arguments.words;
    return look(bus, arguments.command, options);
}

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
    put_line("accepted");
    return 0;
}

// `mint` and `attenuate` talk to nobody.
int sturdy(int argc, char** argv) {
    Result<std::string> output = sturdy_command(argc, argv);
    if (!output) wrong(output.error().message + "; see `muster mint --help`");
    put(*output);
    return 0;
}

int help(const std::string& command) {
    std::string text = command.empty() ? usage() : help_of(usage(), command);
    if (text.empty()) wrong_command("unknown command " + command);
    put(text);
    return 0;
}

} // namespace

int run(int argc, char** argv) {
    fill_standard_descriptors(); // else what is printed would go to the bus
    signal(SIGPIPE, SIG_DFL);
    std::string_view first = argc > 1 ? argv[1] : "";
    if (first == "help" && argc > 3) wrong("muster help takes one command");
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

int main(int argc, char** argv) {
    return muster::command::finish(muster::command::run(argc, argv));
}
