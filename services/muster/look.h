// The commands that show how things are and why: status, tree, why, blame, plot, graph, top.
//
// Exit status, as of systemctl and the scripts of LSB: 0; 1 if it could not be done; of `status
// NAME` 3 if a service that was named is not up (not running or complete); 4 if nobody knows one.
#pragma once

#include <string>
#include <vector>

#include "services/muster/bus.h"

namespace muster::command {

struct LookOptions {
    std::vector<std::string> words;
    bool json = false;
    bool all = false;          // tree, graph
    bool reverse = false;      // tree
    bool no_processes = false; // tree
    bool boot = false;         // blame: the first start of each
    bool dot = false;          // graph
    std::string output;        // plot, graph: a file; empty: standard output
    std::string rounds;        // top
    std::string delay;         // top: seconds
};

inline constexpr int exit_not_running = 3;
inline constexpr int exit_unknown = 4;

// What the option `word` of this command sets, as `--json` a truth value and `-n` a text; null if
// it has no such option.
bool* look_flag(LookOptions& options, std::string_view command, std::string_view word);
std::string* look_value(LookOptions& options, std::string_view command, std::string_view word);
// What is wrong with them; empty if nothing is.
std::string check_look(const LookOptions& options, std::string_view command);

int look(Bus& bus, std::string_view command, const LookOptions& options);

// Says that nobody knows this service, and which names are like it.
int unknown_service(const class World& world, const std::string& word);

} // namespace muster::command
