// The command line of `muster`: what was said, and what is wrong with it (exit status 2).
#pragma once

#include <string>
#include <vector>

#include "init/preserves/value.h"
#include "services/muster/look.h"

namespace muster::command {

using preserves::Value;

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

// What a command takes, so that a wrong one is told from one that failed before the bus is asked.
enum class Takes { anything, pattern, values, services, nothing };

// The text of `--help`.
const char* usage();

// These end the program, with the exit status 2.
[[noreturn]] void wrong(const std::string& what);
[[noreturn]] void wrong_command(const std::string& what); // and says where all are listed

// Both end the program if something is wrong, parse_arguments also for --help and --version.
Arguments parse_arguments(int argc, char** argv);
void check(const Arguments& arguments, Takes takes);

// The words of the command as what it takes, checked.
Value pattern_argument(const Arguments& arguments);
std::vector<Value> value_arguments(const Arguments& arguments);
// "muster COMMAND"
std::string usage_of(const Arguments& arguments);

} // namespace muster::command
