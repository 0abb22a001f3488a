#include <algorithm>

#include "services/muster/views.h"

namespace muster::command {

std::vector<Blame> blame(const World& world, bool first, uint64_t now) {
    std::vector<Blame> all;
    for (size_t i = 0; i < world.units().size(); ++i) {
        const Unit& unit = world.units()[i];
        if (unit.is_milestone()) continue;
        services::Rise rise = first ? unit.first_rise() : unit.rise();
        if (rise.demanded == 0) continue;
        bool done = rise.ready != 0;
        if (!done && !unit.is("waiting") && !unit.is("starting") && !unit.is("failed")) continue;
        // What was given up takes no longer.
        uint64_t until = unit.is("failed") && unit.since() > 0 ? unit.since() : now;
        uint64_t end = done ? rise.ready : std::max({until, rise.demanded, rise.starting});
        // A restart is no longer than its own part.
        uint64_t from = rise.starting ? rise.starting : end;
        uint64_t total = unit.number("restarts") > 0 && !first && done
                             ? end - std::max(rise.demanded, from)
                             : end - rise.demanded;
        all.push_back({i, std::max(total, end - from), end - from, done});
    }
    std::stable_sort(all.begin(), all.end(), [](const Blame& a, const Blame& b) {
        return std::pair(a.own, a.total) > std::pair(b.own, b.total);
    });
    return all;
}

std::vector<std::string> blame_lines(const World& world, const std::vector<Blame>& all,
                                     const Screen& screen) {
    std::vector<std::string> lines;
    constexpr size_t width = 12;
    lines.push_back(screen.paint(Colour::bold, right("itself", width) +
                                                   right("from demand", width + 1) + "  service"));
    for (const Blame& each : all) {
        const Unit& unit = world.units()[each.unit];
        std::string line =
            right(duration(each.own), width) + right(duration(each.total), width + 1);
        size_t room = screen.width - 2 * width - 3;
        std::string state = each.done ? "" : "  " + unit.word();
        room -= std::min(room, columns(state));
        line += "  " + screen.cut(unit.shown, room);
        if (!each.done) line += "  " + screen.paint(colour_of(unit.word()), unit.word());
        lines.push_back(std::move(line));
    }
    return lines;
}

void write_json(Json& json, const World& world, const std::vector<Blame>& all) {
    json.array();
    for (const Blame& each : all) {
        const Unit& unit = world.units()[each.unit];
        json.object().pair("name", unit.shown).pair("state", unit.word());
        json.key("own").seconds(each.own).key("total").seconds(each.total);
        json.key("ready").boolean(each.done).end();
    }
    json.end();
}

std::vector<size_t> critical_path(const World& world, size_t target) {
    std::vector<size_t> path;
    std::vector<bool> seen(world.units().size());
    for (size_t here = target; here != nowhere && !seen[here];) {
        seen[here] = true;
        path.push_back(here);
        services::Rise rise = world.units()[here].first_rise();
        size_t next = nowhere;
        uint64_t latest = 0;
        for (size_t edge : world.units()[here].needs) {
            size_t to = world.edges()[edge].to;
            if (to == nowhere || seen[to]) continue;
            uint64_t ready = world.units()[to].first_rise().ready;
            // What was up before it was wanted held up nobody.
            if (ready < rise.demanded || ready > rise.starting || ready <= latest) continue;
            latest = ready;
            next = to;
        }
        here = next;
    }
    return path;
}

size_t boot_target(const World& world) {
    size_t last = nowhere;
    uint64_t latest = 0;
    for (size_t i = 0; i < world.units().size(); ++i) {
        const Unit& unit = world.units()[i];
        uint64_t ready = unit.first_rise().ready;
        if (ready == 0) continue;
        if (unit.is_milestone() && unit.name().at(0).is_symbol("default")) return i;
        if (ready > latest) {
            latest = ready;
            last = i;
        }
    }
    return last;
}

} // namespace muster::command
