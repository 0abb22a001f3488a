// For tests of the watcher: a folder of real files, the real event loop, and what is to be seen.
#pragma once

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "init/base/catch.h"
#include "init/config/script_world.h"
#include "init/config/watcher.h"

namespace muster::config {

using Strings = std::vector<std::string>;

// A directory that goes away with everything in it.
class Folder {
  public:
    Folder() {
        char name[] = "/tmp/muster-config-XXXXXX";
        REQUIRE(mkdtemp(name));
        path_ = name;
    }
    ~Folder() { CHECK(std::system(("rm -rf '" + path_ + "'").c_str()) == 0); }

    std::string at(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }
    void write(const std::string& name, std::string_view text) const {
        Fd fd(open(at(name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
        REQUIRE(fd);
        REQUIRE(::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }
    void make(const std::string& name) const { REQUIRE(mkdir(at(name).c_str(), 0755) == 0); }
    void move(const std::string& from, const std::string& to) const {
        REQUIRE(rename(at(from).c_str(), at(to).c_str()) == 0);
    }
    void remove(const std::string& name) const { REQUIRE(::remove(at(name).c_str()) == 0); }

  private:
    std::string path_;
};

// Root can read everything: for a while this process is somebody else, whose the folder is.
class NotRoot {
  public:
    explicit NotRoot(const std::string& folder) {
        if (geteuid() != 0) return;
        REQUIRE(chown(folder.c_str(), nobody, nobody) == 0);
        REQUIRE(chown((folder + "/a.pr").c_str(), nobody, nobody) == 0);
        REQUIRE(seteuid(nobody) == 0);
        changed_ = true;
    }
    ~NotRoot() {
        if (changed_ && seteuid(0) != 0) std::abort();
    }

  private:
    static constexpr uid_t nobody = 65534;
    bool changed_ = false;
};

struct Site {
    Folder folder;
    std::unique_ptr<EventLoop> loop;
    World world;
    Strings reports;
    bool ready = false;
    Ref<dataspace::Facet> facet;

    Site() {
        Result<std::unique_ptr<EventLoop>> made = EventLoop::create();
        REQUIRE(made);
        loop = std::move(*made);
        loop->set_after_round([this] { return world.engine.run(); });
    }
    ~Site() { stop(); }

    void watch(const std::string& path) {
        world.turn([&](dataspace::Turn& turn) {
            facet = turn.facet([&](dataspace::Turn& inner) {
                WatchOptions options;
                options.path = path;
                options.environment = world.environment;
                options.errors = world.config;
                options.commands = world.config;
                options.report = [this](const Problem& problem) { report(problem); };
                options.on_ready = [this](dataspace::Turn&) { ready = true; };
                watch_config(inner, *loop, std::move(options));
            });
        });
    }
    void watch() { watch(folder.path()); }
    void stop() {
        if (facet) world.turn([&](dataspace::Turn& turn) { turn.stop(*facet); });
        facet = nullptr;
    }
    void report(const Problem& problem) {
        std::string text = to_string(problem);
        size_t at = text.find(folder.path());
        if (at != std::string::npos) text.replace(at, folder.path().size(), "DIR");
        reports.push_back(text);
    }

    // Waits for what must come. The limit only ends a test that has failed.
    template <typename Condition>
    bool until(Condition condition) {
        bool late = false;
        Timer limit = loop->after(20 * second, [&] { late = true; });
        while (!condition() && !late)
            loop->run_once(true);
        return condition();
    }
    bool until_fact(const std::string& fact) {
        return until([&] { return world.has(fact); });
    }
    bool until_gone(const std::string& fact) {
        return until([&] { return !world.has(fact); });
    }
    // Lets everything that happened before be noticed: a mark comes last.
    void catch_up() {
        std::string mark = "<mark " + std::to_string(++marks_) + ">";
        folder.write("zz-mark.pr", mark);
        CHECK(until_fact(mark));
        world.facts.erase(mark);
        std::erase_if(world.events, [](const std::string& event) {
            return event.find("<mark ") != std::string::npos;
        });
    }

  private:
    int marks_ = 0;
};

} // namespace muster::config
