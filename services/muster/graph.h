// Who depends on what, as a picture.
#pragma once

#include <string>
#include <vector>

#include "services/muster/world.h"

namespace muster::command {

struct GraphOptions {
    std::vector<size_t> units; // only these, what they depend on, and what depends on them
    bool all = false;          // what is stopped too, and dependencies that others imply
    std::string title;
};

// An SVG, laid out by ourselves (layout.h): what is needed stands to the left of what needs it.
std::string graph_svg(const World& world, const GraphOptions& options);
// The same for graphviz.
std::string graph_dot(const World& world, const GraphOptions& options);

} // namespace muster::command
