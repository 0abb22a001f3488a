#include "services/presence/presence.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>

#include "init/base/catch.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"
#include "services/presence/mount_table.h"
#include "services/process/no_descriptors_testing.h"

using namespace muster;
using namespace muster::services;
using dataspace::CapRef;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = muster::dataspace::pattern;

namespace {

struct World {
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    std::unique_ptr<dataspace::Engine> engine = std::make_unique<dataspace::Engine>();
    CapRef machine = spawn_dataspace(*engine, "machine");
    Ref<dataspace::Actor> actor;
    dataspace::KeepAlive keep;
    std::set<std::string> facts;
    std::vector<std::string> messages;
    std::vector<std::string> reports;

    World() {
        loop->set_after_round([this] { return engine->run(); });
        actor = engine->spawn("test", [this](Turn& turn) {
            keep = dataspace::KeepAlive(Ref<dataspace::Facet>(&turn.current()));
            serve_presence(turn, {.loop = *loop,
                                  .machine = machine,
                                  .report = [this](Turn&, const std::string& line) {
                                      reports.push_back(line);
                                  }});
        });
        loop->run_once(false);
    }
    ~World() {
        keep = {};
        engine.reset();
    }

    // Looks for what matches a wire pattern; the number ends it.
    dataspace::Handle look(const std::string& pattern) {
        dataspace::Handle handle = 0;
        act([&](Turn& turn) {
            auto wire = preserves::parse_text(pattern);
            REQUIRE(wire);
            Value whole = pat::bind(*wire);
            handle = observe(
                turn, machine, whole,
                [this](Turn&, View seen) { facts.insert(preserves::to_text(seen.at(0))); },
                [this](Turn&, View seen) { facts.erase(preserves::to_text(seen.at(0))); });
            on_message(turn, machine, whole, [this](Turn&, View seen) {
                messages.push_back(preserves::to_text(seen.at(0)));
            });
        });
        return handle;
    }
    dataspace::Handle look_for(const std::string& label, const std::string& first) {
        return look("<group <rec " + label + "> {0: <lit " + first + ">}>");
    }
    void act(const std::function<void(Turn&)>& action) {
        engine->external(Ref<dataspace::Facet>(&actor->root()), action);
        loop->run_once(false);
    }
    void until(const std::function<bool()>& condition) {
        while (!condition())
            loop->run_once(true);
    }
    void until_there(const std::string& fact) {
        until([&] { return facts.count(fact) > 0; });
    }
    void until_gone(const std::string& fact) {
        until([&] { return facts.count(fact) == 0; });
    }
};

struct Folder {
    std::string path;
    Folder() {
        char name[] = "/tmp/muster-presence-XXXXXX";
        REQUIRE(mkdtemp(name) != nullptr);
        path = name;
    }
    ~Folder() {
        for (const char* each : {"/a/b/c", "/a/b", "/a/x", "/a", "/z/b/c", "/z/b", "/z", "/f"}) {
            unlink((path + each).c_str());
            rmdir((path + each).c_str());
        }
        rmdir(path.c_str());
    }
    std::string at(const std::string& name) const { return path + name; }
    std::string quoted(const std::string& name) const { return "\"" + path + name + "\""; }
    void write(const std::string& name) const { std::ofstream(path + name) << "x"; }
};

} // namespace

TEST_CASE("presence: a path appears and goes, whatever happens above it") {
    Folder folder;
    World world;
    auto handle = world.look_for("path", folder.quoted("/a/b/c"));
    std::string file = "<path " + folder.quoted("/a/b/c") + " file>";
    CHECK(world.facts.empty());
    mkdir(folder.at("/a").c_str(), 0755);
    mkdir(folder.at("/a/b").c_str(), 0755);
    folder.write("/a/b/c");
    world.until_there(file);
    rename(folder.at("/a").c_str(), folder.at("/z").c_str());
    world.until_gone(file);
    rename(folder.at("/z").c_str(), folder.at("/a").c_str());
    world.until_there(file);
    unlink(folder.at("/a/b/c").c_str());
    mkdir(folder.at("/a/b/c").c_str(), 0755);
    world.until_there("<path " + folder.quoted("/a/b/c") + " directory>");
    CHECK(world.facts.size() == 1);
    world.act([&](Turn& turn) { turn.retract(handle); });
    world.until([&] { return world.facts.empty(); });
    CHECK(world.reports.empty());
}

TEST_CASE("presence: what is there already is seen at once, and each kind by its name") {
    Folder folder;
    mkdir(folder.at("/a").c_str(), 0755);
    REQUIRE(mkfifo(folder.at("/f").c_str(), 0600) == 0);
    World world;
    world.look_for("path", folder.quoted("/a"));
    world.look_for("path", folder.quoted("/f"));
    world.look_for("path", "\"/dev/null\"");
    world.look_for("path", "\"/\"");
    CHECK(world.facts == std::set<std::string>{"<path " + folder.quoted("/a") + " directory>",
                                               "<path " + folder.quoted("/f") + " fifo>",
                                               "<path \"/dev/null\" char>",
                                               "<path \"/\" directory>"});
}

TEST_CASE("presence: the names in a directory") {
    Folder folder;
    World world;
    world.look_for("directory-entry", folder.quoted("/a"));
    mkdir(folder.at("/a").c_str(), 0755);
    folder.write("/a/x");
    world.until_there("<directory-entry " + folder.quoted("/a") + " \"x\">");
    mkdir(folder.at("/a/b").c_str(), 0755);
    world.until_there("<directory-entry " + folder.quoted("/a") + " \"b\">");
    unlink(folder.at("/a/x").c_str());
    world.until_gone("<directory-entry " + folder.quoted("/a") + " \"x\">");
    CHECK(world.facts.size() == 1);
    rmdir(folder.at("/a/b").c_str());
    rmdir(folder.at("/a").c_str());
    world.until([&] { return world.facts.empty(); });
}

TEST_CASE("presence: a file that was written makes a message") {
    Folder folder;
    folder.write("/f");
    World world;
    world.look_for("path-changed", folder.quoted("/f"));
    std::string message = "<path-changed " + folder.quoted("/f") + ">";
    folder.write("/f");
    world.until([&] { return !world.messages.empty(); });
    CHECK(world.messages[0] == message);
    world.messages.clear();
    mkdir(folder.at("/a").c_str(), 0755);
    folder.write("/a/x");
    rename(folder.at("/a/x").c_str(), folder.at("/f").c_str());
    world.until([&] { return !world.messages.empty(); });
    CHECK(world.messages == std::vector<std::string>{message});
}

TEST_CASE("presence: what is no path is said to be none") {
    World world;
    world.look_for("path", "\"relative\"");
    world.look_for("path", "7");
    REQUIRE(world.reports.size() == 2);
    CHECK(world.reports[0] == "\"relative\" is not an absolute path");
    world.look("<group <rec path> {}>"); // all paths: nobody lists them
    CHECK(world.facts.empty());
}

TEST_CASE("presence: mounts come and go") {
    // In a mount namespace of our own, in a process of its own.
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        if (unshare(CLONE_NEWNS) != 0 ||
            mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
            _exit(77);
        char name[] = "/tmp/muster-mount-XXXXXX";
        if (mkdtemp(name) == nullptr) _exit(1);
        std::string where(name);
        int result = 0;
        {
            World world;
            world.look_for("mount", "\"" + where + "\"");
            world.look_for("path", "\"" + where + "/inside\"");
            if (!world.facts.empty()) result = 2;
            if (mount("some where", name, "tmpfs", 0, nullptr) != 0) _exit(77);
            std::string fact = preserves::to_text(
                *preserves::parse_text("<mount \"" + where +
                                       "\" {source: \"some where\" type: \"tmpfs\" root: \"/\" "
                                       "read-only: #f}>"));
            world.until_there(fact);
            mkdir((where + "/inside").c_str(), 0700);
            world.until_there("<path \"" + where + "/inside\" directory>");
            umount(name);
            world.until_gone(fact);
            world.until([&] { return world.facts.empty(); });
        }
        rmdir(name);
        _exit(result);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) return muster::test::skip("no mount namespaces here");
    CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("presence: lines of mountinfo") {
    Mounts mounts = parse_mounts("36 35 98:0 /r /mnt\\0402 rw,noatime master:1 - ext3 /dev/r rw\n"
                                 "37 35 98:0 / /ro ro - ext4 /dev/a rw\n"
                                 "nonsense\n"
                                 "38 35 0:9 / /ro rw shared:1 master:2 - tmpfs none rw,size=1k\n"
                                 "39 35 0:9 / /short rw - tmpfs\n");
    REQUIRE(mounts.size() == 2);
    CHECK(mounts["/mnt 2"] == Mount{"/dev/r", "ext3", "/r", false});
    CHECK(mounts["/ro"] == Mount{"none", "tmpfs", "/", false});
}

TEST_CASE("presence: times come") {
    World world;
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    double soon = static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9 + 0.05;
    std::string when = preserves::to_text(preserves::number(soon));
    world.look_for("later-than", when);
    world.look_for("later-than", "1.0");
    CHECK(world.facts == std::set<std::string>{"<later-than 1.0>"});
    world.until_there("<later-than " + when + ">");
    world.look_for("after-boot", "0");
    CHECK(world.facts.count("<after-boot 0>"));
    world.look_for("calendar", "\"* * * * *\"");
    CHECK(world.facts.count("<calendar \"* * * * *\">"));
    world.look_for("every", "1");
    std::set<std::string> ticks;
    world.until([&] {
        for (const std::string& fact : world.facts)
            if (fact.starts_with("<every 1 ")) ticks.insert(fact);
        return ticks.size() == 2;
    });
}

TEST_CASE("presence: what is no time is said to be none") {
    World world;
    world.look_for("calendar", "\"61 * * * *\"");
    world.look_for("every", "0");
    world.look_for("after-boot", "soon");
    CHECK(world.reports ==
          std::vector<std::string>{
              "<calendar \"61 * * * *\">: minute: 61 is not * or numbers from 0 to 59",
              "<every 0>: not a number of seconds from 1 on",
              "<after-boot soon>: not a number of seconds from 0 on"});
    CHECK(world.facts.empty());
}

TEST_CASE("presence: what cannot be watched for want of descriptors is, once there are some") {
    Folder folder;
    World world;
    {
        services::test::NoDescriptors none;
        world.look_for("path", folder.quoted("/f"));
        world.look("<group <rec every> {0: <lit 1>}>");
        world.until([&] { return world.reports.size() >= 2; });
        for (int again = 0; again < 3; ++again)
            world.loop->run_once(true);
        CHECK(world.reports.size() == 2); // said once
    }
    CHECK(world.reports[0] ==
          "paths are not watched: inotify_init1: Too many open files; tried again");
    CHECK(world.reports[1] ==
          "times are not watched: timerfd_create: Too many open files; tried again");
    folder.write("/f");
    world.until_there("<path " + folder.quoted("/f") + " file>");
    world.until([&] { return world.facts.size() > 1; }); // the first second
    CHECK(world.reports.size() == 2);
}
