#include "services/muster/help.h"

namespace muster::command {

namespace {

struct More {
    std::string_view command;
    std::string_view text;
};

constexpr More more[] = {
    {"status",
     "Without SERVICE one line each, and the errors in configuration files. Of one service: since\n"
     "when it is as it is, its command and the file that says so, its processes, what they use,\n"
     "how long it took to start, how it ended last, why it runs or what it waits for, what it\n"
     "needs and what needs it. Several are one line each.\n"
     "Exit status: 0 if all that were named are running or complete, 3 if one is not, 4 if nobody\n"
     "knows one of them.\n"},
    {"why",
     "Of what runs: who needs it, up to whoever asked first, a line in a configuration file, an\n"
     "operator, or a program. Of what does not: exactly what it waits for, through all that waits\n"
     "in turn, down to the assertion that is missing, the failure, the circle, or the override.\n"},
    {"tree",
     "Below each service stands what it depends on, each once. Dependencies that others imply are\n"
     "left out.\n"
     "  -r, --reverse      what depends on each instead\n"
     "  -a, --all          what is stopped too\n"
     "  --no-processes     without the processes\n"},
    {"blame", "\"itself\" is from when nothing stood in its way any more until it was up; \"from "
              "demand\" is\n"
              "what somebody who needed it has waited. Of what restarted, the last start.\n"
              "  --boot             the first start of each\n"},
    {"plot", "Each service from when it was wanted until it was up. The path that decided when the "
             "default\n"
             "milestone was reached is marked. Services that came later are not in it.\n"
             "  -o, --output FILE  there instead of to standard output\n"},
    {"graph", "With SERVICE: these, what they depend on, and what depends on them.\n"
              "  -a, --all          what is stopped too, and dependencies that others imply\n"
              "  --dot              for graphviz\n"
              "  -o, --output FILE  there instead of to standard output\n"},
    {"top",
     "Changes of services are shown at once. Keys: c, m, r, n order by processor time, memory,\n"
     "restarts, name; space looks now; q ends it. Memory is that of the control group, or, "
     "without\n"
     "the memory controller, the sum of what is resident.\n"
     "  -n TIMES           so often; once if the output is no terminal\n"
     "  -d, --delay SECONDS\n"
     "                     2 unless told otherwise\n"},
};

// Whether `line`, an entry, is about the command: its first words, as far as they are joined by
// commas, are commands.
bool is_about(std::string_view line, std::string_view command) {
    line.remove_prefix(2);
    for (;;) {
        size_t end = line.find_first_of(" ,");
        if (line.substr(0, end) == command) return true;
        if (end == std::string_view::npos || line[end] != ',') return false;
        line.remove_prefix(line.find_first_not_of(", ", end));
    }
}

} // namespace

std::string help_of(std::string_view usage, std::string_view command) {
    std::string text;
    bool within = false;
    while (!usage.empty()) {
        size_t end = usage.find('\n');
        std::string_view line = usage.substr(0, end);
        usage.remove_prefix(end == std::string_view::npos ? usage.size() : end + 1);
        bool entry = line.size() > 2 && line.starts_with("  ") && line[2] != ' ';
        if (entry)
            within = is_about(line, command);
        else if (!line.starts_with("   "))
            within = false;
        if (within) text += std::string(line) + "\n";
    }
    if (text.empty()) return text;
    for (const More& each : more)
        if (each.command == command) text += "\n" + std::string(each.text);
    return text;
}

} // namespace muster::command
