// A tree of configuration in the way of Synit (reference 4.1): layers that narrow what the next one
// may do, a directory that is watched only once a milestone is up, services whose names hold
// dictionaries and capabilities. With the real watcher, tracker and supervisor, and real processes.

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "init/config/watcher.h"
#include "services/daemon/supervisor_world.h"
#include "services/tracker/service.h"
#include "services/tracker/tracker.h"

using namespace muster;
using namespace muster::services;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = muster::dataspace::pattern;

namespace {

struct File {
    const char* path;
    const char* text;
};

// What the milestones mean, and `up`, is said by scripts there. Ours know both already: twice the
// same is no harm.
const File boot_layer[] = {
    {"boot/010-milestone.pr", R"(
        ? <run-service <milestone ?m>> [
            <service-state <milestone $m> started>
            <service-state <milestone $m> ready>
        ])"},
    {"boot/010-up.pr", R"(
        ? <service-state ?s ready> <service-state $s up>
        ? <service-state ?s complete> <service-state $s up>)"},
    {"boot/020-core-layer.pr", R"(
        let ?dir = scriptdir
        let ?core-path = join "/" [$dir "../core"]
        <require-service <milestone core>>
        # The core milestone waits for all that the core layer requires, its directory included.
        ? <require-core-service ?s> [
            <depends-on <milestone core> <service-state $s up>>
            <require-service $s>
        ]
        let ?config = <* $config [<or [
            <rewrite <require-service ?s> <require-core-service $s>>
            <accept _>
        ]>]>
        <require-service <config-watcher $core-path $.>>)"},
    {"boot/030-services-layer.pr", R"(
        let ?dir = scriptdir
        let ?services-path = join "/" [$dir "../services"]
        ? <require-basic-service ?s> [
            <depends-on $s <service-state <milestone core> up>>
            <require-service $s>
        ]
        ? <service-state <milestone core> up> [
            # What is to run is not theirs to say, nor what the core layer is.
            let ?config = <* $config [
                <or [
                    <rewrite <require-service ?s> <require-basic-service $s>>
                    <accept _>
                ]>
                <reject <run-service _>>
                <reject <require-core-service _>>
                <reject <depends-on <milestone core> _>>
            ]>
            <require-service <config-watcher $services-path $.>>
        ])"},
};
const File later_layers[] = {
    {"core/devices.pr", R"(
        <require-service <daemon devices>>
        <daemon devices {argv: ["/bin/sleep" "1000"] readyOnStart: #f}>)"},
    {"core/clock.pr", R"(
        <require-service <daemon clock>>
        <daemon clock <one-shot ["/bin/true"]>>)"},
    {"services/web.pr", R"(
        <require-service <daemon web>>
        <daemon web ["/bin/sleep" "1000"]>
        <daemon forced ["/bin/sleep" "1000"]>
        <run-service <daemon forced>>
        <require-core-service <daemon forced>>
        <depends-on <milestone core> <service-state <daemon web> up>>)"},
    {"services/rooms.pr", R"(
        # Whoever writes files there gets a dataspace of their own, and through it no more than this.
        let ?dir = scriptdir
        let ?path = join "/" [$dir "../rooms"]
        let ?room = dataspace
        $config <require-service <config-watcher $path {config: $room}>>
        $room ? <wanted ?what> $config <wanted-in-room $what>)"},
    {"rooms/guest.pr", R"(
        <wanted tea>
        <daemon guest ["/bin/sleep" "1000"]>
        <require-service <daemon guest>>
        <run-service <daemon guest>>)"},
};

// "web ready", "core up", "watcher core ready": the name and the state.
std::string event(View service, View state) {
    std::string name = preserves::to_text(service.at(0));
    if (service.is_record("config-watcher")) {
        std::string path(*service.at(0).as_string());
        name = "watcher " + path.substr(path.rfind('/') + 1);
    }
    return name + " " + preserves::to_text(state);
}

struct Site {
    std::string folder;
    services::test::World world;
    dataspace::CapRef status = dataspace::spawn_dataspace(*world.engine, "status");
    dataspace::CapRef log = dataspace::spawn_dataspace(*world.engine, "tracker's log");
    std::vector<std::string> events;  // "+NAME STATE", "-NAME STATE", in order
    std::set<std::string> facts;      // of config, without capabilities
    std::set<std::string> mirrored;   // of status
    std::vector<std::string> reports; // of the watchers
    std::vector<std::string> lines;   // of the tracker

    Site() {
        char name[] = "/tmp/muster-layers-XXXXXX";
        REQUIRE(mkdtemp(name));
        folder = name;
        for (const char* each : {"boot", "core", "services", "rooms"})
            REQUIRE(mkdir((folder + "/" + each).c_str(), 0755) == 0);
        for (const File& file : boot_layer)
            write(file.path, file.text);
        for (const File& file : later_layers)
            write(file.path, file.text);
        track_services(*world.engine, {world.config, world.machine, status, log, ""});
        world.act([&](Turn& turn) { watch(turn); });
    }
    ~Site() {
        world.act([&](Turn& turn) { turn.stop_actor(); });
        CHECK(std::system(("rm -rf '" + folder + "'").c_str()) == 0);
    }

    void write(const std::string& path, std::string_view text) const {
        Fd fd(open((folder + "/" + path).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
        REQUIRE(fd);
        REQUIRE(::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }

    void watch(Turn& turn) {
        config::serve_config_watchers(
            turn, *world.loop, world.config,
            [this](const config::Problem& problem) { reports.push_back(to_string(problem)); });
        observe(
            turn, world.config, pat::record("service-state", {pat::bind(), pat::bind()}),
            [this](Turn&, View seen) { events.push_back("+" + event(seen.at(0), seen.at(1))); },
            [this](Turn&, View seen) { events.push_back("-" + event(seen.at(0), seen.at(1))); });
        auto note = [](std::set<std::string>& notes, bool came) {
            return [&notes, came](Turn&, View seen) {
                std::string text = preserves::to_text(without_capabilities(seen.at(0)));
                if (came)
                    notes.insert(text);
                else
                    notes.erase(text);
            };
        };
        for (const char* label : {"run-service", "wanted-in-room", "daemon-status"}) {
            Value pattern = pat::bind(pat::record(label, {pat::discard()}));
            observe(turn, world.config, pattern, note(facts, true), note(facts, false));
        }
        Value services = pat::bind(pat::record("service", {pat::discard()}));
        observe(turn, status, services, note(mirrored, true), note(mirrored, false));
        on_message(turn, log, pat::record("log", {pat::discard(), pat::bind()}),
                   [this](Turn&, View seen) {
                       if (auto line = seen.at(0).get("line").as_string())
                           lines.emplace_back(*line);
                   });
    }

    // As `dataspace --config FOLDER/boot` does.
    void boot() {
        world.act([&](Turn& turn) {
            Value variables = preserves::dictionary(
                {{"config", dataspace::embed(world.config)}, {"log", dataspace::embed(world.log)}});
            Value path = preserves::string(folder + "/boot");
            turn.assert_(world.config, preserves::record("require-service",
                                                         {preserves::record("config-watcher",
                                                                            {path, variables})}));
        });
    }

    size_t place(const std::string& what) const {
        auto found = std::find(events.begin(), events.end(), what);
        INFO(what);
        REQUIRE(found != events.end());
        return static_cast<size_t>(found - events.begin());
    }
    bool seen(const std::string& what) const {
        return std::find(events.begin(), events.end(), what) != events.end();
    }
    void until_seen(const std::string& what) {
        INFO(what);
        world.until([&] { return seen(what); });
    }
    // The `<service …>` in status whose name begins so.
    std::string mirrored_service(const std::string& beginning) const {
        for (const std::string& each : mirrored)
            if (each.starts_with("<service " + beginning)) return each;
        return "";
    }
    // The name there, up to its state.
    std::string mirrored_name(const std::string& beginning) const {
        Value service = services::test::parse(mirrored_service(beginning));
        return preserves::to_text(service.view().at(0));
    }
};

} // namespace

TEST_CASE("synit tree: each waits for the one before, and can do no more than it was given") {
    Site site;
    site.boot();
    site.until_seen("+clock complete");
    site.until_seen("+devices started");
    site.until_seen("+watcher core up");
    // The core layer is known and what it wants runs; but it is not up, and nothing else has begun.
    CHECK_FALSE(site.seen("+core ready"));
    CHECK_FALSE(site.seen("+watcher services started"));
    CHECK_FALSE(site.seen("+web started"));

    site.world.say("<service-state <daemon devices> ready>");
    site.until_seen("+web ready");
    site.until_seen("+watcher rooms ready");
    CHECK(site.place("+watcher boot ready") < site.place("+watcher core started"));
    CHECK(site.place("+watcher core up") < site.place("+core ready"));
    CHECK(site.place("+clock up") < site.place("+core ready"));
    CHECK(site.place("+devices up") < site.place("+core ready"));
    CHECK(site.place("+core up") < site.place("+watcher services started"));
    CHECK(site.place("+watcher services started") < site.place("+web started"));

    CHECK(site.reports.empty());
    CHECK(site.facts.count("<wanted-in-room tea>") == 1);
    for (const char* who : {"forced", "guest"}) {
        INFO(who);
        CHECK(site.facts.count("<run-service <daemon " + std::string(who) + ">>") == 0);
        CHECK_FALSE(site.seen("+" + std::string(who) + " started"));
    }
}

TEST_CASE("synit tree: when what core stands for goes, the services go, and come back with it") {
    Site site;
    site.boot();
    site.until_seen("+devices started");
    site.world.say("<service-state <daemon devices> ready>");
    site.until_seen("+web ready");
    site.events.clear();
    site.world.unsay("<service-state <daemon devices> ready>");
    site.world.until_gone("web");
    CHECK(site.place("-core up") < site.place("-web ready"));
    CHECK(site.place("-core up") < site.place("-watcher services ready"));
    CHECK_FALSE(site.seen("-clock complete"));
    CHECK_FALSE(site.seen("-watcher core ready"));
    site.events.clear();
    site.world.say("<service-state <daemon devices> ready>");
    site.until_seen("+web ready");
    CHECK(site.place("+core up") < site.place("+watcher services started"));
}

TEST_CASE(
    "synit tree: a watcher is named, stopped, started and restarted without its capabilities") {
    Site site;
    site.boot();
    site.until_seen("+devices started");
    site.world.say("<service-state <daemon devices> ready>");
    site.until_seen("+web ready");
    std::string path = "\"" + site.folder + "/boot/../services\"";
    std::string name = site.mirrored_name("<config-watcher " + path);
    CHECK(name == "<config-watcher " + path + " {dir: \"" + site.folder +
                      "/boot\", log: capability, config: capability, "
                      "services-path: " +
                      path + "}>");
    size_t known = site.mirrored.size();

    site.events.clear();
    site.world.send("<stop-service " + name + ">");
    site.world.until_gone("web");
    CHECK(site.seen("-watcher services ready"));
    // No phantom beside it.
    CHECK(site.mirrored.size() <= known);
    CHECK(site.mirrored_service(name).starts_with("<service " + name + " stopped {"));
    CHECK(site.mirrored_service(name).find("override: down") != std::string::npos);

    site.events.clear();
    site.world.send("<release-service " + name + ">");
    site.until_seen("+web ready");
    site.events.clear();
    site.world.send("<restart-service " + name + ">");
    site.until_seen("+watcher services ready");
    CHECK(site.place("-watcher services ready") < site.place("+watcher services ready"));
}

TEST_CASE("synit tree: a name that could be several services is refused") {
    Site site;
    site.world.act([&](Turn& turn) {
        for (const dataspace::CapRef& cap : {site.world.config, site.world.log})
            turn.assert_(
                site.world.config,
                preserves::record("require-service", {preserves::record("thing", {embed(cap)})}));
    });
    site.world.until([&] { return !site.mirrored_service("<thing capability>").empty(); });
    site.world.send("<stop-service <thing capability>>");
    site.world.until([&] { return !site.lines.empty(); });
    CHECK(site.lines.back() ==
          "<thing capability> is the name of several services, which differ in "
          "their capabilities only: nothing was done");
    CHECK(site.facts.count("<run-service <thing capability>>") == 1);
}
