// For tests of scripts: an engine with a dataspace `$config`, and what is to be seen in it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "init/config/script.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

namespace muster::config {

struct World {
    dataspace::Engine engine;
    dataspace::CapRef config = dataspace::spawn_dataspace(engine, "config");
    std::set<std::string> facts;       // asserted in config now, without Observe
    std::vector<std::string> events;   // "+fact", "-fact", "!message", in order
    std::vector<std::string> problems; // run-time errors
    Ref<dataspace::Facet> root;        // where scripts run
    Environment environment;

    // Without `noting` there are no facts and events.
    explicit World(bool noting = true) {
        if (noting)
            engine.spawn("watch", [this](dataspace::Turn& turn) {
                Value all = dataspace::pattern::bind();
                dataspace::observe(turn, config, all, make_ref<Spectator>(*this));
            });
        engine.spawn("scripts", [this](dataspace::Turn& turn) {
            root = Ref<dataspace::Facet>(&turn.current());
            keep = dataspace::KeepAlive(root);
        });
        settle();
        environment.bind("config", dataspace::embed(config));
    }

    // Dataspaces that a script made and observes hold each other until it ends.
    ~World() {
        turn([](dataspace::Turn& turn) { turn.stop_actor(); });
    }
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    void settle() {
        while (engine.run()) {
        }
    }

    void turn(const dataspace::TurnAction& action) {
        engine.external(root, action);
        settle();
    }

    // `problem`, if given, gets what is wrong, one line each.
    static Ref<Script> parse(std::string_view text, std::string* problem = nullptr) {
        std::vector<Problem> found;
        Ref<Script> script = Script::parse(text, "test.pr", "/etc/test", found);
        if (!problem) return script;
        for (const Problem& each : found)
            *problem += (problem->empty() ? "" : "\n") + to_string(each);
        return script;
    }

    // Runs a script; what is wrong with its text joins the problems.
    Running start(std::string_view text, const Running* predecessor = nullptr) {
        Running running;
        std::string problem;
        Ref<Script> script = parse(text, &problem);
        if (!script) {
            problems.push_back(problem);
            return running;
        }
        turn([&](dataspace::Turn& t) {
            running = run_script(
                t, script, environment,
                [this](dataspace::Turn&, const Problem& found) {
                    problems.push_back(to_string(found));
                },
                predecessor);
        });
        return running;
    }
    void stop(const Running& running) {
        turn([&](dataspace::Turn& t) { t.stop(*running.facet); });
    }

    // Asserts in config until the handle is retracted.
    dataspace::Handle add(std::string_view text) {
        dataspace::Handle handle = 0;
        turn([&](dataspace::Turn& t) { handle = t.assert_(config, read(text)); });
        return handle;
    }
    void remove(dataspace::Handle handle) {
        turn([&](dataspace::Turn& t) { t.retract(handle); });
    }
    void send(std::string_view text) {
        turn([&](dataspace::Turn& t) { t.message(config, read(text)); });
    }
    static Value read(std::string_view text) {
        Result<Value> value = preserves::parse_text(text);
        return value ? *value : preserves::string("unreadable: " + value.error().message);
    }
    bool has(std::string_view fact) const { return facts.count(std::string(fact)) != 0; }

  private:
    // Notes down what there is as text: values may hold the spectator itself.
    class Spectator final : public dataspace::Entity {
      public:
        explicit Spectator(World& world) : world_(world) {}
        void on_assert(dataspace::Turn&, const Value& captures, dataspace::Handle handle) override {
            View value = captures.view().at(0);
            if (value.is_record("Observe")) return;
            std::string text = preserves::to_text(value);
            world_.facts.insert(text);
            world_.events.push_back("+" + text);
            texts_[handle] = text;
        }
        void on_retract(dataspace::Turn&, dataspace::Handle handle) override {
            auto found = texts_.find(handle);
            if (found == texts_.end()) return;
            world_.facts.erase(found->second);
            world_.events.push_back("-" + found->second);
            texts_.erase(found);
        }
        void on_message(dataspace::Turn&, const Value& captures) override {
            world_.events.push_back("!" + preserves::to_text(captures.view().at(0)));
        }

      private:
        World& world_;
        std::map<dataspace::Handle, std::string> texts_;
    };

    dataspace::KeepAlive keep;
};

} // namespace muster::config
