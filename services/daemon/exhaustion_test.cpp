// What a start does when the system refuses what it needs: it is tried again, later each time.
#include <sys/resource.h>
#include <unistd.h>

#include <climits>

#include "services/daemon/supervisor_world.h"

using namespace muster;
using namespace muster::services;
using namespace muster::services::test;

namespace {

// While it lives no descriptor can be made.
class NoDescriptors {
  public:
    NoDescriptors() {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        rlimit none = before_;
        none.rlim_cur = static_cast<rlim_t>(::dup(0)); // the lowest that is free
        ::close(static_cast<int>(none.rlim_cur));
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    }
    ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  private:
    rlimit before_{};
};

} // namespace

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
