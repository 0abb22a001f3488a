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
    "      --main NAME         <daemon NAME> is the main service of a container\n"
    "      -- COMMAND...       run this as the main service of a container\n"
    "      --check             only say whether we could run: reads the scripts of --config; with\n"
    "                          --records N and --ledger N also whether we could go on for another\n"
    "                          second stage that spoke these versions\n"
    "  -h, --help              this text\n"
    "  -V, --version           the version\n"
    "\n"
    "-c, -p, -s and --bus may be given several times. Scripts find the variables config, log,\n"
    "gatekeeper, machine, status, system, control if asked for, and configuration, the folder in\n"
    "which PATH is. SYNDICATE_CREDIT in the environment is how many events an account may owe\n"
    "before its producer is held back; 2000 if it is not set.\n";

namespace {

enum Long : int {
    bus = 256,
    inferior,
    control,
    debt,
    answers,
    no_banner,
    system_stage,
    init_fd,
    main_service,
    check,
    records_version,
    ledger_version
};

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
    {"main", required_argument, nullptr, main_service},
    {"check", no_argument, nullptr, check},
    {"records", required_argument, nullptr, records_version},
    {"ledger", required_argument, nullptr, ledger_version},
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
        case main_service:
            options.main = optarg;
            break;
        case check:
            options.ask = Options::Ask::check;
            break;
        case records_version:
        case ledger_version: {
            auto version = number(optarg, 1, INT32_MAX);
            if (!version) return Error{word + " " + std::string(optarg) + ": not a version"};
            (found == ledger_version ? options.ledger : options.records) =
                static_cast<int>(*version);
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
    if (optind < argc && optind > 1 && std::string_view(argv[optind - 1]) == "--") {
        if (!options.system) return Error{"a COMMAND goes with --system"};
        options.main_command.assign(argv + optind, argv + argc);
    } else if (optind < argc) {
        return Error{"unknown argument " + std::string(argv[optind])};
    }
    if (!options.main.empty() && !options.main_command.empty())
        return Error{"--main and a COMMAND exclude each other"};
    if (options.inferior && options.system)
        return Error{"--inferior and --system exclude each other"};
    return options;
}

} // namespace muster::services
