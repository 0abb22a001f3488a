// For tests: dataspaces, an event loop, the supervisor of daemons with real processes, and a
// notebook of what it asserts. Nothing here sleeps: `until` runs the loop for as long as it takes.
#pragma once

#include <signal.h>
#include <stdlib.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "init/base/catch.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"
#include "services/daemon/daemons.h"

namespace muster::services::test {

inline preserves::Value parse(std::string_view text) {
    auto value = preserves::parse_text(text);
    INFO(text);
    REQUIRE(value.ok());
    return *value;
}

struct World {
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    SecondStageLink link = std::move(*SecondStageLink::standalone());
    std::unique_ptr<Processes> processes;
    std::unique_ptr<dataspace::Engine> engine = std::make_unique<dataspace::Engine>();
    dataspace::CapRef config = dataspace::spawn_dataspace(*engine, "config");
    dataspace::CapRef machine = dataspace::spawn_dataspace(*engine, "machine");
    dataspace::CapRef log = dataspace::spawn_dataspace(*engine, "log");
    std::shared_ptr<ListenSockets> sockets = std::make_shared<ListenSockets>();
    Ref<dataspace::Actor> actor;
    std::map<std::string, dataspace::Handle> said;

    // `<service-state <daemon ID> WORD>` as "+ID WORD" and "-ID WORD", in order.
    std::vector<std::string> states;
    std::set<std::string> now; // "ID WORD"
    std::map<std::string, preserves::Value> status;
    std::vector<std::string> lines; // "ID STREAM: text"

    static Timing short_times() {
        Timing timing;
        timing.first_delay = 5 * millisecond;
        timing.longest_delay = 40 * millisecond;
        return timing;
    }

    explicit World(Timing timing = short_times(), bool groups = true) {
        ::signal(SIGPIPE, SIG_IGN); // as the second stage does
        auto tree = groups ? CgroupTree::standalone() : Result<CgroupTree>(CgroupTree());
        processes = std::make_unique<Processes>(*loop, link, std::move(*Spawner::create()),
                                                tree.ok() ? std::move(*tree) : CgroupTree());
        processes->set_exec_stub({"/proc/self/exe", "--exec"}); // fields_test.cpp
        loop->set_after_round([this] { return engine->run(); });
        actor = engine->spawn("test", [this, timing](dataspace::Turn& turn) {
            watch(turn);
            Context context{*loop, *processes, config, machine, log, {}, timing};
            context.sockets = sockets;
            serve_daemons(turn, context);
        });
        loop->run_once(false);
    }
    ~World() { engine.reset(); }

    void watch(dataspace::Turn& turn) {
        namespace pattern = dataspace::pattern;
        preserves::Value daemon = pattern::record("daemon", {pattern::bind()});
        auto name = [](preserves::View captures) {
            return preserves::to_text(captures.at(0)) + " " + preserves::to_text(captures.at(1));
        };
        dataspace::observe(
            turn, config, pattern::record("service-state", {daemon, pattern::bind()}),
            [this, name](dataspace::Turn&, preserves::View captures) {
                states.push_back("+" + name(captures));
                now.insert(name(captures));
            },
            [this, name](dataspace::Turn&, preserves::View captures) {
                states.push_back("-" + name(captures));
                now.erase(name(captures));
            });
        dataspace::observe(
            turn, config, pattern::record("daemon-status", {pattern::bind(), pattern::bind()}),
            [this](dataspace::Turn&, preserves::View captures) {
                status[preserves::to_text(captures.at(0))] = preserves::Value(captures.at(1));
            },
            [this](dataspace::Turn&, preserves::View captures) {
                std::string id = preserves::to_text(captures.at(0));
                if (status[id].view() == captures.at(1)) status.erase(id);
            });
        dataspace::on_message(
            turn, log, pattern::record("log", {pattern::discard(), pattern::bind()}),
            [this](dataspace::Turn&, preserves::View captures) {
                preserves::View details = captures.at(0);
                preserves::View line = details.get("line");
                if (!details.get("stream").valid()) { // said by another than a supervisor
                    lines.emplace_back(line.as_string().value_or(""));
                    return;
                }
                lines.push_back(
                    preserves::to_text(details.get("service").at(0)) + " " +
                    std::string(*details.get("stream").as_symbol()) + ": " +
                    (line.as_string() ? std::string(*line.as_string()) : preserves::to_text(line)));
            });
    }

    // Runs `action` as the test's own actor, in a turn.
    void act(std::function<void(dataspace::Turn&)> action) {
        engine->external(Ref<dataspace::Facet>(&actor->root()), std::move(action));
        loop->run_once(false);
    }
    void say(dataspace::Turn& turn, const std::string& text) {
        said[text] = turn.assert_(config, parse(text));
    }
    void unsay(dataspace::Turn& turn, const std::string& text) {
        turn.retract(said.at(text));
        said.erase(text);
    }
    void say(const std::string& text) {
        act([&](dataspace::Turn& turn) { say(turn, text); });
    }
    void unsay(const std::string& text) {
        act([&](dataspace::Turn& turn) { unsay(turn, text); });
    }
    void send(const std::string& text) {
        act([&](dataspace::Turn& turn) { turn.message(config, parse(text)); });
    }
    void run(const std::string& id, const std::string& spec) {
        act([&](dataspace::Turn& turn) {
            say(turn, "<daemon " + id + " " + spec + ">");
            say(turn, "<run-service <daemon " + id + ">>");
        });
    }
    void stop(const std::string& id) { unsay("<run-service <daemon " + id + ">>"); }

    void until(const std::function<bool()>& condition) {
        while (!condition())
            loop->run_once(true);
    }
    void until_state(const std::string& state) {
        until([&] { return now.count(state) > 0; });
    }
    void until_line(const std::string& line) {
        until([&] { return has_line(line); });
    }
    bool has_line(const std::string& line) const {
        for (const std::string& each : lines)
            if (each == line) return true;
        return false;
    }
    // Until it has stopped and nothing of it is left.
    void until_gone(const std::string& id) {
        until([&] { return status.find(id) == status.end(); });
    }
    std::string phase(const std::string& id) const {
        auto found = status.find(id);
        if (found == status.end()) return "";
        return std::string(*found->second.view().get("phase").as_symbol());
    }
    int64_t number(const std::string& id, std::string_view key) const {
        auto found = status.find(id);
        if (found == status.end()) return 0;
        return found->second.view().get(key).as_int().value_or(0);
    }
    std::string last(const std::string& id) const {
        auto found = status.find(id);
        if (found == status.end()) return "";
        return std::string(found->second.view().get("last").as_string().value_or(""));
    }
    std::vector<std::string> take_states() { return std::exchange(states, {}); }
};

} // namespace muster::services::test
