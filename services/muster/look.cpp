#include "services/muster/look.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "init/dataspace/pattern.h"
#include "services/muster/status_line.h"
#include "services/muster/views.h"
#include "services/muster/why.h"

namespace muster::command {

namespace pat = dataspace::pattern;

namespace {

int failed(const Error& error) {
    std::fprintf(stderr, "muster: %s\n", error.message.c_str());
    return 1;
}

void print(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& each : lines)
        text += each + "\n";
    std::fwrite(text.data(), 1, text.size(), stdout);
}

int finish(int result) { return std::fflush(stdout) == 0 ? result : 1; }

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

int detail(Bus& bus, const World& world, size_t unit, bool as_json) {
    Detail detail{.unit = unit,
                  .command = {},
                  .places = Places::read(world.config_paths()),
                  .log = {},
                  .now = now_us()};
    detail.command = command_of(bus, world.units()[unit], detail.places);
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
            json.end().end();
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

struct Flag {
    const char* word;
    bool LookOptions::*place;
    std::vector<std::string_view> commands;
};

const std::vector<Flag>& flags() {
    static const std::vector<Flag> all{
        {"--json", &LookOptions::json, {"status", "tree", "why", "blame"}},
        {"--all", &LookOptions::all, {"tree"}},
        {"--reverse", &LookOptions::reverse, {"tree"}},
        {"--boot", &LookOptions::boot, {"blame"}},
        {"--no-processes", &LookOptions::no_processes, {"tree"}},
    };
    return all;
}

} // namespace

bool* look_flag(LookOptions& options, const std::string& word) {
    for (const Flag& each : flags())
        if (word == each.word) return &(options.*each.place);
    return nullptr;
}

std::string misplaced_flag(LookOptions& options, const std::string& command) {
    for (const Flag& each : flags())
        if (options.*each.place &&
            std::find(each.commands.begin(), each.commands.end(), command) == each.commands.end())
            return each.word;
    return "";
}

int look(Bus& bus, const LookOptions& options) {
    Result<World> world = World::load(bus);
    if (!world) return failed(world.error());
    if (options.command == "tree") return finish(tree(*world, options));
    if (options.command == "why") return finish(why(*world, options));
    if (options.command == "blame") return finish(blame(*world, options));
    return finish(status(bus, *world, options));
}

} // namespace muster::command
