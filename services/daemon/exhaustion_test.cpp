// What a start does when the system refuses what it needs: it is tried again, later each time.
#include "services/daemon/supervisor_world.h"
#include "services/process/no_descriptors_testing.h"

using namespace muster;
using namespace muster::services;
using namespace muster::services::test;

TEST_CASE("without descriptors a start is tried again, each time later, until there are some") {
    World world;
    world.run("steady", "[\"/bin/sleep\" \"1000\"]");
    world.until_state("steady ready");
    int64_t pid = world.number("steady", "pid");
    {
        NoDescriptors none;
        world.run("wanting", "[\"/bin/sleep\" \"1000\"]");
        world.until([&] { return world.phase("wanting") == "backoff"; });
        CHECK(world.last("wanting").find("Too many open files") != std::string::npos);
        int64_t first = world.number("wanting", "delayMs");
        world.until([&] { return world.number("wanting", "delayMs") > first; });
        CHECK(world.now.count("wanting failed") == 1);
        CHECK(world.number("steady", "pid") == pid);
    }
    world.until_state("wanting ready");
    CHECK(world.number("steady", "pid") == pid);
}

TEST_CASE(
    "a service that is not to be started again has not been started yet without descriptors") {
    World world;
    {
        NoDescriptors none;
        world.run("once", "{argv: [\"/bin/sleep\" \"1000\"] restart: never}");
        world.until([&] { return world.phase("once") == "backoff"; });
        int64_t first = world.number("once", "delayMs");
        world.until([&] { return world.number("once", "delayMs") > first; });
    }
    world.until_state("once ready");
}

TEST_CASE("what is to be cleaned up is, once there are descriptors again") {
    World world;
    world.run("x", "{argv: [\"/bin/sleep\" \"1000\"] stopPost: \"echo cleaned up\"}");
    world.until_state("x ready");
    {
        NoDescriptors none;
        world.stop("x");
        world.until_line("x supervisor: stopPost: pipe: Too many open files; tried again in 0.4 s");
    }
    world.until_gone("x");
    CHECK(world.has_line("x stdout: cleaned up"));
}

TEST_CASE("when every slot is taken a start is tried again until one is free") {
    World world;
    std::vector<SlotRef> taken;
    while (auto slot = world.link.claim("other", ""))
        taken.push_back(*slot);
    world.run("wanting", "[\"/bin/sleep\" \"1000\"]");
    world.until([&] { return world.phase("wanting") == "backoff"; });
    CHECK(world.last("wanting").find("every process slot is taken") != std::string::npos);
    int64_t first = world.number("wanting", "delayMs");
    world.until([&] { return world.number("wanting", "delayMs") > first; });
    world.link.release(taken.back());
    world.until_state("wanting ready");
}

TEST_CASE("a program that there is no room to execute has not been started yet") {
    if (::geteuid() != 0) return muster::test::skip("needs root");
    // Itself, or a command before it.
    for (std::string more : {"", "startPre: [\"/bin/true\"]"}) {
        World world;
        for (const char* other : {"one", "two"}) {
            world.run(other, "{argv: [\"/bin/sleep\" \"1000\"] user: 47114}");
            world.until_state(std::string(other) + " ready");
        }
        // execve(2), EAGAIN: beyond the limit since it became that user, which has others.
        world.run("main", "{argv: [\"/bin/sleep\" \"1000\"] user: 47114 limits: {nproc: 1} "
                          "restart: never restartLimit: {starts: 2 within: 60} " +
                              more + "}");
        world.until([&] { return world.number("main", "restarts") >= 4; }); // again and again
        CHECK(world.last("main") ==
              (more.empty() ? "execute /bin/sleep" : "startPre: execute /bin/true") +
                  std::string(": Resource temporarily unavailable"));
        world.stop("one");
        world.stop("two");
        world.until_state("main ready");
    }
}

TEST_CASE("a service goes on while there is no room for what follows its start") {
    if (::geteuid() != 0) return muster::test::skip("needs root");
    World world;
    world.run("other", "{argv: [\"/bin/sleep\" \"1000\"] user: 47115}");
    world.until_state("other ready");
    // execve(2), EAGAIN, as above: there is room for one more.
    world.run("main", "{argv: [\"/bin/sleep\" \"1000\"] user: 47115 limits: {nproc: 1} "
                      "restart: never startPost: [\"/bin/true\"]}");
    world.until_line("main supervisor: startPost: execute /bin/true: "
                     "Resource temporarily unavailable; tried again in 0.4 s");
    int64_t pid = world.number("main", "pid");
    world.stop("other");
    world.until_state("main ready");
    CHECK(world.number("main", "pid") == pid);
    CHECK(world.number("main", "restarts") == 0);
}
