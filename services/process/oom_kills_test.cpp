#include "services/process/oom_kills.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "init/base/catch.h"

using namespace muster;
using namespace muster::services;

namespace {

constexpr uint64_t second = 1'000'000'000;

// As /dev/kmsg: a record with each read.
struct Log {
    Log() {
        int ends[2];
        REQUIRE(::pipe2(ends, O_DIRECT | O_NONBLOCK | O_CLOEXEC) == 0);
        read = Fd(ends[0]);
        write = Fd(ends[1]);
    }
    void add(const std::string& record) const {
        REQUIRE(::write(write.get(), record.data(), record.size()) ==
                static_cast<ssize_t>(record.size()));
    }
    Fd read, write;
};

const std::string global =
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,"
    "task_memcg=/services/web,task=tail,pid=812,uid=0";
const std::string killed =
    "Out of memory: Killed process 913 (x,pid=5) total-vm:100kB, anon-rss:4kB, oom_score_adj:0";

} // namespace

TEST_CASE("oom kills: who it is, in the kernel's words") {
    CHECK(oom_victim("info " + global) == 812);
    CHECK(oom_victim("err " + killed) == 913);
    CHECK(oom_victim("err Memory cgroup out of memory: Killed process 7 (a) total-vm:1kB") == 7);
    for (const char* other :
         {"", "oom-kill:", "oom-kill:pid=3", "oom-kill:x,pid=", "Killed process ",
          "Killed process -3 (a)", "oom-kill:a,pid=99999999999999999999",
          "tail invoked oom-killer: gfp_mask=0x140cca, order=0"})
        CHECK(oom_victim(other) == 0);
}

TEST_CASE("oom kills: asked by number and time") {
    Log log;
    log.add("6,1,20000000,-;" + global + "\n");
    log.add("nonsense");
    log.add("14,2,20000000,-;Out of memory: Killed process 5 (by hand)\n"); // by a program
    OomKills kills(std::move(log.read));
    CHECK(kills.has(812, 10 * second));
    CHECK(kills.has(812, 10 * second));       // it is still known
    CHECK_FALSE(kills.has(812, 30 * second)); // another one has that number by now
    CHECK_FALSE(kills.has(913, 10 * second));
    CHECK_FALSE(kills.has(5, 0));
    log.add("3,3,40000000,-;" + killed + "\n");
    CHECK(kills.has(913, 30 * second));
    for (int pid = 1000; pid < 1100; ++pid) {
        log.add("3,4,50000000,-;Out of memory: Killed process " + std::to_string(pid) + " (a)\n");
        CHECK(kills.has(pid, 30 * second));
    }
    CHECK_FALSE(kills.has(913, 30 * second)); // long ago
}

TEST_CASE("oom kills: without the log nobody is known") {
    OomKills kills((Fd()));
    CHECK_FALSE(kills.has(1, 0));
}
