// The layers as configured in services/etc/muster/boot: what becomes of what is said in them.
#include <fstream>
#include <iterator>
#include <map>

#include "init/base/catch.h"
#include "init/config/script_world.h"

using namespace muster;
using config::World;
using preserves::Value;
using preserves::View;

namespace {

std::string contents(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

// The boot layer, started in a mode, and the capability that the files of another layer get.
struct Layers : World {
    explicit Layers(const std::string& mode) {
        Value any = dataspace::embed(config);
        for (const char* name : {"log", "machine", "status", "system"})
            environment.bind(name, any);
        environment.bind("configuration", preserves::string("/etc/test"));
        for (const char* name : {"30-switch-root", "40-modes", "50-core", "60-services"})
            start(contents(std::string("services/etc/muster/boot/") + name + ".pr"));
        engine.spawn("find", [this](dataspace::Turn& turn) {
            dataspace::observe(
                turn, config,
                World::read(
                    "<group <rec depends-on> {1: <group <rec service-state> {0: <bind <_>>}>}>"),
                [this](dataspace::Turn&, View captures) { note(captures.at(0)); },
                [](dataspace::Turn&, View) {});
        });
        add("<boot-mode " + mode + ">");
    }

    void note(View watcher) {
        if (!watcher.is_record("config-watcher", 2)) return;
        View variables = watcher.at(1);
        layers[std::string(*watcher.at(0).as_string())] =
            dataspace::cap_of(variables.get(preserves::symbol("config")));
    }

    // $config of the layer whose folder is `folder`; null if there is none yet.
    dataspace::CapRef layer(const std::string& folder) const {
        auto found = layers.find("/etc/test/" + folder);
        return found == layers.end() ? dataspace::CapRef() : found->second;
    }
    dataspace::Handle say(const dataspace::CapRef& target, std::string_view text) {
        dataspace::Handle handle = 0;
        turn([&](dataspace::Turn& t) { handle = t.assert_(target, read(text)); });
        return handle;
    }

    std::map<std::string, dataspace::CapRef> layers; // by the path of their folder
};

} // namespace

TEST_CASE("layers: what the core requires, its milestone depends on") {
    Layers layers("normal");
    CHECK(layers.has("<require-service <milestone default>>"));
    CHECK(layers.has("<runs-on machine>"));
    dataspace::CapRef core = layers.layer("core");
    REQUIRE(core);
    dataspace::Handle need = layers.say(core, "<require-service <daemon clock>>");
    CHECK(layers.has("<depends-on <milestone core> <service-state <daemon clock> up>>"));
    CHECK_FALSE(layers.has("<require-service <daemon clock>>"));
    layers.say(core, "<daemon clock \"true\">");
    CHECK(layers.has("<daemon clock \"true\">"));
    layers.remove(need);
    CHECK_FALSE(layers.has("<depends-on <milestone core> <service-state <daemon clock> up>>"));
    CHECK(layers.problems.empty());
}

TEST_CASE("layers: what services/ defines waits for the core, however it is asked for") {
    Layers layers("container");
    CHECK(layers.has("<runs-on container>"));
    CHECK(layers.has("<depends-on <milestone default> <service-state <milestone core> up>>"));
    dataspace::CapRef services = layers.layer("services");
    REQUIRE(services);
    dataspace::Handle definition = layers.say(services, "<daemon web \"httpd\">");
    CHECK(layers.has("<daemon web \"httpd\">"));
    CHECK(layers.has("<depends-on <daemon web> <service-state <milestone core> up>>"));
    layers.say(services, "<require-service <daemon web>>");
    CHECK(layers.has("<require-service <daemon web>>"));
    layers.say(services, "<require-service <milestone net>>");
    CHECK_FALSE(layers.has("<depends-on <milestone net> <service-state <milestone core> up>>"));
    layers.say(services, "<require-service <listener 1>>");
    CHECK(layers.has("<require-service <listener 1>>"));
    CHECK(layers.has("<depends-on <listener 1> <service-state <milestone core> up>>"));
    layers.remove(definition);
    CHECK_FALSE(layers.has("<daemon web \"httpd\">"));
    CHECK_FALSE(layers.has("<depends-on <daemon web> <service-state <milestone core> up>>"));
    CHECK(layers.problems.empty());
}

TEST_CASE("layers: single-user mode goes on when its shell is left") {
    Layers layers("single");
    CHECK(layers.has("<require-service <daemon single-user>>"));
    CHECK_FALSE(layers.has("<require-service <milestone default>>"));
    CHECK(layers.has("<depends-on <daemon single-user> <service-state <milestone core> up>>"));
    layers.add("<service-state <daemon single-user> complete>");
    CHECK(layers.has("<require-service <milestone default>>"));
    CHECK(layers.problems.empty());
}

TEST_CASE("layers: the first stage wants nothing but the root") {
    Layers layers("switch-root");
    CHECK(layers.has("<require-service <daemon mount-root>>"));
    CHECK_FALSE(layers.has("<require-service <milestone default>>"));
    CHECK_FALSE(layers.layer("core"));
    CHECK(layers.problems.empty());
}

TEST_CASE("layers: every file of the base system is a script without errors") {
    for (const char* file : {"boot/10-bus", "boot/20-devices", "core/clock", "core/filesystems",
                             "core/hostname", "core/loopback", "core/modules", "core/random-seed",
                             "core/sysctl", "services/demo", "services/getty"}) {
        std::string path = std::string("services/etc/muster/") + file + ".pr";
        std::string text = contents(path);
        CHECK_FALSE(text.empty());
        World world;
        Value config = dataspace::embed(world.config);
        world.environment.bind("machine", config);
        world.add("<runs-on machine>");
        world.start(text);
        INFO(path);
        CHECK(world.problems.empty());
    }
}
