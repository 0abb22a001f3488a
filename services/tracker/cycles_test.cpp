#include "services/tracker/cycles.h"

#include "init/base/catch.h"

using muster::services::find_cycles;
using Cycles = std::vector<std::vector<size_t>>;

TEST_CASE("a chain has no cycle") { CHECK(find_cycles({{1}, {2}, {}}).empty()); }

TEST_CASE("a cycle is given in its order") {
    CHECK(find_cycles({{1}, {2}, {0}}) == Cycles{{0, 1, 2}});
}

TEST_CASE("what leads into a cycle is not on it") {
    CHECK(find_cycles({{1}, {2}, {1}, {0, 1}}) == Cycles{{1, 2}});
}

TEST_CASE("two cycles are two, the shortest way is told of a tangled one") {
    CHECK(find_cycles({{1}, {0}, {3}, {2}}) == Cycles{{0, 1}, {2, 3}});
    CHECK(find_cycles({{1, 2}, {2}, {0}}) == Cycles{{0, 2}});
}

TEST_CASE("a long chain needs no deep stack") {
    std::vector<std::vector<size_t>> edges(100'000);
    for (size_t i = 0; i < edges.size(); ++i)
        edges[i] = {(i + 1) % edges.size()};
    CHECK(find_cycles(edges).at(0).size() == edges.size());
}
