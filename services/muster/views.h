// What `tree`, `blame` and `status NAME` print, from what `$status` and the kernel say.
#pragma once

#include <string>
#include <vector>

#include "services/log/reader.h"
#include "services/muster/figures.h"
#include "services/muster/json.h"
#include "services/muster/outline.h"
#include "services/muster/places.h"
#include "services/muster/world.h"

namespace muster::command {

// --- tree ---

struct TreeOptions {
    bool reverse = false;   // what depends on each, instead of what it depends on
    bool all = false;       // what is stopped too
    bool processes = false; // below each service
};

// Below `roots`, or, if there are none, below what nothing depends on, the default milestone first.
std::vector<Row> tree_rows(const World& world, std::vector<size_t> roots,
                           const TreeOptions& options);
void write_tree_json(Json& json, const World& world, const std::vector<size_t>& units,
                     bool processes);

// --- blame ---

struct Blame {
    size_t unit;
    uint64_t total; // microseconds, from demand to ready, or so far
    uint64_t own;   // from when nothing stood in its way
    bool done;
};

// All that rose or rises, those that took the longest themselves first. `first`: the first rise of
// each instead of the last one. Milestones, which take no time, are left out.
std::vector<Blame> blame(const World& world, bool first, uint64_t now);
std::vector<std::string> blame_lines(const World& world, const std::vector<Blame>& all,
                                     const Screen& screen);
void write_json(Json& json, const World& world, const std::vector<Blame>& all);

// The units on the path that decided when `target` was up: it first, then each time the last of
// what it waited for. By the first rises.
std::vector<size_t> critical_path(const World& world, size_t target);
// The one whose start the boot is about: the default milestone, or else what was up last.
size_t boot_target(const World& world);

// --- status of one ---

struct Detail {
    size_t unit;
    std::string command;
    Places places;
    uint64_t now = 0;
    // What only some may see, or nothing:
    Value failure;                      // `<failure S {…}>` (daemon/failure.h)
    std::vector<std::string> took_down; // what was stopped since it went away
    std::vector<logs::Entry> lines;     // what it wrote last
};

std::vector<std::string> detail_lines(const World& world, const Detail& detail,
                                      const Screen& screen);
void write_json(Json& json, const World& world, const Detail& detail);

// An object for one service, with what `$status` says of it.
void write_unit(Json& json, const World& world, size_t unit);

} // namespace muster::command
