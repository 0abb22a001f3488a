#include "services/muster/plot.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>

#include "services/muster/figures.h"
#include "services/muster/screen.h"
#include "services/muster/svg.h"
#include "services/muster/views.h"

namespace muster::command {

namespace {

constexpr double margin = 24;
constexpr double row_height = 20;
constexpr double bar_height = 12;
constexpr double chart_width = 960;
constexpr double label_room = 96; // behind the last bar, for its time
constexpr size_t longest_name = 36;
constexpr size_t most_rows = 2'000;

struct Bar {
    size_t unit;
    uint64_t demanded, starting, ready; // 0: not yet
    bool critical = false;
};

struct Chart {
    std::vector<Bar> bars;
    std::vector<size_t> path; // units, what was up last first
    size_t target = nowhere;
    uint64_t reached = 0; // when the target was up
    uint64_t begin = 0;   // of the first demand
    uint64_t end = 0;     // of the axis
};

Chart chart_of(const World& world, const PlotFacts& facts) {
    Chart chart;
    chart.target = boot_target(world);
    if (chart.target != nowhere) {
        chart.path = critical_path(world, chart.target);
        chart.reached = world.units()[chart.target].first_rise().ready;
    }
    uint64_t until = chart.reached ? chart.reached : facts.now;
    for (size_t i = 0; i < world.units().size(); ++i) {
        const Unit& unit = world.units()[i];
        services::Rise rise = unit.first_rise();
        if (rise.demanded == 0 || rise.demanded < facts.zero || rise.demanded > until) continue;
        if (rise.ready == 0 && unit.is("stopped")) continue;
        bool critical = std::find(chart.path.begin(), chart.path.end(), i) != chart.path.end();
        chart.bars.push_back({i, rise.demanded, rise.starting, rise.ready, critical});
    }
    std::sort(chart.bars.begin(), chart.bars.end(), [](const Bar& a, const Bar& b) {
        auto key = [](const Bar& bar) {
            uint64_t never = ~uint64_t{0};
            return std::tuple(bar.starting ? bar.starting : never, bar.ready ? bar.ready : never,
                              bar.demanded, bar.unit);
        };
        return key(a) < key(b);
    });
    if (chart.bars.size() > most_rows) chart.bars.resize(most_rows);
    chart.begin = until;
    chart.end = until;
    // What was up long after all that the boot is about does not stretch the axis.
    uint64_t limit = until + std::max<uint64_t>((until - facts.zero) / 2, 100'000);
    for (const Bar& bar : chart.bars) {
        chart.begin = std::min(chart.begin, bar.demanded);
        if (bar.ready && bar.ready <= limit) chart.end = std::max(chart.end, bar.ready);
    }
    chart.end = std::max(chart.end, facts.zero + 1'000);
    return chart;
}

std::string seconds_label(uint64_t us, uint64_t step) {
    char text[32];
    int digits = step >= 1'000'000 ? 0 : step >= 100'000 ? 1 : step >= 10'000 ? 2 : 3;
    if (step < 1'000)
        std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(us) / 1e3);
    else if (step < 10'000)
        std::snprintf(text, sizeof text, "%.0f ms", static_cast<double>(us) / 1e3);
    else
        std::snprintf(text, sizeof text, "%.*f s", digits, static_cast<double>(us) / 1e6);
    return text;
}

// "211 ms" of its own, and what is to be said beside it.
std::string bar_label(const World& world, const Bar& bar, const Chart& chart) {
    const Unit& unit = world.units()[bar.unit];
    if (bar.ready == 0) return unit.word();
    if (unit.is_milestone()) return "";
    std::string own = duration(bar.ready - bar.starting);
    if (unit.is("failed")) return own + ", failed then";
    return bar.ready > chart.end ? own + ", up later" : own;
}

class Drawing {
  public:
    Drawing(const World& world, const PlotFacts& facts)
        : world_(world), facts_(facts), chart_(chart_of(world, facts)) {}

    std::string draw();

  private:
    double x(uint64_t time) const {
        time = std::clamp(time, facts_.zero, chart_.end);
        return left_ + chart_width * static_cast<double>(time - facts_.zero) /
                           static_cast<double>(chart_.end - facts_.zero);
    }
    double row(size_t index) const { return top_ + row_height * static_cast<double>(index); }

    void heading(Svg& svg) const;
    void legend(Svg& svg, double y) const;
    void axis(Svg& svg, double bottom) const;
    void bar(Svg& svg, const Bar& bar, double y) const;
    void label(Svg& svg, const Bar& bar, double y) const;
    void links(Svg& svg, size_t first_row) const;

    const World& world_;
    const PlotFacts& facts_;
    Chart chart_;
    Screen names_; // for cutting
    double left_ = 0;
    double top_ = 0;
};

void Drawing::heading(Svg& svg) const {
    svg.text(margin, 36, facts_.title, "h");
    std::string line = facts_.system;
    auto add = [&](const std::string& more) { line += (line.empty() ? "" : " · ") + more; };
    add(std::to_string(chart_.bars.size()) + " services");
    if (chart_.reached)
        add(world_.units()[chart_.target].shown + " reached after " +
            duration(chart_.reached - facts_.zero));
    if (!facts_.before.empty() && chart_.begin > facts_.zero)
        add(facts_.before + " " + duration(chart_.begin - facts_.zero));
    svg.text(margin, 58, line, "d");
    // What took how long on the way, in the order of time.
    std::string path;
    for (size_t i = chart_.path.size(); i-- > 0;) {
        const Unit& unit = world_.units()[chart_.path[i]];
        services::Rise rise = unit.first_rise();
        std::string step = names_.cut(unit.shown, longest_name);
        if (!unit.is_milestone()) step += " " + duration(rise.ready - rise.starting);
        path += (path.empty() ? "" : " → ") + step;
    }
    double width = left_ + chart_width + label_room - margin;
    size_t room = static_cast<size_t>(width / svg_letter) - 15;
    if (!path.empty()) svg.text(margin, 78, "critical path: " + names_.cut(path, room), "k");
}

void Drawing::legend(Svg& svg, double y) const {
    double at = margin;
    auto entry = [&](std::string_view css, const char* text) {
        svg.rect(at, y - 10, 22, bar_height, css, 2);
        svg.text(at + 28, y, text, "d");
        at += 28 + svg_letter * static_cast<double>(columns(text)) + 24;
    };
    if (!facts_.before.empty()) entry("kernel", facts_.before.c_str());
    entry("wait", "waits for others");
    entry("own", "starts");
    entry("crit", "starts, on the critical path");
    entry("bad", "failed");
    entry("cut", "not up yet");
    svg.path("M" + svg_number(at + 8) + " " + svg_number(y - 11) + "l7 7l-7 7l-7 -7z", "stone");
    svg.text(at + 22, y, "milestone", "d");
}

void Drawing::axis(Svg& svg, double bottom) const {
    uint64_t length = chart_.end - facts_.zero;
    uint64_t step = tick_step(length, 12);
    for (uint64_t at = 0; at <= length; at += step) {
        double place = x(facts_.zero + at);
        svg.line(place, top_ - 4, place, bottom + 4, at == 0 ? "axis" : "grid");
        for (double y : {top_ - 10, bottom + 18})
            svg.text(place, y, seconds_label(at, step), "d", "middle");
    }
}

void Drawing::bar(Svg& svg, const Bar& bar, double y) const {
    const Unit& unit = world_.units()[bar.unit];
    double inset = (row_height - bar_height) / 2;
    std::string tip = unit.shown + ": wanted at " + duration(bar.demanded - facts_.zero);
    if (bar.starting) tip += ", started at " + duration(bar.starting - facts_.zero);
    if (bar.ready) tip += ", up at " + duration(bar.ready - facts_.zero);
    svg.open(tip);
    svg.text(left_ - 10, y + row_height - 6, names_.cut(unit.shown, longest_name),
             bar.critical ? "k" : "t", "end");
    uint64_t started = bar.starting ? bar.starting : chart_.end;
    double from = x(bar.demanded);
    double middle = x(started);
    double to = bar.ready ? x(bar.ready) : x(chart_.end);
    if (middle - from >= 0.5)
        svg.rect(from, y + inset, middle - from, bar_height, bar.starting ? "wait" : "cut", 2);
    if (bar.starting && !unit.is_milestone()) {
        bool failed = unit.is("failed");
        const char* css = failed ? "bad" : !bar.ready ? "cut" : bar.critical ? "crit" : "own";
        svg.rect(middle, y + inset, std::max(to - middle, 2.0), bar_height, css, 2);
    }
    if (unit.is_milestone() && bar.ready)
        svg.path("M" + svg_number(to) + " " + svg_number(y + 3) + "l7 7l-7 7l-7 -7z", "stone");
    svg.close();
}

// Behind the bar, over whatever line goes through there.
void Drawing::label(Svg& svg, const Bar& bar, double y) const {
    double end = bar.ready ? x(bar.ready) : x(chart_.end);
    if (bar.starting) end = std::max(end, x(bar.starting) + 2);
    bool failed = world_.units()[bar.unit].is("failed");
    svg.text(end + 6, y + row_height - 6, bar_label(world_, bar, chart_),
             failed ? "e over" : "d over");
}

// From the end of each on the critical path to the beginning of what waited for it.
void Drawing::links(Svg& svg, size_t first_row) const {
    auto row_of = [&](size_t unit) {
        for (size_t i = 0; i < chart_.bars.size(); ++i)
            if (chart_.bars[i].unit == unit) return first_row + i;
        return nowhere;
    };
    for (size_t i = 0; i + 1 < chart_.path.size(); ++i) {
        size_t later = row_of(chart_.path[i]);
        size_t earlier = row_of(chart_.path[i + 1]);
        if (later == nowhere || earlier == nowhere) continue;
        double from = x(world_.units()[chart_.path[i + 1]].first_rise().ready);
        double to = x(world_.units()[chart_.path[i]].first_rise().starting);
        double y1 = row(earlier) + row_height / 2;
        double y2 = row(later) + row_height / 2;
        double edge = y2 > y1 ? bar_height / 2 : -bar_height / 2;
        svg.path("M" + svg_number(from) + " " + svg_number(y1 + edge) + "V" +
                     svg_number(y2 - 2 * edge) + "H" + svg_number(to) + "V" + svg_number(y2 - edge),
                 "link");
    }
}

std::string Drawing::draw() {
    size_t longest = columns(facts_.before);
    for (const Bar& bar : chart_.bars)
        longest =
            std::max(longest, std::min(longest_name, columns(world_.units()[bar.unit].shown)));
    left_ = margin + svg_letter * static_cast<double>(std::max<size_t>(longest, 12)) + 14;
    top_ = 142;
    bool before = !facts_.before.empty() && chart_.begin > facts_.zero;
    size_t rows = chart_.bars.size() + (before ? 1 : 0);
    double bottom = row(rows);
    double width = left_ + chart_width + label_room + margin;
    Svg svg(width, bottom + 40, facts_.title);
    heading(svg);
    legend(svg, 106);
    if (chart_.bars.empty()) {
        svg.text(margin, top_ + 20, "No service was wanted yet.", "t");
        return svg.finish();
    }
    for (size_t i = 0; i < rows; i += 2)
        svg.rect(margin, row(i), width - 2 * margin, row_height, "band");
    axis(svg, bottom);
    if (before) {
        svg.text(left_ - 10, row(0) + row_height - 6, facts_.before, "t", "end");
        svg.rect(x(facts_.zero), row(0) + 4, x(chart_.begin) - x(facts_.zero), bar_height, "kernel",
                 2);
        svg.text(x(chart_.begin) + 6, row(0) + row_height - 6, duration(chart_.begin - facts_.zero),
                 "d");
    }
    for (size_t i = 0; i < chart_.bars.size(); ++i)
        bar(svg, chart_.bars[i], row(i + (before ? 1 : 0)));
    links(svg, before ? 1 : 0);
    if (chart_.reached)
        svg.line(x(chart_.reached), top_ - 4, x(chart_.reached), bottom + 4, "mark");
    for (size_t i = 0; i < chart_.bars.size(); ++i)
        label(svg, chart_.bars[i], row(i + (before ? 1 : 0)));
    return svg.finish();
}

} // namespace

uint64_t tick_step(uint64_t length, uint64_t most) {
    for (uint64_t power = 1;; power *= 10)
        for (uint64_t factor : {1, 2, 5})
            if (length / (factor * power) <= most || power > length) return factor * power;
}

PlotFacts plot_facts(const World& world) {
    PlotFacts facts;
    utsname name{};
    uname(&name);
    facts.title = std::string("Start of ") + name.nodename;
    facts.system = std::string(name.sysname) + " " + name.release + " " + name.machine;
    facts.now = now_us();
    facts.before = "kernel and initrd";
    uint64_t first = facts.now;
    for (const Unit& each : world.units())
        if (uint64_t demanded = each.first_rise().demanded) first = std::min(first, demanded);
    // The kernel's time is that of the host there, and so where the system runs as any program.
    constexpr uint64_t longest_boot = 600'000'000;
    if (world.container() || first > longest_boot) {
        facts.before.clear();
        facts.zero = first;
        Process init = world.container() ? process_of(1) : Process();
        if (init.started > 0 && init.started < first && first - init.started < longest_boot) {
            facts.before = "init";
            facts.zero = init.started;
        }
    }
    return facts;
}

std::string plot_svg(const World& world, const PlotFacts& facts) {
    return Drawing(world, facts).draw();
}

void write_plot_json(Json& json, const World& world, const PlotFacts& facts) {
    Chart chart = chart_of(world, facts);
    json.object().pair("title", facts.title).pair("system", facts.system);
    json.key("zero_seconds").seconds(facts.zero);
    if (chart.reached) {
        json.pair("target", world.units()[chart.target].shown);
        json.key("reached_seconds").seconds(chart.reached);
    }
    json.key("critical_path").array();
    for (size_t i = chart.path.size(); i-- > 0;)
        json.string(world.units()[chart.path[i]].shown);
    json.end().key("services").array();
    for (const Bar& bar : chart.bars) {
        json.object().pair("name", world.units()[bar.unit].shown);
        json.key("demanded_seconds").seconds(bar.demanded);
        if (bar.starting) json.key("starting_seconds").seconds(bar.starting);
        if (bar.ready) json.key("ready_seconds").seconds(bar.ready);
        json.key("critical").boolean(bar.critical).end();
    }
    json.end().end();
}

} // namespace muster::command
