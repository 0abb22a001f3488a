#include "services/muster/why.h"

#include <algorithm>

#include "services/muster/screen.h"
#include "services/tracker/service.h"

namespace muster::command {

namespace {

// How many of those that need a service, or that it waits for, are named.
constexpr size_t most_named = 6;

class Explainer {
  public:
    Explainer(const World& world, const Places& places, uint64_t now)
        : world_(world), places_(places), now_(now), explained_(world.units().size()),
          traced_(world.units().size()) {}

    std::vector<Reason> explain(size_t unit) {
        add(0, "service", unit, state_text(unit));
        condition(unit, 1);
        if (const Unit& each = world_.units()[unit]; each.needed() || each.held_up())
            demands(unit, 1);
        else if (!each.held_down() && !each.disabled())
            nobody(unit, 1);
        return std::move(reasons_);
    }

  private:
    void add(size_t depth, const char* kind, size_t unit, std::string text) {
        Reason reason{depth, kind, "", "", std::move(text)};
        if (unit != nowhere) {
            reason.service = world_.units()[unit].shown;
            reason.state = world_.units()[unit].word();
        }
        reasons_.push_back(std::move(reason));
    }
    void say(size_t depth, const char* kind, std::string text) {
        add(depth, kind, nowhere, std::move(text));
    }

    std::string state_text(size_t unit) const {
        const Unit& each = world_.units()[unit];
        uint64_t since = each.since();
        return since > 0 && now_ > since ? "for " + duration(now_ - since) : "";
    }

    void condition(size_t first, size_t depth);
    void failure(const Unit& unit, size_t depth);
    void demands(size_t first, size_t depth);
    void nobody(size_t unit, size_t depth);

    const World& world_;
    const Places& places_;
    uint64_t now_;
    std::vector<bool> explained_; // what it waits for has been said
    std::vector<bool> traced_;    // who needs it has been said
    std::vector<Reason> reasons_;
};

void Explainer::failure(const Unit& unit, size_t depth) {
    std::string last = unit.text("last");
    std::string text = last.empty() ? "it failed" : "it ended: " + last;
    if (int64_t restarts = unit.number("restarts"); restarts > 0)
        text +=
            ", started again " + std::to_string(restarts) + (restarts == 1 ? " time" : " times");
    int64_t delay = unit.number("delayMs");
    if (delay > 0) {
        uint64_t due = unit.since() + static_cast<uint64_t>(delay) * 1'000;
        text += due > now_ ? "; next start in " + duration(due - now_) : "; about to start again";
    } else if (unit.facts().get("phase").is_symbol("failed")) {
        text += "; it is not started again by itself";
    }
    say(depth, "failure", text);
}

// What stands in the way, however far down. An explicit stack: what waits for what may be long, and
// go in circles.
void Explainer::condition(size_t first, size_t depth) {
    struct Open {
        size_t depth;
        size_t unit;
        Value missing; // of `unit`; invalid: `unit` itself
        size_t more = 0;
    };
    std::vector<Open> open{{depth, first, {}}};
    while (!open.empty()) {
        Open each = std::move(open.back());
        open.pop_back();
        if (each.more > 0) {
            say(each.depth, "more", "and " + std::to_string(each.more) + " more");
            continue;
        }
        size_t here = each.unit;
        size_t level = each.depth;
        if (each.missing.valid()) {
            View what = each.missing;
            Value name;
            if (what.is_record("service-state", 2))
                name = Value(what.at(0));
            else if (what.is_record("present", 1))
                name = services::service_of_pattern(what.at(0));
            size_t other = name.valid() ? world_.find(name) : nowhere;
            if (other == nowhere) {
                bool pattern = what.is_record("present", 1);
                say(level, "missing",
                    "waits for " + dependee_text(what) +
                        (name.valid() ? ", of which nobody knows"
                         : pattern    ? ", and nobody asserts anything like it"
                                      : ", which nobody asserts"));
                continue;
            }
            add(level, "service", other, "waits for " + dependee_text(what));
            here = other;
            ++level;
        }
        const Unit& unit = world_.units()[here];
        if (explained_[here]) {
            if (here != first || each.missing.valid()) say(level, "note", "as above");
            continue;
        }
        explained_[here] = true;
        View facts = unit.facts();
        bool inner = here != first;
        if (unit.held_down()) {
            say(level, "stopped-by-operator",
                "somebody said `muster stop`; `muster release` takes it back");
            continue;
        }
        if (unit.disabled()) {
            std::string files = shown(places_.disablings(unit.name()));
            say(level, "disabled",
                "it is disabled" + (files.empty() ? "" : ", in " + files) +
                    "; `muster enable` takes it back");
            continue;
        }
        if (facts.get("undefined").valid()) {
            say(level, "undefined", "nobody defines it: there is no <daemon ...> that says how");
            continue;
        }
        if (facts.get("unprovided").valid())
            say(level, "unprovided", "it is to run, but nobody runs services of this kind");
        if (View cycle = facts.get("cycle"); cycle.valid()) {
            std::string ring;
            for (View name : cycle.items())
                ring += printable(services::display_name(name)) + " -> ";
            ring += printable(services::display_name(cycle.at(0)));
            say(level, "cycle", "they wait for each other: " + ring);
            continue;
        }
        if (unit.is("failed"))
            failure(unit, level);
        else if (unit.is("starting")) {
            uint64_t begun = unit.rise().starting;
            say(level, "note",
                begun > 0 && now_ > begun
                    ? "it has not said that it is ready, after " + duration(now_ - begun)
                    : "it has not said that it is ready");
            if (!unit.text("last").empty()) failure(unit, level);
        } else if (inner && unit.is("stopped") && !unit.needed()) {
            say(level, "nobody", "nobody needs it");
        } else if (inner && unit.up() && each.missing.valid()) {
            std::string conflict =
                shown(places_.ties("conflicts", world_.units()[each.unit].name(), unit.name()));
            say(level, "note",
                conflict.empty() ? "it is " + unit.word() + ", which is not what is waited for"
                                 : "they exclude each other, and it goes first: " + conflict);
        }
        View waiting = facts.get("waiting-for");
        if (!waiting.valid()) continue;
        std::vector<Open> missing;
        for (View one : waiting.items())
            missing.push_back({level, here, Value(one)});
        std::sort(missing.begin(), missing.end(),
                  [](const Open& a, const Open& b) { return compare(a.missing, b.missing) < 0; });
        size_t more = static_cast<size_t>(unit.number("waiting-for-more"));
        size_t most = inner ? most_named : 2 * most_named;
        if (missing.size() > most) {
            more += missing.size() - most;
            missing.resize(most);
        }
        if (more > 0) missing.push_back({level, here, {}, more});
        for (size_t i = missing.size(); i-- > 0;)
            open.push_back(std::move(missing[i]));
    }
}

// Who wants it, up to whoever asked.
void Explainer::demands(size_t first, size_t depth) {
    struct Open {
        size_t depth;
        size_t unit;
        size_t more = 0;
    };
    std::vector<Open> open{{depth, first}};
    while (!open.empty()) {
        Open each = open.back();
        open.pop_back();
        if (each.more > 0) {
            say(each.depth, "more", "and " + std::to_string(each.more) + " more that depend on it");
            continue;
        }
        const Unit& unit = world_.units()[each.unit];
        size_t level = each.depth;
        if (each.unit != first) {
            add(level, "needed-by", each.unit, "needed by " + unit.shown);
            ++level;
        }
        if (traced_[each.unit]) {
            reasons_.back().text += ", as above";
            continue;
        }
        traced_[each.unit] = true;
        bool asked = false;
        if (unit.held_up()) {
            say(level, "operator", "somebody said `muster start`");
            asked = true;
        }
        std::string files = shown(places_.demands(unit.name()));
        if (!files.empty()) say(level, "configuration", "asked for in " + files);
        asked = asked || !files.empty();
        std::vector<size_t> above;
        for (size_t edge : unit.needed_by) {
            size_t from = world_.edges()[edge].from;
            bool again = std::find(above.begin(), above.end(), from) != above.end();
            if (from != each.unit && !again && world_.units()[from].pursues())
                above.push_back(from);
        }
        // A name that it provides is needed in its place.
        for (size_t i = 0; i < world_.units().size(); ++i) {
            const Unit& other = world_.units()[i];
            bool again = std::find(above.begin(), above.end(), i) != above.end();
            View provider = other.facts().get("provider");
            if (i != each.unit && !again && other.pursues() && provider.valid() &&
                provider == unit.name())
                above.push_back(i);
        }
        // Those that were not shown yet first, and milestones before all.
        std::stable_sort(above.begin(), above.end(), [&](size_t a, size_t b) {
            auto rank = [&](size_t i) {
                return (traced_[i] ? 2 : 0) + (world_.units()[i].is_milestone() ? 0 : 1);
            };
            return rank(a) < rank(b);
        });
        if (above.empty() && !asked) {
            std::string by = shown(places_.ties("started-by", unit.name()));
            if (unit.needed() && !by.empty())
                say(level, "trigger", "started by what is named in " + by);
            else if (unit.needed() && unit.number("demands") > 0)
                say(level, "program", "a program asks for it, by an assertion or by its interest");
            else if (unit.needed())
                say(level, "program", "a program asserts <require-service ...> for it");
        }
        size_t most = each.unit == first ? most_named : 2;
        size_t more = above.size() > most ? above.size() - most : 0;
        above.resize(above.size() - more);
        if (more > 0) open.push_back({level, each.unit, more});
        for (size_t i = above.size(); i-- > 0;)
            open.push_back({level, above[i]});
    }
}

void Explainer::nobody(size_t unit, size_t depth) {
    const Unit& each = world_.units()[unit];
    bool said = false;
    for (size_t edge : each.needed_by) {
        const Unit& other = world_.units()[world_.edges()[edge].from];
        if (said) break;
        say(depth, "nobody",
            "nobody needs it: what depends on it, as " + other.shown + ", is " + other.word());
        said = true;
    }
    if (!said) say(depth, "nobody", "nobody needs it");
    if (std::string by = shown(places_.ties("started-by", each.name())); !by.empty())
        say(depth, "note", "it is started by what is named in " + by);
    for (const Place& place : places_.demands(each.name()))
        say(depth, "note", "asked for in " + place.shown() + ", which is not in force now");
}

} // namespace

std::vector<Reason> why(const World& world, size_t unit, const Places& places, uint64_t now) {
    return Explainer(world, places, now).explain(unit);
}

std::vector<Row> rows_of(const std::vector<Reason>& reasons) {
    std::vector<Row> rows;
    for (const Reason& each : reasons) {
        Row row;
        row.depth = each.depth;
        row.text = each.text;
        if (each.kind == "service" && each.depth == 0)
            row.text =
                each.service + "  " + each.state + (each.text.empty() ? "" : " ") + each.text;
        else if (each.kind == "service")
            row.text = each.text + ": " + each.service + " is " + each.state;
        else if (each.kind == "needed-by")
            row.text += each.state == "running" ? "" : " (" + each.state + ")";
        if (each.depth == 0) row.colour = Colour::bold;
        if (each.kind == "missing" || each.kind == "failure" || each.kind == "cycle" ||
            each.kind == "undefined" || each.kind == "unprovided")
            row.colour = Colour::red;
        else if (each.kind == "stopped-by-operator" || each.kind == "disabled")
            row.colour = Colour::yellow;
        else if (each.kind == "configuration" || each.kind == "operator")
            row.colour = Colour::green;
        rows.push_back(std::move(row));
    }
    return rows;
}

void write_json(Json& json, const std::vector<Reason>& reasons) {
    size_t open = 0;
    json.array();
    for (size_t i = 0; i < reasons.size(); ++i) {
        const Reason& each = reasons[i];
        for (; open > each.depth; --open)
            json.end().end();
        json.object().pair("kind", each.kind);
        if (!each.service.empty()) json.pair("service", each.service).pair("state", each.state);
        if (!each.text.empty()) json.pair("text", each.text);
        bool parent = i + 1 < reasons.size() && reasons[i + 1].depth > each.depth;
        if (parent) {
            json.key("because").array();
            ++open;
        } else {
            json.end();
        }
    }
    for (; open > 0; --open)
        json.end().end();
    json.end();
}

} // namespace muster::command
