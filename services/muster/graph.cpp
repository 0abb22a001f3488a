#include "services/muster/graph.h"

#include <algorithm>
#include <map>

#include "services/muster/layout.h"
#include "services/muster/screen.h"
#include "services/muster/svg.h"

namespace muster::command {

namespace {

constexpr size_t longest_name = 34;
constexpr double margin = 24;
constexpr double top = 104;

// A service, or an assertion that one depends on.
struct Node {
    size_t unit = nowhere;
    std::string label;
    bool met = true;
};

struct Link {
    size_t from; // what is needed
    size_t to;   // who needs it
    bool met;
    bool ring; // both wait for each other, with others or without
};

struct Picture {
    std::vector<Node> nodes;
    std::vector<Link> links;
};

std::vector<bool> chosen(const World& world, const GraphOptions& options) {
    const auto& units = world.units();
    std::vector<bool> in(units.size(), options.units.empty());
    if (options.units.empty()) {
        if (!options.all)
            for (size_t i = 0; i < units.size(); ++i)
                in[i] = !units[i].is("stopped");
        return in;
    }
    for (bool down : {true, false}) {
        std::vector<size_t> open = options.units;
        std::vector<bool> seen(units.size());
        while (!open.empty()) {
            size_t each = open.back();
            open.pop_back();
            if (seen[each]) continue;
            seen[each] = in[each] = true;
            for (size_t edge : down ? units[each].needs : units[each].needed_by) {
                size_t other = down ? world.edges()[edge].to : world.edges()[edge].from;
                if (other != nowhere) open.push_back(other);
            }
        }
    }
    return in;
}

Picture picture_of(const World& world, const GraphOptions& options) {
    Picture picture;
    const auto& units = world.units();
    std::vector<bool> in = chosen(world, options);
    std::vector<size_t> node_of(units.size(), nowhere);
    for (size_t i = 0; i < units.size(); ++i) {
        if (!in[i]) continue;
        node_of[i] = picture.nodes.size();
        picture.nodes.push_back({i, units[i].shown});
    }
    std::map<std::string, size_t> facts;
    for (size_t i = 0; i < units.size(); ++i) {
        if (!in[i]) continue;
        std::vector<size_t> edges = options.all ? units[i].needs : world.essential_needs(i);
        std::vector<size_t> to_whom;
        for (size_t each : edges) {
            const Edge& edge = world.edges()[each];
            if (edge.to == nowhere || edge.to == i || !in[edge.to]) continue;
            if (std::find(to_whom.begin(), to_whom.end(), edge.to) != to_whom.end()) continue;
            to_whom.push_back(edge.to);
            bool ring = units[i].facts().get("cycle").valid() &&
                        units[edge.to].facts().get("cycle").valid();
            picture.links.push_back({node_of[edge.to], node_of[i], edge.met, ring});
        }
        for (size_t each : units[i].needs) {
            const Edge& edge = world.edges()[each];
            if (edge.to != nowhere) continue;
            std::string text = dependee_text(edge.what);
            auto [place, fresh] = facts.emplace(text, picture.nodes.size());
            if (fresh) picture.nodes.push_back({nowhere, text, edge.met});
            picture.nodes[place->second].met &= edge.met;
            picture.links.push_back({place->second, node_of[i], edge.met, false});
        }
    }
    return picture;
}

void legend(Svg& svg, double y) {
    double x = margin;
    for (const char* word : {"running", "complete", "starting", "waiting", "failed", "stopped"}) {
        svg.rect(x, y - 10, 12, 12, std::string("s-") + word, 2);
        svg.text(x + 18, y, word, "d");
        x += 18 + svg_letter * static_cast<double>(columns(word)) + 20;
    }
    auto arrow = [&](const char* css, const char* text) {
        svg.line(x, y - 4, x + 28, y - 4, css);
        svg.text(x + 36, y, text, "d");
        x += 36 + svg_letter * static_cast<double>(columns(text)) + 20;
    };
    arrow("edge", "needed by");
    arrow("open", "waited for");
    arrow("ring", "in a circle");
    svg.rect(x, y - 11, 24, 14, "fact", 3);
    svg.text(x + 32, y, "any assertion like this", "d");
}

void draw_link(Svg& svg, const Layout& layout, const LayoutEdge& edge, const Link& link) {
    const LayoutNode& left = layout.nodes[edge.turned ? edge.to : edge.from];
    const LayoutNode& right = layout.nodes[edge.turned ? edge.from : edge.to];
    std::vector<std::pair<double, double>> points{{left.x + left.width, left.y}};
    points.insert(points.end(), edge.bends.begin(), edge.bends.end());
    points.emplace_back(right.x, right.y);
    const char* css = link.ring ? "ring" : link.met ? "edge" : "open";
    // The tip stands at who needs it, which is on the left if the edge was turned.
    double first = edge.turned ? 7 : 0;
    double last = edge.turned ? 0 : 7;
    auto point = [](double x, double y) { return svg_number(x) + " " + svg_number(y); };
    std::string path = "M" + point(points[0].first + first, points[0].second);
    for (size_t i = 1; i < points.size(); ++i) {
        double x1 = points[i - 1].first, y1 = points[i - 1].second;
        double x2 = points[i].first - (i + 1 == points.size() ? last : 0), y2 = points[i].second;
        if (y1 == y2) {
            path += "L" + point(x2, y2);
            continue;
        }
        double middle = (x1 + x2) / 2;
        path += "C" + point(middle, y1) + " " + point(middle, y2) + " " + point(x2, y2);
    }
    svg.path(path, css);
    const char* tip = link.ring ? "tip-ring" : link.met ? "tip" : "tip-open";
    if (edge.turned)
        svg.path("M" + point(points[0].first, points[0].second) + "l8 -4v8z", tip);
    else
        svg.path("M" + point(points.back().first, points.back().second) + "l-8 -4v8z", tip);
}

} // namespace

std::string graph_svg(const World& world, const GraphOptions& options) {
    Picture picture = picture_of(world, options);
    Screen names;
    Layout layout;
    for (const Node& node : picture.nodes) {
        size_t letters = std::min(columns(node.label), longest_name);
        layout.nodes.push_back({.width = svg_letter * static_cast<double>(letters) +
                                         (node.unit == nowhere ? 18 : 28)});
    }
    for (const Link& link : picture.links)
        layout.edges.push_back({.from = link.from, .to = link.to, .turned = false, .bends = {}});
    layout.arrange();
    constexpr double least = 1'130; // of the legend
    double width = std::max(layout.width, least) + 2 * margin;
    Svg svg(width, top + layout.height + margin, options.title);
    svg.text(margin, 36, options.title, "h");
    size_t services = 0, up = 0;
    for (const Node& node : picture.nodes)
        if (node.unit != nowhere) {
            ++services;
            up += world.units()[node.unit].up();
        }
    svg.text(margin, 58,
             std::to_string(services) + " services, " + std::to_string(up) +
                 " of them up. What is needed stands to the left of what needs it." +
                 (options.all ? "" : " Dependencies that others imply are left out."),
             "d");
    legend(svg, 84);
    // Everything below moves down at once.
    for (LayoutNode& node : layout.nodes) {
        node.x += margin;
        node.y += top;
    }
    for (LayoutEdge& edge : layout.edges)
        for (auto& [x, y] : edge.bends) {
            x += margin;
            y += top;
        }
    for (bool important : {false, true})
        for (size_t i = 0; i < picture.links.size(); ++i)
            if ((picture.links[i].ring || !picture.links[i].met) == important)
                draw_link(svg, layout, layout.edges[i], picture.links[i]);
    for (size_t i = 0; i < picture.nodes.size(); ++i) {
        const Node& node = picture.nodes[i];
        const LayoutNode& place = layout.nodes[i];
        double y = place.y - layout.node_height / 2;
        std::string label = names.cut(node.label, longest_name);
        if (node.unit == nowhere) {
            svg.open(node.label + (node.met ? ": there" : ": nobody asserts it"));
            svg.rect(place.x, y, place.width, layout.node_height, node.met ? "fact" : "lost", 3);
            svg.text(place.x + 9, place.y + 4, label, node.met ? "t" : "e");
        } else {
            const Unit& unit = world.units()[node.unit];
            std::string word = unit.word();
            bool named = std::find(options.units.begin(), options.units.end(), node.unit) !=
                         options.units.end();
            bool lost = unit.facts().get("undefined").valid();
            const char* css = lost ? "lost" : named ? "here" : "node";
            svg.open(node.label + ": " + word + (lost ? ", nobody defines it" : ""));
            svg.rect(place.x, y, place.width, layout.node_height, css, 4);
            svg.rect(place.x + 7, place.y - 5, 10, 10, "s-" + word, 2);
            svg.text(place.x + 22, place.y + 4, label, word == "stopped" ? "d" : "t");
        }
        svg.close();
    }
    return svg.finish();
}

std::string graph_dot(const World& world, const GraphOptions& options) {
    Picture picture = picture_of(world, options);
    auto quoted = [](const std::string& text) {
        std::string result = "\"";
        for (char each : text) {
            if (each == '"' || each == '\\') result += '\\';
            result += each;
        }
        return result + "\"";
    };
    auto colour = [&](const Node& node) -> std::string {
        if (node.unit == nowhere) return node.met ? "#8c959f" : "#d64545";
        std::string word = world.units()[node.unit].word();
        if (word == "running") return "#2da44e";
        if (word == "complete") return "#7fb8a4";
        if (word == "waiting") return "#e0a800";
        if (word == "failed") return "#d64545";
        return word == "stopped" ? "#afb8c1" : "#2f81c1";
    };
    std::string text = "digraph muster {\n    rankdir=LR;\n    node [shape=box, fontname="
                       "\"monospace\", fontsize=11];\n";
    for (size_t i = 0; i < picture.nodes.size(); ++i) {
        const Node& node = picture.nodes[i];
        text += "    n" + std::to_string(i) + " [label=" + quoted(node.label) + ", color=\"" +
                colour(node) + "\"" + (node.unit == nowhere ? ", style=dashed" : "") + "];\n";
    }
    for (const Link& link : picture.links)
        text += "    n" + std::to_string(link.from) + " -> n" + std::to_string(link.to) +
                (link.ring  ? " [color=\"#d64545\"]"
                 : link.met ? ""
                            : " [color=\"#e0a800\", style=dashed]") +
                ";\n";
    return text + "}\n";
}

} // namespace muster::command
