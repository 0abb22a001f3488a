#include "services/muster/layout.h"

#include <random>

#include "init/base/catch.h"

using namespace muster::command;

namespace {

Layout layout_of(size_t nodes, std::vector<std::pair<size_t, size_t>> edges) {
    Layout layout;
    for (size_t i = 0; i < nodes; ++i)
        layout.nodes.push_back({.width = 50.0 + static_cast<double>(i % 7) * 20});
    for (auto [from, to] : edges)
        layout.edges.push_back({.from = from, .to = to, .turned = false, .bends = {}});
    layout.arrange();
    return layout;
}

// Nothing lies on anything else, everything within the picture, edges lead to the right.
void check_sound(const Layout& layout) {
    for (size_t i = 0; i < layout.nodes.size(); ++i) {
        const LayoutNode& a = layout.nodes[i];
        CHECK(a.x >= 0);
        CHECK(a.y - layout.node_height / 2 >= -0.001);
        CHECK(a.x + a.width <= layout.width + 0.001);
        CHECK(a.y + layout.node_height / 2 <= layout.height + 0.001);
        for (size_t j = 0; j < i; ++j) {
            const LayoutNode& b = layout.nodes[j];
            bool apart = a.x >= b.x + b.width || b.x >= a.x + a.width ||
                         std::abs(a.y - b.y) >= layout.node_height;
            CHECK(apart);
        }
    }
    for (const LayoutEdge& edge : layout.edges) {
        const LayoutNode& left = layout.nodes[edge.turned ? edge.to : edge.from];
        const LayoutNode& right = layout.nodes[edge.turned ? edge.from : edge.to];
        CHECK(left.layer < right.layer);
        double x = left.x + left.width;
        for (auto [bend, y] : edge.bends) {
            CHECK(bend >= x - 0.001);
            x = bend;
        }
        CHECK(right.x >= x);
    }
}

} // namespace

TEST_CASE("layout: a chain is a straight line from left to right") {
    Layout layout = layout_of(4, {{0, 1}, {1, 2}, {2, 3}});
    check_sound(layout);
    for (size_t i = 1; i < 4; ++i)
        CHECK(layout.nodes[i].y == Catch::Detail::Approx(layout.nodes[0].y));
}

TEST_CASE("layout: two ways that need not cross do not") {
    Layout layout = layout_of(4, {{0, 3}, {1, 2}});
    check_sound(layout);
    CHECK(layout.nodes[0].y == Catch::Detail::Approx(layout.nodes[3].y));
    // In one group, with a node that both lead to.
    Layout joined = layout_of(5, {{0, 3}, {1, 2}, {2, 4}, {3, 4}});
    check_sound(joined);
    CHECK((joined.nodes[0].y < joined.nodes[1].y) == (joined.nodes[3].y < joined.nodes[2].y));
}

TEST_CASE("layout: circles are opened, and every edge still leads to the right") {
    Layout layout = layout_of(5, {{0, 1}, {1, 2}, {2, 0}, {2, 3}, {3, 4}, {4, 3}});
    check_sound(layout);
    size_t turned = 0;
    for (const LayoutEdge& edge : layout.edges)
        turned += edge.turned;
    CHECK(turned == 2);
}

TEST_CASE("layout: nodes without edges stand below, in columns") {
    Layout layout = layout_of(40, {{0, 1}});
    check_sound(layout);
    for (size_t i = 2; i < 40; ++i)
        CHECK(layout.nodes[i].y > layout.nodes[0].y);
    CHECK(layout.height < 400);
}

TEST_CASE("layout: random graphs of many shapes are sound") {
    std::mt19937 random(7);
    for (size_t nodes : {1u, 2u, 10u, 30u, 60u}) {
        std::vector<std::pair<size_t, size_t>> edges;
        for (size_t i = 0; nodes > 1 && i < nodes * 2; ++i) {
            size_t from = random() % nodes, to = random() % nodes;
            if (from != to) edges.emplace_back(from, to);
        }
        check_sound(layout_of(nodes, edges));
    }
}

TEST_CASE("layout: places are spread as near to what is wanted as the distances allow") {
    CHECK(spread({}, {}).empty());
    CHECK(spread({0, 100}, {10}) == std::vector<double>{0, 100});
    CHECK(spread({50, 50}, {10}) == std::vector<double>{45, 55});
    CHECK(spread({100, 0}, {10}) == std::vector<double>{45, 55});
    CHECK(spread({0, 0, 90}, {10, 10}) == std::vector<double>{-5, 5, 90});
}

TEST_CASE("layout: crossings are counted") {
    CHECK(crossings({}) == 0);
    CHECK(crossings({{0, 0}, {1, 1}}) == 0);
    CHECK(crossings({{0, 1}, {1, 0}}) == 1);
    CHECK(crossings({{0, 0}, {0, 1}, {1, 0}, {1, 1}}) == 1);
    CHECK(crossings({{0, 2}, {1, 1}, {2, 0}}) == 3);
}
