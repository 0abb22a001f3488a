// Which files are run at all, where they could do what root can.

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "init/base/catch.h"
#include "init/config/script_world.h"
#include "init/config/watcher.h"

using namespace muster;
using namespace muster::config;

namespace {

struct Site {
    std::string folder;
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    World world;
    std::vector<std::string> reports;
    bool ready = false;
    Ref<dataspace::Facet> facet;

    Site() {
        char name[] = "/tmp/muster-guarded-XXXXXX";
        folder = mkdtemp(name);
        loop->set_after_round([this] { return world.engine.run(); });
    }
    ~Site() {
        if (facet) world.turn([&](dataspace::Turn& turn) { turn.stop(*facet); });
        CHECK(std::system(("rm -rf '" + folder + "'").c_str()) == 0);
    }
    std::string at(const std::string& name) const { return folder + "/" + name + ".pr"; }
    void write(const std::string& name, const std::string& text) {
        std::ofstream(at(name)) << text;
    }
    void make(const std::string& name, uid_t user, gid_t group, mode_t mode) {
        write(name, "<ran " + name + ">");
        REQUIRE(chown(at(name).c_str(), user, group) == 0);
        REQUIRE(chmod(at(name).c_str(), mode) == 0);
    }
    void watch() {
        world.turn([&](dataspace::Turn& turn) {
            facet = turn.facet([&](dataspace::Turn& inner) {
                WatchOptions options;
                options.path = folder;
                options.environment = world.environment;
                options.guarded = true;
                options.errors = world.config;
                options.report = [this](const Problem& problem) {
                    reports.push_back(to_string(problem));
                };
                options.on_ready = [this](dataspace::Turn&) { ready = true; };
                watch_config(inner, *loop, std::move(options));
            });
        });
    }
    bool until(const std::function<bool()>& done) {
        bool late = false;
        Timer limit = loop->after(20 * second, [&] { late = true; });
        while (!done() && !late)
            loop->run_once(true);
        return done();
    }
    bool ran(const std::string& name) { return world.has("<ran " + name + ">"); }
};

} // namespace

TEST_CASE("a guarded watcher runs only files of root that nobody else can write") {
    if (geteuid() != 0) return test::skip("needs root");
    Site site;
    site.make("fine", 0, 0, 0664);
    site.make("others", 1000, 0, 0644);
    site.make("all", 0, 0, 0646);
    site.make("group", 0, 1000, 0664);
    site.watch();
    CHECK(site.until([&] { return site.ready; }));
    CHECK(site.ran("fine"));
    CHECK(!site.ran("others"));
    CHECK(!site.ran("all"));
    CHECK(!site.ran("group"));
    REQUIRE(site.reports.size() == 3);
    CHECK(site.reports[0].find("all.pr: can be written by everybody") != std::string::npos);
    CHECK(site.reports[1].find("group.pr: can be written by its group") != std::string::npos);
    CHECK(site.reports[2].find("others.pr: does not belong to root") != std::string::npos);
    // It runs when that is put right.
    REQUIRE(chown(site.at("others").c_str(), 0, 0) == 0);
    CHECK(site.until([&] { return site.ran("others"); }));
    // What somebody else could write by now is left as it was.
    REQUIRE(chown(site.at("fine").c_str(), 1000, 0) == 0);
    site.write("fine", "<ran changed>");
    CHECK(site.until([&] { return site.reports.size() == 4; }));
    CHECK(site.ran("fine"));
    CHECK(!site.ran("changed"));
}
