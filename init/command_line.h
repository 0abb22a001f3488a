// What PID 1 takes from the kernel command line. The rest of it (root=, single and so on) is
// read by the second stage and its configuration.
//
// Words are separated by blanks; double quotes hold blanks together and are dropped, as the kernel
// does it (lib/cmdline.c, next_arg). The last of several settings counts. A value that is too long
// for its field is as if it were not there, and `overlong` is set.
#pragma once

#include <string_view>

#include "init/records.h"

namespace muster::pid1 {

struct CommandLine {
    bool quiet;
    bool emergency; // emergency, -b
    bool overlong;
    char init[records::kPathSize];   // of init=, for the switch of the root; empty: not given
    char config[records::kPathSize]; // of muster.config=; empty: not given
};

// Adds what `text` says to `line`.
void parse_command_line(std::string_view text, CommandLine& line);

} // namespace muster::pid1
