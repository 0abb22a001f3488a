#include "services/muster/look.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "init/dataspace/pattern.h"
#include "services/muster/failed.h"
#include "services/muster/graph.h"
#include "services/muster/output.h"
#include "services/muster/plot.h"
#include "services/muster/shutdown.h"
#include "services/muster/status_line.h"
#include "services/muster/top.h"
#include "services/muster/views.h"
#include "services/muster/why.h"
#include "services/tracker/service.h"

namespace muster::command {

namespace pat = dataspace::pattern;

namespace {

void print(const std::vector<std::string>& lines) {
    for (const std::string& each : lines)
        put_line(each);
}

void print(const Json& json) { print(std::vector<std::string>{json.text()}); }

// What is named, each once; the exit status is that of unknown ones.
std::vector<size_t> named(const World& world, const std::vector<std::string>& words, int& result) {
    std::vector<size_t> units;
    for (const std::string& word : words) {
        std::vector<size_t> meant = world.meant(word);
        if (meant.empty()) result = unknown_service(world, word);
        for (size_t each : meant)
            if (std::find(units.begin(), units.end(), each) == units.end()) units.push_back(each);
    }
    return units;
}

// How it is run: what runs, or, if nothing does, what the configuration says, as far as we see it.
std::string command_of(Bus& bus, const Unit& unit, const Places& places) {
    if (unit.pid() > 0)
        if (Process process = process_of(unit.pid()); process.pid != 0) return process.command;
    if (bus.is_root() && unit.is_daemon()) {
        auto found = bus.query(
            {"config"}, pat::record("daemon", {pat::literal(unit.name().at(0)), pat::discard()}));
        if (found && !found->empty()) return command_text((*found)[0].view().at(1));
    }
    for (const Place& each : places.definitions(unit.name()))
        if (!each.text.empty()) return each.text;
    return "";
}

void add_failure(Bus& bus, View name, Detail& detail) {
    if (!bus.is_root()) return;
    auto failures =
        bus.query({"config"}, pat::record("failure", {pat::literal(name), pat::discard()}));
    if (failures && !failures->empty()) detail.failure = (*failures)[0];
    auto downs =
        bus.query({"config"}, pat::record("taken-down", {pat::discard(), pat::literal(name)}));
    if (!downs) return;
    for (const Value& each : *downs)
        detail.took_down.push_back(services::display_name(each.view().at(0)));
}

// The newest lines of a day. Who may not read the logs is shown none.
std::vector<logs::Entry> newest_lines(View name) {
    constexpr uint64_t day = 86'400'000'000;
    constexpr size_t most = 5;
    logs::Query query;
    query.services = {logs::logged_name(services::display_name(name))};
    query.since_us = logs::realtime_us() - day;
    std::deque<logs::Entry> lines;
    auto read = logs::read_logs(query, [&](const logs::Entry& entry) {
        lines.push_back(entry);
        if (lines.size() > most) lines.pop_front();
    });
    if (!read) lines.clear();
    return {lines.begin(), lines.end()};
}

int detail(Bus& bus, const World& world, size_t unit, bool as_json) {
    Detail detail{.unit = unit,
                  .command = {},
                  .places = Places::read(world.config_paths()),
                  .now = now_us(),
                  .failure = {},
                  .took_down = {},
                  .lines = newest_lines(world.units()[unit].name())};
    detail.command = command_of(bus, world.units()[unit], detail.places);
    add_failure(bus, world.units()[unit].name(), detail);
    if (as_json) {
        Json json;
        write_json(json, world, detail);
        print(json);
    } else {
        print(detail_lines(world, detail, Screen::of(STDOUT_FILENO)));
    }
    return world.units()[unit].up() ? 0 : exit_not_running;
}

int status(Bus& bus, const World& world, const LookOptions& options) {
    int result = 0;
    std::vector<size_t> units = named(world, options.words, result);
    bool all = options.words.empty();
    if (!all && result == 0 && units.size() == 1 && options.words.size() == 1)
        return detail(bus, world, units[0], options.json);
    if (all)
        for (size_t i = 0; i < world.units().size(); ++i)
            units.push_back(i);
    std::sort(units.begin(), units.end());
    std::string shutdown;
    if (all) {
        auto pending = pending_shutdown(bus);
        if (pending && pending->valid()) shutdown = pending_shutdown_line(*pending);
    }
    for (size_t each : units)
        if (!all && result == 0 && !world.units()[each].up()) result = exit_not_running;
    if (options.json) {
        Json json;
        if (all) json.object().key("services");
        json.array();
        for (size_t each : units)
            write_unit(json, world, each);
        json.end();
        if (all) {
            json.key("config_errors").array();
            for (const Value& each : world.config_errors())
                json.string(config_error_line(each));
            json.end();
            if (!shutdown.empty()) json.key("shutdown").string(shutdown);
            json.end();
        }
        print(json);
        return result;
    }
    Screen screen = Screen::of(STDOUT_FILENO);
    std::vector<std::string> lines;
    for (size_t each : units)
        lines.push_back(status_line(world.units()[each].record, screen));
    if (all)
        for (const Value& each : world.config_errors())
            lines.push_back(screen.paint(Colour::red, printable(config_error_line(each))));
    if (!shutdown.empty()) lines.push_back(screen.paint(Colour::red, printable(shutdown)));
    print(lines);
    return result;
}

int tree(const World& world, const LookOptions& options) {
    int result = 0;
    std::vector<size_t> units = named(world, options.words, result);
    if (!options.words.empty() && units.empty()) return result;
    if (options.json) {
        Json json;
        write_tree_json(json, world, units, !options.no_processes);
        print(json);
        return result;
    }
    TreeOptions tree{
        .reverse = options.reverse, .all = options.all, .processes = !options.no_processes};
    print(outline(tree_rows(world, units, tree), Screen::of(STDOUT_FILENO)));
    return result;
}

int why(const World& world, const LookOptions& options) {
    int result = 0;
    std::vector<size_t> units = named(world, options.words, result);
    Places places = Places::read(world.config_paths());
    uint64_t now = now_us();
    Json json;
    if (options.json && units.size() != 1) json.array();
    std::vector<Row> rows;
    for (size_t each : units) {
        std::vector<Reason> reasons = why(world, each, places, now);
        if (options.json) write_json(json, reasons);
        for (Row& row : rows_of(reasons))
            rows.push_back(std::move(row));
    }
    if (options.json) {
        if (units.size() != 1) json.end();
        if (!units.empty()) print(json);
    } else {
        print(outline(rows, Screen::of(STDOUT_FILENO)));
    }
    return result;
}

int blame(const World& world, const LookOptions& options) {
    int result = 0;
    std::vector<size_t> units = named(world, options.words, result);
    std::vector<Blame> all = blame(world, options.boot, now_us());
    if (!options.words.empty())
        std::erase_if(all, [&](const Blame& each) {
            return std::find(units.begin(), units.end(), each.unit) == units.end();
        });
    if (options.json) {
        Json json;
        write_json(json, world, all);
        print(json);
    } else {
        print(blame_lines(world, all, Screen::of(STDOUT_FILENO)));
    }
    return result;
}

// To the file that was named, or to standard output.
int deliver(const std::string& text, const std::string& path) {
    if (path.empty() || path == "-") {
        put(text);
        return 0;
    }
    FILE* file = std::fopen(path.c_str(), "we");
    bool good = file && std::fwrite(text.data(), 1, text.size(), file) == text.size();
    if (file && std::fclose(file) != 0) good = false;
    return good ? 0 : failed(system_error(path, errno));
}

int plot(const World& world, const LookOptions& options) {
    PlotFacts facts = plot_facts(world);
    if (!options.json) return deliver(plot_svg(world, facts), options.output);
    Json json;
    write_plot_json(json, world, facts);
    return deliver(json.text() + "\n", options.output);
}

int graph(const World& world, const LookOptions& options) {
    int result = 0;
    GraphOptions graph;
    graph.units = named(world, options.words, result);
    graph.all = options.all;
    if (!options.words.empty() && graph.units.empty()) return result;
    utsname name{};
    uname(&name);
    graph.title = std::string("Services of ") + name.nodename;
    std::string text;
    if (options.json) {
        Json json;
        write_tree_json(json, world, graph.units, false);
        text = json.text() + "\n";
    } else {
        text = options.dot ? graph_dot(world, graph) : graph_svg(world, graph);
    }
    int delivered = deliver(text, options.output);
    return delivered ? delivered : result;
}

} // namespace

int unknown_service(const World& world, const std::string& word) {
    std::string text = "muster: nobody defines or needs " + printable(word);
    std::vector<std::string> similar = world.similar(word);
    for (size_t i = 0; i < similar.size(); ++i)
        text += (i == 0 ? "; did you mean " : ", ") + similar[i];
    if (!similar.empty()) text += "?";
    std::fprintf(stderr, "%s\n", text.c_str());
    return exit_unknown;
}

namespace {

struct Option {
    std::string_view word;
    std::string_view commands; // with spaces around each
    bool LookOptions::*flag;
    std::string LookOptions::*value;
};

constexpr Option look_options[] = {
    {"--json", " status tree why blame plot graph top ", &LookOptions::json, nullptr},
    {"--all", " tree graph ", &LookOptions::all, nullptr},
    {"-a", " tree graph ", &LookOptions::all, nullptr},
    {"--reverse", " tree ", &LookOptions::reverse, nullptr},
    {"-r", " tree ", &LookOptions::reverse, nullptr},
    {"--no-processes", " tree ", &LookOptions::no_processes, nullptr},
    {"--boot", " blame ", &LookOptions::boot, nullptr},
    {"--dot", " graph ", &LookOptions::dot, nullptr},
    {"--output", " plot graph ", nullptr, &LookOptions::output},
    {"-o", " plot graph ", nullptr, &LookOptions::output},
    {"-n", " top ", nullptr, &LookOptions::rounds},
    {"--delay", " top ", nullptr, &LookOptions::delay},
    {"-d", " top ", nullptr, &LookOptions::delay},
};

const Option* find_option(std::string_view command, std::string_view word) {
    for (const Option& each : look_options)
        if (word == each.word &&
            each.commands.find(" " + std::string(command) + " ") != std::string_view::npos)
            return &each;
    return nullptr;
}

// The number in `text`; below 0 if it is none.
double number_of(const std::string& text) {
    char* end = nullptr;
    double value = std::strtod(text.c_str(), &end);
    return end == text.c_str() || *end || !(value >= 0 && value < 1e9) ? -1 : value;
}

} // namespace

bool* look_flag(LookOptions& options, std::string_view command, std::string_view word) {
    const Option* found = find_option(command, word);
    return found && found->flag ? &(options.*found->flag) : nullptr;
}

std::string* look_value(LookOptions& options, std::string_view command, std::string_view word) {
    const Option* found = find_option(command, word);
    return found && found->value ? &(options.*found->value) : nullptr;
}

std::string check_look(const LookOptions& options, std::string_view command) {
    if (!options.rounds.empty() && number_of(options.rounds) < 1)
        return "-n: " + options.rounds + " is no number of times";
    if (!options.delay.empty() && number_of(options.delay) < 0.1)
        return "--delay: " + options.delay + " is no number of seconds from 0.1 up";
    bool picture = command == "plot" || command == "graph";
    if (picture && !options.json && !options.dot && options.output.empty() && isatty(STDOUT_FILENO))
        return "a picture is no text for a terminal: try muster " + std::string(command) +
               " -o FILE.svg";
    if (options.json && options.dot) return "--json or --dot, not both";
    return "";
}

int look(Bus& bus, std::string_view command, const LookOptions& options) {
    if (command == "top") {
        TopOptions top_options;
        top_options.json = options.json;
        if (!options.rounds.empty())
            top_options.rounds = static_cast<uint64_t>(number_of(options.rounds));
        if (!options.delay.empty())
            top_options.delay = static_cast<uint64_t>(number_of(options.delay) * 1e6);
        return top(bus, top_options);
    }
    Result<World> world = World::load(bus);
    if (!world) return failed(world.error());
    if (command == "tree") return tree(*world, options);
    if (command == "why") return why(*world, options);
    if (command == "blame") return blame(*world, options);
    if (command == "plot") return plot(*world, options);
    if (command == "graph") return graph(*world, options);
    return status(bus, *world, options);
}

} // namespace muster::command
