#include <algorithm>

#include "services/muster/views.h"

namespace muster::command {

namespace {

// "pid 12, restarts 3, waits for …": in the last column, the least important at the end.
std::string short_detail(const World& world, const Unit& unit) {
    std::string text;
    auto add = [&](const std::string& more) { text += (text.empty() ? "" : ", ") + more; };
    View facts = unit.facts();
    if (facts.get("undefined").valid()) add("nobody defines it");
    if (facts.get("unprovided").valid()) add("nobody provides it");
    if (facts.get("cycle").valid()) add("waits for itself in a circle");
    if (unit.held_down()) add("held down");
    if (unit.held_up()) add("held up");
    if (unit.disabled()) add("disabled");
    if (unit.is("failed") && !unit.text("last").empty()) add(unit.text("last"));
    if (int64_t restarts = unit.number("restarts"); restarts > 0)
        add("restarts " + std::to_string(restarts));
    (void)world;
    return text;
}

} // namespace

std::vector<Row> tree_rows(const World& world, std::vector<size_t> roots,
                           const TreeOptions& options) {
    const auto& units = world.units();
    bool chosen = !roots.empty();
    if (!chosen) {
        for (size_t i = 0; i < units.size(); ++i) {
            const auto& above = options.reverse ? units[i].needs : units[i].needed_by;
            bool top = std::all_of(above.begin(), above.end(), [&](size_t edge) {
                size_t other = options.reverse ? world.edges()[edge].to : world.edges()[edge].from;
                return other == nowhere || (!options.all && units[other].is("stopped"));
            });
            if (top && (options.all || !units[i].is("stopped"))) roots.push_back(i);
        }
        std::stable_sort(roots.begin(), roots.end(), [&](size_t a, size_t b) {
            return units[a].is_milestone() > units[b].is_milestone();
        });
    }
    std::vector<Row> rows;
    std::vector<bool> shown(units.size());
    struct Open {
        size_t depth;
        size_t unit;
        std::string missing; // instead of a unit
        bool met = true;
    };
    auto follow = [&](size_t root) {
        std::vector<Open> open{{0, root, ""}};
        while (!open.empty()) {
            Open each = std::move(open.back());
            open.pop_back();
            if (each.unit == nowhere) {
                rows.push_back({each.depth, each.missing, each.met ? "there" : "missing", "",
                                each.met ? Colour::plain : Colour::red});
                continue;
            }
            const Unit& unit = units[each.unit];
            Row row{each.depth, unit.shown, unit.word(), short_detail(world, unit)};
            bool again = shown[each.unit];
            shown[each.unit] = true;
            std::vector<Open> below;
            std::string above;
            bool any = false;
            auto consider = [&](size_t edge, bool service) {
                size_t other = nowhere;
                if (service)
                    other = options.reverse ? world.edges()[edge].from : world.edges()[edge].to;
                if (other == nowhere) {
                    const Edge& what = world.edges()[edge];
                    below.push_back({each.depth + 1, nowhere, dependee_text(what.what), what.met});
                    return;
                }
                if (!options.all && units[other].is("stopped") && options.reverse) return;
                any = true;
                // What was shown already, and is well, is only mentioned.
                if (shown[other] && units[other].up())
                    above += (above.empty() ? "" : ", ") + units[other].shown;
                else if (!again)
                    below.push_back({each.depth + 1, other, ""});
            };
            if (options.reverse) {
                std::vector<size_t> from;
                for (size_t edge : unit.needed_by) {
                    size_t other = world.edges()[edge].from;
                    if (std::find(from.begin(), from.end(), other) != from.end()) continue;
                    from.push_back(other);
                    // Only if no other way leads from there to here.
                    for (size_t essential : world.essential_needs(other))
                        if (world.edges()[essential].to == each.unit) consider(essential, true);
                }
            } else {
                for (size_t edge : world.essential_needs(each.unit))
                    consider(edge, true);
                if (!again)
                    for (size_t edge : unit.needs)
                        if (world.edges()[edge].to == nowhere) consider(edge, false);
            }
            if (again && any) row.detail += row.detail.empty() ? "as above" : ", as above";
            if (!again && !above.empty())
                row.detail += (row.detail.empty() ? "" : ", ") +
                              std::string(options.reverse ? "for " : "needs ") + above;
            rows.push_back(std::move(row));
            if (again) continue;
            if (options.processes && unit.pid() > 0)
                for (pid_t pid : figures_of(unit.pid()).pids)
                    if (Process process = process_of(pid); process.pid != 0)
                        rows.push_back({each.depth + 1, std::to_string(pid), "process",
                                        process.command, Colour::dim});
            for (size_t i = below.size(); i-- > 0;)
                open.push_back(std::move(below[i]));
        }
    };
    for (size_t root : roots)
        follow(root);
    // Circles have no top.
    if (!chosen)
        for (size_t i = 0; i < units.size(); ++i)
            if (!shown[i] && (options.all || !units[i].is("stopped"))) follow(i);
    return rows;
}

void write_tree_json(Json& json, const World& world, const std::vector<size_t>& chosen,
                     bool processes) {
    std::vector<size_t> units = chosen;
    if (units.empty())
        for (size_t i = 0; i < world.units().size(); ++i)
            units.push_back(i);
    // With all that can be reached from them.
    std::vector<bool> seen(world.units().size());
    for (size_t unit : units)
        seen[unit] = true;
    for (size_t i = 0; i < units.size(); ++i)
        for (size_t edge : world.units()[units[i]].needs) {
            size_t to = world.edges()[edge].to;
            if (to == nowhere || seen[to]) continue;
            seen[to] = true;
            units.push_back(to);
        }
    json.array();
    for (size_t each : units) {
        const Unit& unit = world.units()[each];
        json.object().pair("name", unit.shown).pair("state", unit.word());
        json.key("needs").array();
        for (size_t edge : unit.needs) {
            const Edge& what = world.edges()[edge];
            json.object().pair("what", dependee_text(what.what));
            if (what.to != nowhere) json.pair("service", world.units()[what.to].shown);
            json.key("met").boolean(what.met).end();
        }
        json.end();
        if (processes && unit.pid() > 0) {
            json.key("processes").array();
            for (pid_t pid : figures_of(unit.pid()).pids)
                if (Process process = process_of(pid); process.pid != 0)
                    json.object().pair("pid", pid).pair("command", process.command).end();
            json.end();
        }
        json.end();
    }
    json.end();
}

} // namespace muster::command
