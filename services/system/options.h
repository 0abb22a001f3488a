// The command line of `dataspace`: syndicate-server's options (reference 3.1) and ours.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "init/base/result.h"
#include "init/protocol/gatekeeper.h"

namespace muster::services {

struct Options {
    enum class Ask : uint8_t { run, check, help, version };

    Ask ask = Ask::run;
    std::vector<std::string> configs; // -c
    std::vector<uint16_t> ports;      // -p
    std::vector<std::string> sockets; // -s
    std::vector<std::string> buses;   // --bus
    std::string trace_file;           // -t, or empty
    bool inferior = false;
    bool control = false;
    bool debt_reporter = false;
    bool banner = true;
    protocol::Answers answers = protocol::Answers::accepted;
    bool system = false; // as the second stage of init
    int init_fd = -1;
    std::string main;                      // --main: the name of a container's main service
    std::vector<std::string> main_command; // or what follows --, to be run as that
    // Of --check: the versions to be understood, 0: not asked.
    int records = 0;
    int ledger = 0;
    int64_t credit; // SYNDICATE_CREDIT: how many events an account may owe
};

// ERRORS: what is wrong with the command line, or with SYNDICATE_CREDIT in the environment.
Result<Options> parse_options(int argc, char* const* argv);

extern const char* const options_help;

} // namespace muster::services
