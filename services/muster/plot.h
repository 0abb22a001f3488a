// The boot as a chart: a row for each service, from when it was wanted to when it was up, and the
// path that decided how long all of it took.
#pragma once

#include <string>

#include "services/muster/json.h"
#include "services/muster/world.h"

namespace muster::command {

struct PlotFacts {
    uint64_t zero = 0;  // where the axis begins, microseconds of CLOCK_MONOTONIC
    std::string before; // what was before the first service: "kernel and initrd"
    std::string title;  // "Start of HOST"
    std::string system; // "Linux 6.1 x86_64"
    uint64_t now = 0;
};

// Of the machine this runs on.
PlotFacts plot_facts(const World& world);
// An SVG. Without any service that was wanted it says so.
std::string plot_svg(const World& world, const PlotFacts& facts);
void write_plot_json(Json& json, const World& world, const PlotFacts& facts);

// The step between ticks of an axis of `length`, so that there are at most `most` of them: 1, 2 or
// 5 times a power of ten.
uint64_t tick_step(uint64_t length, uint64_t most);

} // namespace muster::command
