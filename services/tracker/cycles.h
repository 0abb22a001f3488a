// Finds dependency cycles among services that wait.
#pragma once

#include <cstddef>
#include <vector>

namespace muster::services {

// `edges[i]` are the nodes that node i waits for. Returns one cycle for each strongly connected
// component of more than one node: its nodes in order, each waiting for the next, the last for the
// first. Cost: nodes plus edges; no recursion.
std::vector<std::vector<size_t>> find_cycles(const std::vector<std::vector<size_t>>& edges);

} // namespace muster::services
