#include "services/tracker/cycles.h"

#include <algorithm>
#include <cstdint>

namespace muster::services {

namespace {

constexpr size_t none = SIZE_MAX;

// Tarjan's strongly connected components, with the call stack as a vector: `component[i]` names
// the component of node i.
std::vector<size_t> components(const std::vector<std::vector<size_t>>& edges) {
    size_t count = edges.size();
    std::vector<size_t> index(count, none), low(count, 0), component(count, none);
    std::vector<size_t> open; // visited, not yet in a component
    struct Call {
        size_t node;
        size_t next_edge;
    };
    std::vector<Call> calls;
    size_t next_index = 0;
    for (size_t root = 0; root < count; ++root) {
        if (index[root] != none) continue;
        calls.push_back({root, 0});
        while (!calls.empty()) {
            auto& [node, next_edge] = calls.back();
            if (next_edge == 0 && index[node] == none) {
                index[node] = low[node] = next_index++;
                open.push_back(node);
            }
            if (next_edge < edges[node].size()) {
                size_t to = edges[node][next_edge++];
                if (index[to] == none)
                    calls.push_back({to, 0});
                else if (component[to] == none)
                    low[node] = std::min(low[node], index[to]);
                continue;
            }
            size_t done = node;
            calls.pop_back();
            if (!calls.empty())
                low[calls.back().node] = std::min(low[calls.back().node], low[done]);
            if (low[done] != index[done]) continue;
            for (size_t member = none; member != done;) {
                member = open.back();
                open.pop_back();
                component[member] = done;
            }
        }
    }
    return component;
}

// The shortest way from `start` back to itself within its component, by breadth.
std::vector<size_t> shortest_cycle(const std::vector<std::vector<size_t>>& edges,
                                   const std::vector<size_t>& component, size_t start) {
    std::vector<size_t> came_from(edges.size(), none);
    std::vector<size_t> queue{start};
    for (size_t at = 0; at < queue.size(); ++at) {
        for (size_t to : edges[queue[at]]) {
            if (component[to] != component[start]) continue;
            if (to == start) {
                std::vector<size_t> cycle;
                for (size_t node = queue[at]; node != start; node = came_from[node])
                    cycle.push_back(node);
                cycle.push_back(start);
                std::reverse(cycle.begin(), cycle.end());
                return cycle;
            }
            if (came_from[to] != none) continue;
            came_from[to] = queue[at];
            queue.push_back(to);
        }
    }
    return {};
}

} // namespace

std::vector<std::vector<size_t>> find_cycles(const std::vector<std::vector<size_t>>& edges) {
    std::vector<size_t> component = components(edges);
    std::vector<size_t> size(edges.size(), 0);
    for (size_t name : component)
        ++size[name];
    std::vector<std::vector<size_t>> cycles;
    std::vector<bool> reported(edges.size(), false);
    for (size_t node = 0; node < edges.size(); ++node) {
        size_t name = component[node];
        if (size[name] < 2 || reported[name]) continue;
        reported[name] = true;
        cycles.push_back(shortest_cycle(edges, component, node));
    }
    return cycles;
}

} // namespace muster::services
