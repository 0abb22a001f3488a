#include "services/process/cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "init/base/catch.h"
#include "services/process/spawn.h"

using namespace muster;
using namespace muster::services;

namespace {

// Blocks until nothing is in `group` any more.
void wait_until_empty(const Cgroup& group) {
    Fd events = group.open_events();
    REQUIRE(events);
    while (Cgroup::populated(events.get())) {
        pollfd event{events.get(), POLLPRI, 0};
        REQUIRE(::poll(&event, 1, -1) == 1);
    }
}

// Started in `group`, all its descendants too; returns when the script has written a line.
pid_t start(Spawner& spawner, const Cgroup& group, const std::string& script) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    Fd output(ends[0]), input(ends[1]);
    SpawnRequest request;
    request.argv = {"sh", "-c", script};
    request.standard_output = input.get();
    auto directory = group.open_directory();
    REQUIRE(directory.ok());
    request.cgroup = directory->get();
    auto spawned = spawner.spawn(request);
    REQUIRE(spawned.ok());
    CHECK(spawned->failure.message.empty());
    CHECK(spawned->in_cgroup);
    char line[16];
    REQUIRE(::read(output.get(), line, sizeof line) > 0);
    return spawned->pid;
}

// Kills all that is in `group`; the wait status of `pid`, which is ours.
int end(const Cgroup& group, pid_t pid) {
    group.kill();
    wait_until_empty(group); // a zombie does not count
    int status = 0;
    CHECK(::waitpid(pid, &status, 0) == pid);
    return status;
}

} // namespace

TEST_CASE("cgroup: names for any text") {
    CHECK(cgroup_name("sshd") == "sshd");
    CHECK(cgroup_name("getty@tty1") == "getty@tty1");
    CHECK(cgroup_name("../x y") == "%2E.%2Fx%20y");
    CHECK(cgroup_name("") == "%");
    std::string one = cgroup_name(std::string(1000, 'a'));
    CHECK(one.size() == 128);
    CHECK(one != cgroup_name(std::string(1001, 'a')));
}

TEST_CASE("cgroup: where our own is") {
    std::string_view unified = "24 1 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    std::string_view hybrid = "24 1 0:22 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
                              "25 1 0:23 / /sys/fs/cgroup/my\\040own rw shared:3 - cgroup2 c rw\n";
    std::string_view bound = "24 1 0:22 /box /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    CHECK(own_cgroup_path("0::/user/1\n", unified) == "/sys/fs/cgroup/user/1");
    CHECK(own_cgroup_path("8:pids:/x\n0::/\n", hybrid) == "/sys/fs/cgroup/my own");
    CHECK(own_cgroup_path("0::/box/in\n", bound) == "/sys/fs/cgroup/in");
    CHECK(own_cgroup_path("0::/box\n", bound) == "/sys/fs/cgroup");
    CHECK(own_cgroup_path("0::/other\n", bound) == "");
    CHECK(own_cgroup_path("0::/../other\n", unified) == "");
    CHECK(own_cgroup_path("8:pids:/x\n", hybrid) == "");
}

TEST_CASE("cgroup: a tree of processes, killed whole, and its directory removed") {
    auto tree = CgroupTree::standalone();
    if (!tree.ok()) return muster::test::skip(tree.error().message);
    // Both ways into the group, which the caller must not notice.
    for (bool into : {true, false}) {
        auto spawner = Spawner::create({true, into});
        REQUIRE(spawner.ok());
        auto group = tree->create("some name");
        REQUIRE(group.ok());
        std::string path = tree->path() + "/some%20name";
        CHECK_FALSE(group->populated());
        // A grandchild in a session of its own that ignores what it can.
        pid_t pid = start(*spawner, *group,
                          "setsid sh -c 'trap \"\" TERM; echo up; exec sleep 1000' & wait");
        CHECK(group->populated());
        CHECK(WTERMSIG(end(*group, pid)) == SIGKILL);
        *group = Cgroup();
        CHECK(::access(path.c_str(), F_OK) < 0);
    }
    std::string path = tree->path();
    *tree = CgroupTree();
    CHECK(::access(path.c_str(), F_OK) < 0);
}

TEST_CASE("cgroup: a signal to all; the same name twice; groups made by the service") {
    auto tree = CgroupTree::standalone();
    if (!tree.ok()) return muster::test::skip(tree.error().message);
    auto spawner = Spawner::create();
    REQUIRE(spawner.ok());
    auto one = tree->create("x");
    auto two = tree->create("x");
    REQUIRE(one.ok());
    REQUIRE(two.ok());
    CHECK(one->path() + "+2" == two->path());
    pid_t pid = start(*spawner, *one, "echo up; exec sleep 1000");
    pid_t other = start(*spawner, *two, "echo up; exec sleep 1000");
    one->signal(SIGTERM);
    int status = 0;
    CHECK(::waitpid(pid, &status, 0) == pid);
    CHECK(WTERMSIG(status) == SIGTERM);
    wait_until_empty(*one);
    CHECK(two->populated());
    end(*two, other);
    std::string path = tree->path() + "/x";
    REQUIRE(::mkdir((path + "/inner").c_str(), 0755) == 0);
    REQUIRE(::mkdir((path + "/inner/most").c_str(), 0755) == 0);
    *one = Cgroup();
    CHECK(::access(path.c_str(), F_OK) < 0);
    *two = Cgroup();
    // A name that the kernel has taken for itself.
    auto taken = tree->create("cgroup.procs");
    REQUIRE(taken.ok());
    CHECK(taken->path().ends_with("/_cgroup.procs"));
}

TEST_CASE("cgroup: removed when it is empty, and not before") {
    auto tree = CgroupTree::standalone();
    if (!tree.ok()) return muster::test::skip(tree.error().message);
    auto spawner = Spawner::create();
    REQUIRE(spawner.ok());
    auto group = tree->create("y");
    REQUIRE(group.ok());
    std::string path = tree->path() + "/y";
    pid_t pid = start(*spawner, *group, "echo up; exec sleep 1000");
    CHECK_FALSE(group->remove());
    REQUIRE(::mkdir((path + "/inner").c_str(), 0755) == 0);
    end(*group, pid);
    CHECK(group->remove());
    CHECK_FALSE(static_cast<bool>(*group));
    CHECK(::access(path.c_str(), F_OK) < 0);
    auto gone = tree->reopen(tree->create("z")->path());
    REQUIRE(gone.ok());
    CHECK_FALSE(gone->populated());
    CHECK(gone->remove());
}

TEST_CASE("cgroup: left where they are at the end of the system, but for new ones") {
    auto tree = CgroupTree::standalone();
    if (!tree.ok()) return muster::test::skip(tree.error().message);
    auto spawner = Spawner::create();
    REQUIRE(spawner.ok());
    auto group = tree->create("left");
    auto other = tree->create("other");
    REQUIRE(group.ok());
    REQUIRE(other.ok());
    tree->leave();
    pid_t pid = start(*spawner, *group, "echo up; exec sleep 1000");
    CHECK_FALSE(group->remove());
    end(*group, pid);
    CHECK(group->remove());
    CHECK_FALSE(static_cast<bool>(*group));
    *other = Cgroup();
    {
        auto late = tree->create("left");
        REQUIRE(late.ok());
        CHECK(late->path().ends_with("/left+2"));
    }
    CHECK(::access((tree->path() + "/left+2").c_str(), F_OK) < 0);
    for (const char* name : {"/left", "/other"})
        CHECK(::rmdir((tree->path() + name).c_str()) == 0);
}

TEST_CASE("cgroup: killed even when no descriptor is left") {
    auto tree = CgroupTree::standalone();
    if (!tree.ok()) return muster::test::skip(tree.error().message);
    auto spawner = Spawner::create();
    REQUIRE(spawner.ok());
    auto group = tree->create("w");
    REQUIRE(group.ok());
    pid_t pid = start(*spawner, *group, "sleep 1000 & echo up; wait");
    std::vector<Fd> rest;
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    rlimit few = before;
    few.rlim_cur = std::min<rlim_t>(before.rlim_cur, 256);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    for (int fd; (fd = ::fcntl(0, F_DUPFD_CLOEXEC, 3)) >= 0;)
        rest.emplace_back(fd);
    for (int round = 0; round < 2; ++round) { // what is given up for it comes back
        CHECK(group->populated());
        group->signal(0);
    }
    group->kill();
    int status = 0;
    CHECK(::waitpid(pid, &status, 0) == pid);
    CHECK(WTERMSIG(status) == SIGKILL);
    rest.clear();
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    wait_until_empty(*group);
    CHECK(group->remove());
}
