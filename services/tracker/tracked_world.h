// For tests: the supervisor of daemons with real processes, and the tracker on top.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "services/daemon/supervisor_world.h"
#include "services/tracker/tracker.h"

namespace muster::services::test {

struct Tracked : World {
    dataspace::CapRef mirror = dataspace::spawn_dataspace(*engine, "status");
    TrackerControl tracker;
    std::map<std::string, std::string> words;      // by service: "running"
    std::map<std::string, preserves::Value> facts; // by service: what the mirror says besides
    std::vector<std::string> pids;                 // "ID pid", each once, in order
    static constexpr uint64_t patience = 30 * millisecond;
    bool adopting = false;

    Tracked() {
        tracker = track_services(*engine, {.config = config,
                                           .machine = machine,
                                           .status = mirror,
                                           .log = log,
                                           .overrides_path = "",
                                           .loop = loop.get(),
                                           .patience = patience,
                                           .adopting = [this] { return adopting; }});
        act([this](dataspace::Turn& turn) {
            namespace pattern = dataspace::pattern;
            dataspace::observe(
                turn, mirror,
                pattern::record("service", {pattern::bind(), pattern::bind(), pattern::bind()}),
                [this](dataspace::Turn&, preserves::View seen) {
                    std::string name = preserves::to_text(seen.at(0));
                    words[name] = preserves::to_text(seen.at(1));
                    facts[name] = preserves::Value(seen.at(2));
                },
                [this](dataspace::Turn&, preserves::View seen) {
                    std::string name = preserves::to_text(seen.at(0));
                    if (facts[name].view() == seen.at(2) &&
                        words[name] == preserves::to_text(seen.at(1)))
                        words[name] = "";
                });
        });
    }
    ~Tracked() {
        tracker = {};
        engine.reset();
    }

    std::string word(const std::string& id) const {
        auto found = words.find(id[0] == '<' ? id : "<daemon " + id + ">");
        return found == words.end() ? "" : found->second;
    }
    void until_word(const std::string& id, const std::string& word) {
        until([&] { return this->word(id) == word; });
    }
    // What it waits for, as text.
    std::string waits_for(const std::string& id) {
        preserves::Value waiting(facts["<daemon " + id + ">"].view().get("waiting-for"));
        return waiting.valid() ? preserves::to_text(waiting) : "";
    }
    // How often processes of it have become ready or were started, of the states seen.
    size_t count(const std::string& state) const {
        size_t number = 0;
        for (const std::string& each : states)
            number += each == state;
        return number;
    }
    void define(const std::string& id, const std::string& spec) {
        say("<daemon " + id + " " + spec + ">");
    }
    void need(const std::string& id) { say("<require-service <daemon " + id + ">>"); }
    void release(const std::string& id) { unsay("<require-service <daemon " + id + ">>"); }
};

inline constexpr const char* sleeper = "[\"/bin/sleep\" \"1000\"]";
// Says nothing by itself: the test says when it is ready.
inline constexpr const char* silent = "{argv: [\"/bin/sleep\" \"1000\"] readyOnStart: #f}";

} // namespace muster::services::test
