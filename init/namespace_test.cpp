// init as a real process 1 in namespaces of its own, with this test program as its second stage.
//
// The test binary plays three parts, by the name it is called: `init` runs run_init, `second-stage`
// obeys lines that the test writes to a socket and answers with lines, anything else is the tests.
// The host is left as it was: everything lives in the namespaces and dies with the test.
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>

#include <sys/stat.h>
#include <unistd.h>

#include "init/base/catch.h"
#include "init/namespace_testing.h"
#include "init/run.h"

using namespace muster;
using namespace muster::pid1::testing;

namespace {

// Before main: glibc hands constructors the arguments.
__attribute__((constructor)) void take_part(int argc, char** argv, char**) {
    std::string_view name = argc > 0 ? argv[0] : "";
    if (std::size_t slash = name.rfind('/'); slash != name.npos) name.remove_prefix(slash + 1);
    if (getenv(kControl) == nullptr) return;
    if (name == "init") _exit(pid1::run_init(argc, argv));
    if (name == "second-stage") be_second_stage(argc, argv);
    if (name == "failing-stage") _exit(3);
}

// Everything here needs to make namespaces.
bool possible() {
    if (geteuid() == 0) return true;
    test::skip("needs root for namespaces");
    return false;
}

std::string flags_of(const std::string& hello) { return hello.substr(hello.rfind(' ') + 1); }

} // namespace

TEST_CASE("a container: boots, runs services, powers off with exit status 0") {
    if (!possible()) return;
    Container box;
    CHECK(box.hear().starts_with("hello 0 "));
    CHECK(box.hear() == "kept-end");
    box.tell("up");
    box.tell("spawn exit 5");
    box.hear("spawned");
    CHECK(box.hear("status") == "status exit 5 " + std::to_string(5 << 8));
    box.tell("shutdown 1 0");
    CHECK(box.hear("stop") == "stop 1 0");
    box.tell("stopped");
    CHECK(box.wait() == 0);
}

TEST_CASE("a container's exit statuses") {
    if (!possible()) return;
    Container box;
    box.hear("hello");
    SECTION("exit with a status, not up") {
        box.tell("shutdown 4 42");
        CHECK(box.wait() == 42);
    }
    SECTION("reboot") {
        box.tell("shutdown 2 0");
        CHECK(box.wait() == 133);
    }
    SECTION("TERM from the engine") {
        box.tell("up");
        box.tell("count"); // init has it when the answer is here and one more turn is over
        box.hear("count");
        box.signal(SIGTERM);
        CHECK(box.hear("stop") == "stop 1 15");
        box.tell("stopped");
        CHECK(box.wait() == 0);
    }
    SECTION("SIGRTMIN+3 from the engine") {
        box.signal(37);
        CHECK(box.wait() == 0);
    }
}

TEST_CASE("a second stage that always fails ends a container that has no terminal") {
    if (!possible()) return;
    Options options;
    options.stage = "failing-stage";
    Container box(options);
    CHECK(box.wait() == 1);
    CHECK(box.messages().find("(exit status 3), attempt 5 of 5") != std::string::npos);
}

TEST_CASE("2,000 real orphans leave no zombie, and the status of their parent is there") {
    if (!possible()) return;
    Container box;
    box.hear("hello");
    box.tell("up");
    box.tell("orphans 2000");
    box.hear("spawned");
    CHECK(box.hear("status") == "status 2000 " + std::to_string(7 << 8));
    std::string count;
    do { // they are ending: every answer is a look at the real state
        box.tell("count");
        count = box.hear("count");
    } while (count != "count 2 0" && count.starts_with("count"));
    CHECK(count == "count 2 0"); // init and the second stage
    box.tell("shutdown 1 0");
    box.hear("stop");
    box.tell("stopped");
    CHECK(box.wait() == 0);
}

TEST_CASE("kill -9 of the second stage: its services go on, what was kept comes back") {
    if (!possible()) return;
    Options options;
    SECTION("without cgroups") {}
    SECTION("with cgroups") { options.cgroup = true; }
    Container box(options);
    if (options.cgroup && !box.has_cgroup()) {
        test::skip("no cgroup2 here");
        return;
    }
    for (int run = 0; run < 3; ++run) {
        std::string hello = box.hear("hello");
        CHECK(hello.starts_with("hello " + std::to_string(run) + " "));
        CHECK(((std::atoi(flags_of(hello).c_str()) & records::kCgroup2) != 0) == options.cgroup);
        if (run > 0) CHECK(box.hear() == "kept terminal");
        CHECK(box.hear() == "kept-end");
        box.tell("up");
        box.tell("spawn sleep 1000 & sleep 1000");
        box.hear("spawned");
        if (run == 0) box.tell("keep terminal");
        // init, the second stage, and a shell with two children for each run
        std::string wanted = "count " + std::to_string(2 + 3 * (run + 1)) + " 0";
        std::string count;
        do {
            box.tell("count");
            count = box.hear("count");
        } while (count != wanted && count.starts_with("count"));
        CHECK(count == wanted);
        box.tell("die");
    }
    box.hear("hello 3");
    box.tell("shutdown 4 9");
    CHECK(box.wait() == 9);
}

TEST_CASE("init that crashes starts itself again, with its second stage and statuses") {
    if (!possible()) return;
    Container box;
    box.hear("hello 0");
    box.hear("kept-end");
    box.tell("up");
    box.tell("keep one");
    box.tell("spawn exit 1"); // when its status comes, init has read all of the above
    box.hear("status");
    for (int crash = 0; crash < 3; ++crash) {
        box.tell("crash-init");
        box.tell("spawn exit 6");
        box.hear("spawned");
        CHECK(box.hear("status") == "status exit 6 " + std::to_string(6 << 8));
    }
    box.tell("die");
    box.hear("hello 1");
    // The record at which a crash happened is lost; if it was an acknowledgement, the status comes
    // again first.
    CHECK(box.hear("kept") == "kept one");
    box.tell("up");
    box.tell("shutdown 1 0");
    box.hear("stop");
    box.tell("stopped");
    CHECK(box.wait() == 0);
    CHECK(box.messages().find("crashed (signal 11), starting again") != std::string::npos);
}

TEST_CASE("what ignores TERM is killed in the end") {
    if (!possible()) return;
    Container box;
    box.hear("hello");
    box.tell("up");
    box.tell("spawn trap '' TERM HUP; while :; do sleep 1000; done");
    box.hear("spawned");
    box.tell("shutdown 1 0");
    box.hear("stop");
    box.tell("stopped");
    CHECK(box.wait() == 0);
}

TEST_CASE("without any privilege, in a user namespace, what is refused is said once") {
    if (!possible()) return;
    Options options;
    options.user_namespace = true;
    Container box(options);
    std::string hello = box.hear();
    if (hello == "end" || hello == "nothing") {
        test::skip("no user namespaces here, or the test program cannot be read by others");
        return;
    }
    CHECK(hello.starts_with("hello 0 "));
    box.tell("up");
    box.tell("spawn exit 4");
    CHECK(box.hear("status") == "status exit 4 " + std::to_string(4 << 8));
    box.tell("shutdown 1 0");
    box.hear("stop");
    box.tell("stopped");
    CHECK(box.wait() == 0);
}

TEST_CASE("the host's mounts and cgroups are as they were") {
    if (!possible()) return;
    std::string before = read_whole("/proc/self/mountinfo");
    auto cgroups = [] {
        struct stat root {};
        return stat("/sys/fs/cgroup/services", &root) == 0 ||
               stat("/sys/fs/cgroup/unified/services", &root) == 0;
    };
    bool had = cgroups();
    {
        Container box;
        box.hear("hello");
        box.tell("cat /proc/self/mountinfo");
        CHECK(box.hear("text").find(" /run ") != std::string::npos);
        box.tell("shutdown 1 0");
        CHECK(box.wait() == 0);
    }
    CHECK(read_whole("/proc/self/mountinfo") == before);
    CHECK(cgroups() == had);
}
