// Where the nodes of a directed graph go, in layers from left to right (the method of Sugiyama,
// Tagawa and Toda, 1981): each edge leads to a layer further right; edges over several layers get a
// bend in each; the order within a layer is that with the fewest crossings that sweeps by the
// barycentres of neighbours find; then each node comes as near to its neighbours as the order and
// the distances allow, by least squares (pool adjacent violators).
//
// Edges on a circle are turned around where that is needed, and marked. Nodes that hang together
// are laid out for themselves, the largest group on top; those without any edge stand below in
// columns.
#pragma once

#include <cstddef>
#include <vector>

namespace muster::command {

struct LayoutNode {
    double width = 0; // given
    double x = 0;     // the left edge
    double y = 0;     // the middle
    size_t layer = 0;
};

struct LayoutEdge {
    size_t from = 0; // given; to the left of `to`, unless it is turned
    size_t to = 0;
    bool turned = false;
    std::vector<std::pair<double, double>> bends; // from left to right, a pair for each layer
};

struct Layout {
    std::vector<LayoutNode> nodes;
    std::vector<LayoutEdge> edges; // none to itself
    double node_height = 24;
    double row_gap = 10;
    double layer_gap = 70;
    double wrap = 1'100; // how wide the columns of single nodes may become
    double width = 0;    // result
    double height = 0;

    // Sets what is not given.
    void arrange();
};

// The nearest places to `wanted` that are `gap` apart at least and in this order.
std::vector<double> spread(const std::vector<double>& wanted, const std::vector<double>& gap);

// Crossings between two neighbouring layers; each pair is (place on the left, place on the right).
size_t crossings(std::vector<std::pair<size_t, size_t>> edges);

} // namespace muster::command
