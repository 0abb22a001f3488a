// What `$status` says of all services at one moment, joined together: the ground for everything
// that shows how they hang together. Everybody may see this much, and looking starts nothing.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "init/base/result.h"
#include "init/preserves/value.h"
#include "services/tracker/times.h"

namespace muster::command {

using preserves::Value;
using preserves::View;

class Bus;

inline constexpr size_t nowhere = static_cast<size_t>(-1);

// `<depends-on FROM WHAT>`.
struct Edge {
    size_t from;
    size_t to; // the service that WHAT is about, or `nowhere`
    Value what;
    bool met = false; // as far as can be told from here: what a stopped service waits for cannot
};

struct Unit {
    Value record; // `<service S WORD {…}>`
    std::string shown;
    std::vector<size_t> needs;     // edges from it
    std::vector<size_t> needed_by; // edges to it

    View name() const { return record.view().at(0); }
    std::string word() const;
    View facts() const { return record.view().at(2); }
    bool is(std::string_view state) const { return record.view().at(1).is_symbol(state); }
    bool up() const { return is("running") || is("complete"); }
    bool needed() const { return facts().get("needed").valid(); }
    // What it depends on is needed on its behalf.
    bool pursues() const { return needed() && !held_down() && !disabled(); }
    bool held_up() const { return facts().get("override").is_symbol("up"); }
    bool held_down() const { return facts().get("override").is_symbol("down"); }
    bool disabled() const { return facts().get("disabled").valid() && !held_up(); }
    bool is_milestone() const { return name().is_record("milestone", 1); }
    bool is_daemon() const { return name().is_record("daemon", 1); }
    int pid() const { return static_cast<int>(number("pid")); }
    int64_t number(std::string_view key) const { return facts().get(key).as_int().value_or(0); }
    std::string text(std::string_view key) const;
    uint64_t since() const { return static_cast<uint64_t>(number("since")); } // microseconds
    services::Rise rise() const;                                              // the last one
    services::Rise first_rise() const;                                        // perhaps the same
};

class World {
  public:
    // From `<service …>`, `<depends-on …>` and other records of `$status`.
    explicit World(const std::vector<Value>& records);
    static Result<World> load(Bus& bus);

    const std::vector<Unit>& units() const { return units_; } // by name as shown; records last
    const std::vector<Edge>& edges() const { return edges_; }
    size_t find(View name) const; // `nowhere` if nobody knows it
    // The services that `word` means (selection.h), none if there is none.
    std::vector<size_t> meant(const std::string& word) const;
    // Names that look like `word`, best first, a few.
    std::vector<std::string> similar(const std::string& word) const;
    // All records `<service …>`, for those who work with these.
    const std::vector<Value>& records() const { return records_; }
    const std::vector<Value>& config_errors() const { return config_errors_; }
    // Where configuration comes from: the paths of `<config-watcher PATH …>`.
    std::vector<std::string> config_paths() const;
    bool container() const { return container_; }

    // The edges that make up `unit`'s dependencies without those that others imply: if A needs B
    // and C, and B needs C, A's edge to C says nothing new. For pictures.
    std::vector<size_t> essential_needs(size_t unit) const;

  private:
    std::vector<Unit> units_;
    std::vector<Edge> edges_;
    std::vector<Value> records_;
    std::vector<Value> config_errors_;
    bool container_ = false;
    std::unordered_map<Value, size_t, preserves::ValueHash, preserves::ValueEqual> by_name_;
};

// "mount-root ready", or the pattern as people write it, for what a service depends on.
std::string dependee_text(View dependee);

} // namespace muster::command
