#include "services/muster/arguments.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "init/base/event_loop.h"
#include "services/muster/help.h"
#include "services/muster/notation.h"
#include "services/muster/output.h"

namespace muster::command {

namespace {

constexpr const char* usage_text =
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
    "  telinit LEVEL             as of other systems: see `muster telinit --help`\n"
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

const std::vector<std::string> all_spaces{"config", "machine", "log", "status"};

// Behind a first word may be a negative number, and options of the command that `bridge` runs.
bool is_option(const Arguments& arguments, const std::string& word) {
    if (word.size() < 2 || word[0] != '-') return false;
    if (arguments.words.empty()) return true;
    return arguments.command != "bridge" && (word[1] < '0' || word[1] > '9');
}

} // namespace

const char* usage() { return usage_text; }

void wrong(const std::string& what) {
    std::fprintf(stderr, "muster: %s\n", what.c_str());
    std::exit(2);
}

void wrong_command(const std::string& what) { wrong(what + "; `muster --help` lists them"); }

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
            std::string text = help_of(usage_text, arguments.command);
            put(text.empty() ? usage_text : text);
            std::exit(finish(0));
        } else if (word == "-V" || word == "--version") {
            put_line("muster 0.1");
            std::exit(finish(0));
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
        else if (is_option(arguments, word)) {
            if (arguments.command.empty()) wrong_command("unknown option " + word);
            wrong("unknown option " + word + "; see muster " + arguments.command + " --help");
        } else if (arguments.command.empty())
            arguments.command = word;
        else
            arguments.words.push_back(word);
    }
    for (const std::string& space : arguments.spaces)
        if (std::find(all_spaces.begin(), all_spaces.end(), space) == all_spaces.end())
            wrong("--in " + space + ": the dataspaces are config, machine, log and status");
    auto one_of = [&](std::string_view commands) {
        return commands.find(" " + arguments.command + " ") != std::string_view::npos;
    };
    if (!arguments.spaces.empty() && !one_of(" list watch wait assert send resolve "))
        wrong("only list, watch, wait, assert and send take --in");
    if (arguments.deadline != 0 && !one_of(" wait resolve "))
        wrong("only wait and resolve take --timeout");
    if (std::string what = check_look(arguments.look, arguments.command); !what.empty())
        wrong(what);
    if (arguments.debt && (arguments.command != "status" || !arguments.words.empty()))
        wrong("--debt goes with status, and with nothing else");
    return arguments;
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

} // namespace muster::command
