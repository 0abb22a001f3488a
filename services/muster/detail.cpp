#include <algorithm>

#include "init/preserves/text_writer.h"
#include "services/muster/status_line.h"
#include "services/muster/views.h"
#include "services/muster/why.h"

namespace muster::command {

namespace {

constexpr size_t label_width = 11;

// A line of `LABEL  text`, wrapped below itself.
class Lines {
  public:
    explicit Lines(const Screen& screen) : screen_(screen) {}

    void add(const std::string& label, const std::string& text, Colour colour = Colour::plain) {
        if (text.empty()) return;
        std::string lead = screen_.paint(Colour::dim, right(label, label_width)) + "  ";
        size_t room = screen_.width - label_width - 2;
        std::string line;
        auto put = [&] {
            lines_.push_back(lead + screen_.paint(colour, line));
            lead.assign(label_width + 2, ' ');
            line.clear();
        };
        for (size_t at = 0; at < text.size();) {
            size_t end = std::min(text.find(' ', at), text.size());
            std::string word = screen_.cut(text.substr(at, end - at), room);
            at = end + 1;
            if (!line.empty() && columns(line) + 1 + columns(word) > room) put();
            line += (line.empty() ? "" : " ") + word;
        }
        put();
    }
    void line(std::string text) { lines_.push_back(std::move(text)); }
    std::vector<std::string> take() { return std::move(lines_); }

  private:
    const Screen& screen_;
    std::vector<std::string> lines_;
};

// Its neighbours by this relation, those that are not up with their state: "a, b (waiting), …".
std::string neighbours(const World& world, const std::vector<size_t>& edges, bool below,
                       size_t most) {
    std::vector<std::string> good, bad;
    std::vector<size_t> named;
    for (size_t edge : edges) {
        const Edge& each = world.edges()[edge];
        size_t other = below ? each.to : each.from;
        if (other == nowhere) {
            (each.met ? good : bad)
                .push_back(dependee_text(each.what) + (each.met ? "" : " (missing)"));
            continue;
        }
        if (std::find(named.begin(), named.end(), other) != named.end()) continue;
        named.push_back(other);
        const Unit& unit = world.units()[other];
        bool up = unit.up();
        (up ? good : bad).push_back(unit.shown + (up ? "" : " (" + unit.word() + ")"));
    }
    bad.insert(bad.end(), good.begin(), good.end());
    std::string text;
    for (size_t i = 0; i < bad.size(); ++i) {
        if (i == most && bad.size() > most + 1)
            return text + " and " + std::to_string(bad.size() - most) + " more";
        text += (text.empty() ? "" : ", ") + bad[i];
    }
    return text;
}

std::string start_text(const services::Rise& rise, bool restarted) {
    if (rise.ready == 0 || rise.starting == 0) return "";
    std::string own = duration(rise.ready - rise.starting);
    if (restarted || rise.starting - rise.demanded < 1'000) return "took " + own;
    return "took " + own + ", after " + duration(rise.starting - rise.demanded) +
           " of waiting for others";
}

std::string joined(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& each : names)
        text += (text.empty() ? "" : ", ") + each;
    return text;
}

// "3 since it was last stopped, the last one: exit code 3", as `<failure S {…}>` has them.
std::string failures_text(const Value& failure) {
    if (!failure.valid()) return "";
    View facts = failure.view().at(1);
    return std::to_string(facts.get("count").as_int().value_or(0)) +
           " since it was last stopped, the last one: " +
           printable(facts.get("how").as_string().value_or(""));
}

} // namespace

std::vector<std::string> detail_lines(const World& world, const Detail& detail,
                                      const Screen& screen) {
    const Unit& unit = world.units()[detail.unit];
    Lines lines(screen);
    std::string word = unit.word();
    std::string since;
    if (uint64_t time = unit.since(); time > 0) {
        since = "since " + time_of_day(time);
        if (detail.now > time) since += " (" + duration(detail.now - time) + ")";
    }
    size_t room = screen.width - std::min(screen.width, columns(word) + columns(since) + 4);
    lines.line(screen.paint(Colour::bold, screen.cut(unit.shown, std::max<size_t>(room, 24))) +
               "  " + screen.paint(colour_of(word), word) + "  " + since);

    lines.add("command", detail.command);
    lines.add("configured", shown(detail.places.definitions(unit.name())));
    if (pid_t pid = unit.pid(); pid > 0) {
        Figures figures = figures_of(pid);
        Process process = process_of(pid);
        std::string text = std::to_string(pid);
        if (process.pid != 0 && detail.now > process.started)
            text += ", for " + duration(detail.now - process.started);
        size_t others = figures.pids.size() > 1 ? figures.pids.size() - 1 : 0;
        if (others > 0)
            text += ", with " + std::to_string(others) + (others == 1 ? " other" : " others");
        if (int64_t several = unit.number("processes"); several > 1)
            text += "; one of " + std::to_string(several) + ", each of a description of its own";
        lines.add("pid", text);
        if (figures.known)
            lines.add("uses", size_text(figures.memory) +
                                  (figures.resident ? " of memory (resident), " : " of memory, ") +
                                  duration(figures.cpu) + " of processor time");
        lines.add("cgroup", printable(figures.cgroup));
    }
    lines.add("start", start_text(unit.rise(), unit.number("restarts") > 0));
    if (int64_t restarts = unit.number("restarts"); restarts > 0)
        lines.add("restarts", std::to_string(restarts), Colour::yellow);
    if (std::string last = unit.text("last"); !last.empty())
        lines.add("last end", last, unit.is("failed") ? Colour::red : Colour::plain);
    if (int64_t delay = unit.number("delayMs"); delay > 0)
        lines.add("next start", duration(static_cast<uint64_t>(delay) * 1'000) + " after that");
    lines.add("failures", failures_text(detail.failure));
    lines.add("took down", joined(detail.took_down));

    // Without the service's own line, and only the first steps: `muster why` tells all.
    size_t said = 0;
    std::string label = unit.up() ? "because" : "why";
    for (const Reason& each : why(world, detail.unit, detail.places, detail.now)) {
        size_t deepest = unit.up() ? 1 : 2;
        if (each.depth == 0 || each.depth > deepest || each.kind == "failure") continue;
        if (said == 6) {
            lines.add("", "... see: muster why " + unit.shown);
            break;
        }
        std::string text = each.text;
        if (each.kind == "service") text += ", which is " + each.state;
        bool bad = each.kind == "missing" || each.kind == "undefined" || each.kind == "cycle";
        lines.add(said++ == 0 ? label : "", std::string(2 * (each.depth - 1), ' ') + text,
                  bad ? Colour::red : Colour::plain);
    }
    lines.add("needs", neighbours(world, unit.needs, true, 12));
    lines.add("needed by", neighbours(world, unit.needed_by, false, 12));
    for (const logs::Entry& each : detail.lines) {
        std::string text = local_time(each.time_us).substr(11) + " " + printable(each.text);
        bool first = &each == &detail.lines.front();
        bool by_itself = each.stream != "supervisor";
        lines.line(screen.paint(Colour::dim, right(first ? "log" : "", label_width)) + "  " +
                   screen.paint(by_itself ? Colour::plain : Colour::yellow,
                                screen.cut(text, screen.width - label_width - 2)));
    }
    return lines.take();
}

void write_unit(Json& json, const World& world, size_t index) {
    const Unit& unit = world.units()[index];
    json.object().pair("name", unit.shown).pair("service", preserves::to_text(unit.name()));
    json.pair("state", unit.word());
    if (unit.since() > 0) {
        json.pair("since", time_of_day_rfc3339(unit.since()));
        json.key("since_seconds").seconds(unit.since());
    }
    json.key("needed").boolean(unit.needed());
    if (unit.held_up() || unit.held_down()) json.pair("override", unit.text("override"));
    if (unit.pid() > 0) json.pair("pid", unit.pid());
    json.pair("restarts", unit.number("restarts"));
    if (unit.number("processes") > 1) json.pair("processes", unit.number("processes"));
    if (!unit.text("last").empty()) json.pair("last", unit.text("last"));
    if (unit.number("delayMs") > 0) json.pair("delay_ms", unit.number("delayMs"));
    for (const char* key : {"undefined", "unprovided", "stale", "disabled"})
        if (unit.facts().get(key).valid()) json.key(key).boolean(true);
    if (View waiting = unit.facts().get("waiting-for"); waiting.valid()) {
        json.key("waiting_for").array();
        for (View each : waiting.items())
            json.string(dependee_text(each));
        json.end();
        if (int64_t more = unit.number("waiting-for-more")) json.pair("waiting_for_more", more);
    }
    if (View cycle = unit.facts().get("cycle"); cycle.valid()) {
        json.key("cycle").array();
        for (View each : cycle.items())
            json.string(preserves::to_text(each));
        json.end();
    }
    services::Rise rise = unit.rise();
    if (rise.demanded > 0) json.key("demanded_seconds").seconds(rise.demanded);
    if (rise.starting > 0) json.key("starting_seconds").seconds(rise.starting);
    if (rise.ready > 0) json.key("ready_seconds").seconds(rise.ready);
    json.end();
}

void write_json(Json& json, const World& world, const Detail& detail) {
    const Unit& unit = world.units()[detail.unit];
    json.object().key("status");
    write_unit(json, world, detail.unit);
    if (!detail.command.empty()) json.pair("command", detail.command);
    auto places = [&](const char* name, const std::vector<Place>& all) {
        json.key(name).array();
        for (const Place& each : all)
            json.object()
                .pair("file", each.file)
                .pair("line", each.at.line)
                .pair("column", each.at.column)
                .end();
        json.end();
    };
    places("defined_in", detail.places.definitions(unit.name()));
    places("asked_for_in", detail.places.demands(unit.name()));
    if (unit.pid() > 0) {
        Figures figures = figures_of(unit.pid());
        if (figures.known) {
            json.pair("memory_bytes", static_cast<int64_t>(figures.memory));
            json.key("memory_is_resident").boolean(figures.resident);
            json.key("cpu_seconds").seconds(figures.cpu);
            json.pair("cgroup", figures.cgroup);
            json.key("pids").array();
            for (pid_t pid : figures.pids)
                json.integer(pid);
            json.end();
        }
    }
    json.key("needs").array();
    for (size_t edge : unit.needs) {
        const Edge& each = world.edges()[edge];
        json.object().pair("what", dependee_text(each.what));
        if (each.to != nowhere)
            json.pair("service", world.units()[each.to].shown)
                .pair("state", world.units()[each.to].word());
        json.key("met").boolean(each.met).end();
    }
    json.end();
    json.key("needed_by").array();
    for (size_t edge : unit.needed_by) {
        const Unit& other = world.units()[world.edges()[edge].from];
        json.object().pair("service", other.shown).pair("state", other.word()).end();
    }
    json.end();
    if (detail.failure.valid()) {
        View facts = detail.failure.view().at(1);
        json.key("failure").object();
        for (const char* key : {"how", "kind", "time", "next"}) {
            View fact = facts.get(key);
            auto text = fact.as_string() ? fact.as_string() : fact.as_symbol();
            if (text) json.pair(key, std::string(*text));
        }
        json.pair("count", facts.get("count").as_int().value_or(0));
        json.key("took_down").array();
        for (const std::string& each : detail.took_down)
            json.string(each);
        json.end().end();
    }
    json.key("log").array();
    for (const logs::Entry& each : detail.lines)
        json.object()
            .pair("time", logs::time_text(each.time_us))
            .pair("stream", each.stream)
            .pair("line", each.text)
            .end();
    json.end();
    json.key("why");
    write_json(json, why(world, detail.unit, detail.places, detail.now));
    json.end();
}

} // namespace muster::command
