// What process 1 mounts, with scripted system calls.
#include "init/mounts.h"

#include <cerrno>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <linux/magic.h>
#include <sys/mount.h>

#include "init/base/catch.h"

using namespace muster;
using namespace muster::pid1;

namespace {

struct Mounted {
    std::string type;
    std::string target;
    unsigned long flags;
};

struct ScriptedKernel final : Kernel {
    std::map<std::string, long> there;  // mount points and their magic numbers
    std::map<std::string, int> refused; // by target, errno
    std::set<std::string> missing;      // paths
    std::vector<Mounted> mounted;
    std::vector<std::string> made;
    std::vector<std::string> lines;

    std::int64_t now_ms() override { return 0; }
    pid_t look(Exited&) override { return 0; }
    void reap(pid_t) override {}
    int kill(pid_t, int) override { return 0; }
    int become(const char*, State&) override { return -ENOENT; }
    pid_t start(Helper, const State&, int) override { return -EAGAIN; }
    int check_new_root(const records::SwitchRoot&, const State&) override { return 0; }
    int switch_root(const records::SwitchRoot&, State&) override { return 0; }
    int end(records::Action, int, bool) override { return 0; }
    int mount(const char*, const char* target, const char* type, unsigned long flags,
              const char*) override {
        if (refused.count(target)) return -refused[target];
        mounted.push_back({type, target, flags});
        return 0;
    }
    int make_directory(const char* path, unsigned) override {
        if (refused.count(path)) return -refused[path];
        made.emplace_back(path);
        missing.erase(path);
        return 0;
    }
    long file_system(const char* path) override {
        return there.count(path) ? there[path] : EXT4_SUPER_MAGIC;
    }
    int is_mount_point(const char* path) override { return there.count(path) ? 1 : 0; }
    int make_symlink(const char*, const char*) override { return 0; }
    int make_device(const char* path, unsigned, unsigned, unsigned) override {
        made.emplace_back(path);
        return refused.count(path) ? -refused[path] : 0;
    }
    int write_file(const char* path, std::string_view) override {
        return refused.count(path) ? -refused[path] : 0;
    }
    std::uint64_t inode(const char* path) override { return missing.count(path) ? 0 : 1; }
    void print(std::string_view line) override { lines.emplace_back(line); }

    const Mounted* at(const std::string& target) const {
        for (const Mounted& one : mounted) {
            if (one.target == target) return &one;
        }
        return nullptr;
    }
};

} // namespace

TEST_CASE("a machine gets all its file systems, in an order that works") {
    ScriptedKernel kernel;
    auto state = std::make_unique<State>();
    kernel.missing = {"/run"};
    mount_file_systems(kernel, *state);
    std::vector<std::string> targets;
    for (const Mounted& one : kernel.mounted)
        targets.push_back(one.target);
    CHECK(targets == std::vector<std::string>{"/proc", "/sys", "/dev", "/run", "/dev/pts",
                                              "/dev/shm", "/sys/fs/cgroup"});
    CHECK(kernel.made == std::vector<std::string>{"/run"});
    CHECK(kernel.lines.empty());
}

TEST_CASE("each file system is optional, with one line") {
    ScriptedKernel kernel;
    auto state = std::make_unique<State>();
    kernel.refused = {{"/sys", EPERM}, {"/sys/fs/cgroup", ENODEV}, {"/run", EROFS}};
    kernel.missing = {"/run"};
    mount_file_systems(kernel, *state);
    CHECK(kernel.mounted.size() == 4);
    REQUIRE(kernel.lines.size() == 3);
    CHECK(kernel.lines[0] == "init: mount /sys: Operation not permitted");
    CHECK(kernel.lines[1] == "init: make directory /run: Read-only file system");
}

TEST_CASE("what is mounted already stays as it is") {
    ScriptedKernel kernel;
    auto state = std::make_unique<State>();
    kernel.there = {{"/proc", PROC_SUPER_MAGIC}, {"/dev", TMPFS_MAGIC}, {"/run", TMPFS_MAGIC}};
    mount_file_systems(kernel, *state);
    CHECK(kernel.at("/proc") == nullptr);
    CHECK(kernel.at("/dev") == nullptr);
    CHECK(kernel.at("/run") == nullptr);
    CHECK(kernel.at("/sys") != nullptr);
}

TEST_CASE("in a container: /sys read-only, never devtmpfs") {
    ScriptedKernel kernel;
    auto state = std::make_unique<State>();
    state->container = true;
    SECTION("with devices from the engine") {
        mount_file_systems(kernel, *state);
        CHECK(kernel.at("/dev") == nullptr);
    }
    SECTION("without") {
        kernel.missing = {"/dev/null", "/dev/ptmx"};
        mount_file_systems(kernel, *state);
        REQUIRE(kernel.at("/dev") != nullptr);
        CHECK(kernel.at("/dev")->type == "tmpfs");
        CHECK(kernel.made.size() == 6);
    }
    REQUIRE(kernel.at("/sys") != nullptr);
    CHECK((kernel.at("/sys")->flags & MS_RDONLY) != 0);
    for (const Mounted& one : kernel.mounted) {
        CHECK(one.type != "devtmpfs");
        CHECK((one.flags & MS_REMOUNT) == 0);
    }
}

TEST_CASE("cgroups: made where the tree is ours, left alone where it is the host's") {
    ScriptedKernel kernel;
    auto state = std::make_unique<State>();
    SECTION("no cgroup2") {
        make_cgroups(kernel, *state);
        CHECK_FALSE(state->cgroup2);
        CHECK(kernel.made.empty());
    }
    kernel.there = {{"/sys/fs/cgroup", CGROUP2_SUPER_MAGIC}};
    SECTION("a machine") {
        kernel.missing = {"/sys/fs/cgroup/cgroup.events"};
        make_cgroups(kernel, *state);
        CHECK(state->cgroup2);
        CHECK(state->cgroup_kill);
        CHECK(kernel.made.size() == 3);
    }
    SECTION("an old kernel") {
        kernel.missing = {"/sys/fs/cgroup/services/cgroup.kill"};
        make_cgroups(kernel, *state);
        CHECK(state->cgroup2);
        CHECK_FALSE(state->cgroup_kill);
    }
    SECTION("a container that sees the host's tree") {
        state->container = true;
        kernel.missing = {"/sys/fs/cgroup/cgroup.events"};
        make_cgroups(kernel, *state);
        CHECK_FALSE(state->cgroup2);
        CHECK(kernel.made.empty());
        CHECK(kernel.lines.size() == 1);
    }
    SECTION("a container that may not") {
        state->container = true;
        kernel.refused = {{"/sys/fs/cgroup/init.scope", EACCES}};
        make_cgroups(kernel, *state);
        CHECK_FALSE(state->cgroup2);
        CHECK(kernel.lines.size() == 1);
    }
}
