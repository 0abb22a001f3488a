// What the tracker knows of one service, and how that reads in words. No assertion is made here.
#pragma once

#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "init/base/event_loop.h"
#include "init/base/lazily.h"
#include "init/dataspace/actor.h"
#include "services/tracker/times.h"

namespace muster::services {

using dataspace::Handle;
using preserves::Value;
using preserves::View;

// A set of which no more than a few are expected.
class FewValues {
  public:
    bool empty() const { return values_.empty(); }
    bool contains(View value) const { return place_of(value) != values_.end(); }
    void insert(View value) {
        if (!contains(value)) values_.emplace_back(value);
    }
    void erase(View value) {
        auto place = place_of(value);
        if (place != values_.end()) values_.erase(place);
    }
    auto begin() const { return values_.begin(); }
    auto end() const { return values_.end(); }

  private:
    std::vector<Value>::const_iterator place_of(View value) const {
        return std::find_if(values_.begin(), values_.end(),
                            [&](const Value& each) { return each.view() == value; });
    }
    std::vector<Value> values_;
};

// How a service is tied to another one.
enum class Bond : uint8_t {
    needs,     // `<depends-on S D>`: not without it
    wants,     // `<wants S D>`: it is needed as well, and waited for while it is under way
    after,     // `<before S2 S>`: waited for while it is under way, if somebody needs it
    gives_way, // `<conflicts S S2>`: not while S2 is needed
    displaces, // the same, of S2: not before S is gone
};

// What is asked for is not waited for without end.
inline bool is_weak(Bond bond) { return bond == Bond::wants || bond == Bond::after; }

struct Dependency {
    Bond bond = Bond::needs;
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

// There are many: most members are together by size.
struct Service {
    Value name;
    bool needed = false;   // someone asserts require-service
    bool defined = false;  // there is a `<daemon ID SPEC>`, or it needs none
    bool disabled = false; // `<disable-service S>`: runs only if `up`
    bool up = false;       // overrides
    bool down = false;
    bool given_up = false;  // it does not stop, and nobody waits for that any more
    bool idle_over = false; // `idle` is, for as long as nobody needs it
    bool out_of_patience = false;
    bool rerunning = false;    // it was complete, and an operator has it run once more
    bool coming_back = false;  // it was up, and is started again by its supervisor
    bool missing_grew = false; // since it was judged
    bool early = false;        // wanted (`run`) before it was defined, and not judged since
    bool pursued = false;      // when it was judged: needed, and not held down
    bool dirty = false;
    bool touched = false;
    bool mirrored_late = false; // its copy in $status is to be brought up to date
    uint8_t postponed = 0;      // how often it changed while it was about to be judged

    // By what is depended on, for other bonds as `bond_key` says.
    using Dependencies =
        std::unordered_map<Value, Dependency, preserves::ValueHash, preserves::ValueEqual>;
    Lazily<Dependencies> dependencies;
    // The dependees that are not there now.
    Lazily<std::unordered_set<Value, preserves::ValueHash, preserves::ValueEqual>> missing;
    FewValues states;
    // Services that were there because it asked for them, when it started.
    Lazily<std::vector<Value>> after;
    Value detail;                     // of `<daemon-status ID {…}>`
    Lazily<std::vector<Value>> cycle; // the names on a cycle that it is on

    uint64_t idle_after = 0; // `<idle-stop S SECONDS>`, in nanoseconds; 0: at once
    Timer idle;              // nobody needs it any more, but it goes on for that long
    Timer demand_end;        // the same, when the last demand has gone: `demand` stays for so long
    Timer patience;          // with what it wants and nobody is bringing

    Lazily<std::vector<Value>> providers; // `<provides P S>`, in order
    Lazily<std::vector<Value>> provides;  // the other way round
    Value provider;                       // the one that was chosen

    size_t demands = 0; // RequireService and interest
    Handle demand = 0;  // our `<require-service S>` for those
    Handle override_need = 0;
    Handle override_fact = 0;
    Handle run = 0;
    Handle milestone_started = 0;
    Handle milestone_ready = 0;
    Handle running = 0;    // `<ServiceRunning S>`
    Handle taken_down = 0; // `<taken-down S BY>`
    Handle mirror = 0;     // `<service S WORD {…}>` in $status
    Value mirrored;
    Times times;

    bool has_state(std::string_view state) const;
    bool is_milestone() const { return name.view().is_record("milestone", 1); }
    bool is_daemon() const { return name.view().is_record("daemon", 1); }
    // No daemon of its own: one of its providers stands for it.
    bool is_provided() const { return !providers.empty() && !defined; }
    // What is up when all that it depends on is: nothing of it runs.
    bool is_point() const { return is_milestone() || is_provided(); }
    bool is_up() const { return has_state("ready") || has_state("complete"); }
    bool going_on() const { return idle.pending() || demand_end.pending(); }
    // What it waits for before its start only is over.
    bool begun() const { return run != 0 && !early; }
    // Nothing stands against it but what it depends on.
    bool allowed() const { return !down && (!disabled || up); }
    // It is a daemon, and something of it runs.
    bool active() const;
    // Nothing is known of it any more.
    bool forgettable() const;
};

// One of: waiting starting running complete stopping stopped failed. `going_down`: the system
// stops, so nothing is wanted any more.
std::string_view state_word(const Service& service, bool obstacles, bool going_down);
// `<service S WORD {…}>` for the mirror: with what it waits for (the first few, and how many more
// there are), its cycle, its override, how many demands there are but for those of services that
// depend on it (`demands`), its times, and what its supervisor says; without capabilities.
Value status_record(const Service& service, std::string_view word, bool waits);
// How many of the things that it waits for a status names.
inline constexpr size_t max_waiting_named = 20;

using ServiceTable =
    std::unordered_map<Value, Service, preserves::ValueHash, preserves::ValueEqual>;

// How `dependencies` and `missing` name what S is tied to by a bond: DEPENDEE itself if it needs
// it, else `<wants DEPENDEE>` and the like.
Value bond_key(Bond bond, View dependee);
// DEPENDEE of that, as it is shown.
View asked_for(View key);

// The value with every capability in it replaced by the symbol `capability`.
Value without_capabilities(View value);
// For messages: the name as people write it, "ssh" for <daemon ssh>, the text for others.
std::string display_name(View service);

// The service that an `<Observe PATTERN …>` is interested in: PATTERN asks for `<ServiceRunning S>`
// with S in full. Invalid if it does not.
Value service_of_interest(View pattern);
// The same for what `<present PATTERN>` depends on: also `<service-state S …>`.
Value service_of_pattern(View pattern);
// SECONDS of `<idle-stop S SECONDS>`, in nanoseconds; 0 if it is no number of seconds.
uint64_t idle_time(View seconds);
// PATTERN without its binds.
Value strip_binds(View pattern);
// The same of `<present PATTERN>` and `<message PATTERN>`; invalid if it is neither, or PATTERN is
// no pattern.
Value pattern_of_condition(View condition);

} // namespace muster::services
