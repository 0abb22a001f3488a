// The commands that show how things are and why: status, tree, why, blame. (More of them: plot.h,
// graph.h, top.h.)
//
// Exit status, as of systemctl and the scripts of LSB: 0; 1 if it could not be done; of `status
// NAME` 3 if a service that was named is not up (not running or complete); 4 if nobody knows one.
#pragma once

#include <string>
#include <vector>

#include "services/muster/bus.h"

namespace muster::command {

struct LookOptions {
    std::string command;
    std::vector<std::string> words;
    bool json = false;
    bool all = false;
    bool reverse = false;
    bool boot = false; // blame: the first start of each
    bool no_processes = false;
};

inline constexpr int exit_not_running = 3;
inline constexpr int exit_unknown = 4;

// The option that `word` is, as `--json`; null if it is none of these.
bool* look_flag(LookOptions& options, const std::string& word);
// The first that was set and does not go with this command; empty if there is none.
std::string misplaced_flag(LookOptions& options, const std::string& command);

int look(Bus& bus, const LookOptions& options);

// Says that nobody knows this service, and which names are like it.
int unknown_service(const class World& world, const std::string& word);

} // namespace muster::command
