#include "services/system/options.h"

#include <getopt.h>

#include <cstdlib>
#include <optional>

#include "init/dataspace/account.h"

namespace muster::services {

const char* const options_help =
    "usage: dataspace [OPTION]...\n"
    "\n"
    "Keeps assertions, runs configuration scripts and supervises services.\n"
    "\n"
    "  -c, --config PATH       run the scripts (*.pr) in this file or folder, and watch it\n"
    "  -p, --port N            listen on this TCP port; peers get $gatekeeper\n"
    "  -s, --socket PATH       listen on this Unix socket; peers get $gatekeeper\n"
    "      --bus PATH          listen on this Unix socket; peers of this user and of root get\n"
    "                          $config, everybody else $status, to look at\n"
    "      --inferior          speak the protocol on standard input and output; the peer gets\n"
    "                          $config, and its end is ours\n"
    "      --control           give scripts $control, which takes the message <exit STATUS>\n"
    "      --debt-reporter     log every second which account owes how much\n"
    "  -t, --trace-file FILE   write a record for each turn to FILE, as text\n"
    "      --gatekeeper-answers accepted|ok\n"
    "                          how gatekeepers spell: <accepted #:cap> (the default) or <ok "
    "#:cap>\n"
    "      --no-banner         say nothing at start\n"
    "      --system            as the second stage of init\n"
    "      --init-fd N         the link to init\n"
    "  -h, --help              this text\n"
    "  -V, --version           the version\n"
    "\n"
    "-c, -p, -s and --bus may be given several times. Scripts find the variables config, log,\n"
    "gatekeeper, machine, status, system, control if asked for, and configuration, the folder in\n"
    "which PATH is. SYNDICATE_CREDIT in the environment is how many events an account may owe\n"
    "before its producer is held back; 100 if it is not set.\n";

namespace {

enum Long : int { bus = 256, inferior, control, debt, answers, no_banner, system_stage, init_fd };

constexpr option long_options[] = {
    {"config", required_argument, nullptr, 'c'},
    {"port", required_argument, nullptr, 'p'},
    {"socket", required_argument, nullptr, 's'},
    {"bus", required_argument, nullptr, bus},
    {"inferior", no_argument, nullptr, inferior},
    {"control", no_argument, nullptr, control},
    {"debt-reporter", no_argument, nullptr, debt},
    {"trace-file", required_argument, nullptr, 't'},
    {"gatekeeper-answers", required_argument, nullptr, answers},
    {"no-banner", no_argument, nullptr, no_banner},
    {"system", no_argument, nullptr, system_stage},
    {"init-fd", required_argument, nullptr, init_fd},
    {"help", no_argument, nullptr, 'h'},
    {"version", no_argument, nullptr, 'V'},
    {nullptr, 0, nullptr, 0},
};

std::optional<int64_t> number(const char* text, int64_t lowest, int64_t highest) {
    char* end = nullptr;
    long long value = std::strtoll(text, &end, 10);
    if (end == text || *end || value < lowest || value > highest) return {};
    return value;
}

} // namespace

Result<Options> parse_options(int argc, char* const* argv) {
    Options options;
    options.credit = dataspace::default_credit;
    if (const char* credit = std::getenv("SYNDICATE_CREDIT")) {
        auto value = number(credit, 0, INT32_MAX);
        if (!value) return Error{"SYNDICATE_CREDIT: " + std::string(credit) + ": not a number"};
        options.credit = *value;
    }
    optind = 0; // begin anew: there may have been another command line
    for (;;) {
        int before = optind > 0 ? optind : 1;
        int found = getopt_long(argc, argv, ":c:p:s:t:hV", long_options, nullptr);
        if (found == -1) break;
        std::string word = before < argc ? argv[before] : "";
        switch (found) {
        case 'c':
            options.configs.push_back(optarg);
            break;
        case 'p': {
            auto port = number(optarg, 1, 65'535);
            if (!port) return Error{"--port " + std::string(optarg) + ": not a port"};
            options.ports.push_back(static_cast<uint16_t>(*port));
            break;
        }
        case 's':
            options.sockets.push_back(optarg);
            break;
        case bus:
            options.buses.push_back(optarg);
            break;
        case inferior:
            options.inferior = true;
            break;
        case control:
            options.control = true;
            break;
        case debt:
            options.debt_reporter = true;
            break;
        case 't':
            options.trace_file = optarg;
            break;
        case answers: {
            auto spelling = protocol::answers_by_name(optarg);
            if (!spelling) return Error{word + " is accepted or ok, not " + optarg};
            options.answers = *spelling;
            break;
        }
        case no_banner:
            options.banner = false;
            break;
        case system_stage:
            options.system = true;
            break;
        case init_fd: {
            auto fd = number(optarg, 0, INT32_MAX);
            if (!fd) return Error{"--init-fd " + std::string(optarg) + ": not a descriptor"};
            options.init_fd = static_cast<int>(*fd);
            break;
        }
        case 'h':
            options.ask = Options::Ask::help;
            return options;
        case 'V':
            options.ask = Options::Ask::version;
            return options;
        case ':':
            return Error{word + " needs an argument"};
        default:
            return Error{"unknown option " + word};
        }
    }
    if (optind < argc) return Error{"unknown argument " + std::string(argv[optind])};
    if (options.inferior && options.system)
        return Error{"--inferior and --system exclude each other"};
    return options;
}

} // namespace muster::services
