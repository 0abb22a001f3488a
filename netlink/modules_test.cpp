#include "netlink/modules.h"

#include <cerrno>

#include "netlink/module_loader.h"
#include "netlink/test_peer.h"

using namespace muster::netlink;
using testing::Strings;

namespace {

struct System : testing::Tree {
    Strings loaded;
    int answer = 0;

    System() {
        file("/lib/modules/r/modules.alias", "alias a:* a\nalias b:* b\nalias l:* loaded\n");
        file("/lib/modules/r/modules.dep", "a.ko:\nb.ko: a.ko\nloaded.ko:\n");
        file("/sys/module/loaded/initstate", "live\n");
    }
    Modules::Load load() {
        return [this](const ModuleToLoad& module) {
            loaded.push_back(module.name);
            if (answer == 0) file("/sys/module/" + module.name + "/initstate", "live\n");
            return answer;
        };
    }
};

} // namespace

TEST_CASE("modules: loads what is asked for and not there yet, a step at a time") {
    System system;
    Modules modules(system.root(), "r", system.load());
    CHECK(modules.idle());
    CHECK_FALSE(modules.step());
    modules.request("/devices/1", "b:1");
    modules.request("/devices/2", "b:1");
    modules.request("/devices/3", "l:1");
    modules.request("/devices/4", "unknown:1");
    CHECK_FALSE(modules.idle());
    CHECK(modules.step()); // finds out
    CHECK(system.loaded.empty());
    CHECK(modules.step());
    CHECK(system.loaded == Strings{"a"});
    modules.request("/devices/5", "a:1"); // meanwhile; is loaded by then
    CHECK(modules.step());
    CHECK(system.loaded == Strings{"a", "b"});
    while (modules.step()) {
    }
    CHECK(system.loaded == Strings{"a", "b"});
    CHECK(modules.idle());
    system.remove("/sys/module/a"); // rmmod, and the device comes again
    modules.request("/devices/5", "a:1");
    while (modules.step()) {
    }
    CHECK(system.loaded == Strings{"a", "b", "a"});
}

TEST_CASE("modules: one that cannot be loaded does not stop the others") {
    System system;
    Modules modules(system.root(), "r", system.load());
    system.answer = ENODEV;
    modules.request("/devices/1", "b:1");
    while (modules.step()) {
    }
    CHECK(system.loaded == Strings{"a", "b"});
    system.answer = ENOEXEC;
    modules.request("/devices/1", "b:1");
    while (modules.step()) {
    }
    CHECK(system.loaded == Strings{"a", "b", "a", "b"});
}

TEST_CASE("modules: where the kernel lets us load none, nothing is tried again") {
    System system;
    Modules modules(system.root(), "r", system.load());
    system.answer = EPERM;
    modules.request("/devices/1", "b:1");
    while (modules.step()) {
    }
    CHECK(system.loaded == Strings{"a"});
    modules.request("/devices/1", "b:1");
    CHECK(modules.idle());

    Modules none(system.root(), "other-kernel", system.load());
    none.request("/devices/1", "b:1");
    CHECK(none.idle());
}

TEST_CASE("modules: the loader tells what is wrong with a file") {
    testing::Tree tree;
    ModuleLoader loader;
    CHECK(loader.load({"x", tree.root() + "/missing.ko", "", ""}) == ENOENT);
}
