// What the tracker knows of one service, and how that reads in words. No assertion is made here.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "init/dataspace/actor.h"

namespace muster::services {

using dataspace::Handle;
using preserves::Value;
using preserves::View;

using ValueSet = std::unordered_map<Value, uint32_t, preserves::ValueHash, preserves::ValueEqual>;

struct Dependency {
    // The service that must be in a state, if it says so (`<service-state S2 STATE>`, or a
    // `<present …>` of such or of `<ServiceRunning S2>`); else invalid.
    Value service;
    Value state;        // STATE, only of a direct `<service-state S2 STATE>`
    size_t present = 0; // other kinds: how many assertions satisfy it
    bool active = false;
    bool met = false; // what it asks for is there
    Handle need = 0;  // our `<require-service S2>`
    std::vector<Handle> observers;
};

struct Service {
    Value name;
    bool needed = false;  // someone asserts require-service
    bool defined = false; // there is a `<daemon ID SPEC>`, or it needs none
    bool up = false;      // overrides
    bool down = false;
    std::unordered_map<Value, Dependency, preserves::ValueHash, preserves::ValueEqual> dependencies;
    ValueSet states;
    Value detail;             // of `<daemon-status ID {…}>`
    std::vector<Value> cycle; // the names on a cycle that it is on

    size_t demands = 0; // RequireService and interest
    Handle demand = 0;  // our `<require-service S>` for those
    Handle override_need = 0;
    Handle override_fact = 0;
    Handle run = 0;
    Handle milestone_started = 0;
    Handle milestone_ready = 0;
    Handle running = 0; // `<ServiceRunning S>`
    Handle mirror = 0;  // `<service S WORD {…}>` in $status
    Value mirrored;
    // The dependees that are not there now.
    std::unordered_set<Value, preserves::ValueHash, preserves::ValueEqual> missing;
    bool missing_grew = false; // since it was judged
    bool pursued = false;      // when it was judged: needed, and not held down
    bool dirty = false;
    bool touched = false;
    int postponed = 0; // how often it changed while it was about to be judged

    bool has_state(std::string_view state) const;
    bool is_milestone() const { return name.view().is_record("milestone", 1); }
    bool is_daemon() const { return name.view().is_record("daemon", 1); }
    // It is a daemon, and something of it runs.
    bool active() const;
    // Nothing is known of it any more.
    bool forgettable() const;
};

// One of: waiting starting running complete stopping stopped failed. `going_down`: the system
// stops, so nothing is wanted any more.
std::string_view state_word(const Service& service, bool obstacles, bool going_down);
// `<service S WORD {…}>` for the mirror: with what it waits for (the first few, and how many more
// there are), its cycle, its override, and what its supervisor says; without capabilities.
Value status_record(const Service& service, std::string_view word, bool waits);
// How many of the things that it waits for a status names.
inline constexpr size_t max_waiting_named = 20;

// The value with every capability in it replaced by the symbol `capability`.
Value without_capabilities(View value);
// For messages: the name as people write it, "ssh" for <daemon ssh>, the text for others.
std::string display_name(View service);

// The service that an `<Observe PATTERN …>` is interested in: PATTERN asks for `<ServiceRunning S>`
// with S in full. Invalid if it does not.
Value service_of_interest(View pattern);
// The same for what `<present PATTERN>` depends on: also `<service-state S …>`.
Value service_of_pattern(View pattern);
// PATTERN without its binds.
Value strip_binds(View pattern);

} // namespace muster::services
