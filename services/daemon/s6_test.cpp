// s6 service directories, as they stand.
#include <signal.h>

#include "services/daemon/programs_testing.h"
#include "services/daemon/s6_folder.h"

using namespace muster;
using namespace muster::services;
using services::test::Folder;
using services::test::World;

namespace {

std::string service(const Folder& folder, const std::string& fields = "") {
    return "{s6: \"" + folder.path + "\" " + fields + "}";
}

} // namespace

TEST_CASE("s6: run, notification-fd and finish") {
    Folder folder;
    folder.write("run", "#!/bin/sh\necho here $PWD\necho >&5\nexec sleep 1000\n", 0755);
    folder.write("notification-fd", "5\n");
    folder.write("finish", "#!/bin/sh\necho \"finish $1 $2 $3\"\n", 0755);
    World world;
    world.run("x", service(folder));
    world.until_state("x ready");
    CHECK(world.has_line("x stdout: here " + folder.path));
    int64_t pid = world.number("x", "pid");
    ::kill(static_cast<pid_t>(pid), SIGUSR1);
    std::string name = folder.path.substr(5);
    world.until_line("x stdout: finish 256 10 " + name);
    world.until([&] { return world.number("x", "pid") > 0 && world.number("x", "pid") != pid; });
    world.until_state("x ready");
    world.stop("x");
    world.until_gone("x");
    CHECK(world.has_line("x stdout: finish 256 15 " + name));
}

TEST_CASE("s6: finish can say that it is not to be started again") {
    Folder folder;
    folder.write("run", "#!/bin/sh\nexit 3\n", 0755);
    folder.write("finish", "#!/bin/sh\n[ $1 = 3 ] && exit 125\n", 0755);
    World world;
    world.run("x", service(folder));
    world.until([&] { return world.phase("x") == "failed"; });
    CHECK(world.last("x") == "exit code 3; finish says that it is not to be started again");
    CHECK(world.number("x", "restarts") == 0);
}

TEST_CASE("s6: down, down-signal, timeout-kill") {
    Folder folder;
    folder.write("run", "#!/bin/sh\ntrap 'echo usr1' USR1\necho up\nwhile :; do sleep 0.01; done\n",
                 0755);
    folder.write("down", "");
    folder.write("down-signal", "SIGUSR1\n");
    folder.write("timeout-kill", "100\n");
    World world;
    world.run("x", service(folder));
    world.until([&] { return world.phase("x") == "failed"; });
    CHECK(world.last("x") == folder / "down" + " is there: it is not started by itself");
    world.send("<restart-service <daemon x>>");
    world.until_line("x stdout: up");
    world.stop("x");
    world.until_gone("x");
    CHECK(world.has_line("x stdout: usr1"));
    CHECK(world.has_line("x supervisor: killed by SIGKILL, as it did not stop in 0.1 s"));
}

TEST_CASE("s6: a logger reads all, and outlives the service") {
    Folder folder;
    REQUIRE(::mkdir((folder / "log").c_str(), 0755) == 0);
    folder.write("run",
                 "#!/bin/sh\ntrap 'echo last words; exit' TERM\necho line $$\nwhile :; do sleep "
                 "0.01; done\n",
                 0755);
    folder.write("log/run",
                 "#!/bin/sh\nwhile read -r l; do echo \"$l\" >>all; echo \"got $l\"; done\n", 0755);
    World world;
    world.run("x", service(folder));
    world.until_state("x ready");
    int64_t first = world.number("x", "pid");
    world.until_line("x logger: got line " + std::to_string(first));
    ::kill(static_cast<pid_t>(first), SIGKILL);
    world.until([&] { return world.number("x", "pid") > 0 && world.number("x", "pid") != first; });
    int64_t second = world.number("x", "pid");
    std::string line = "line " + std::to_string(second) + "\n";
    world.until_line("x logger: got line " + std::to_string(second));
    world.stop("x");
    world.until_gone("x");
    CHECK(folder.read("log/all") == "line " + std::to_string(first) + "\n" + line + "last words\n");
    CHECK_FALSE(world.has_line("x stdout: last words"));
    CHECK(world.processes->count() == 0);
}

TEST_CASE("s6: a logger's notification-fd and finish, and the names that run and finish get") {
    Folder folder;
    REQUIRE(::mkdir((folder / "log").c_str(), 0755) == 0);
    folder.write("run", "#!/bin/sh\necho \"$1\"\nexec sleep 1000\n", 0755);
    folder.write("log/run",
                 "#!/bin/sh\necho >&4 || exit 3\nread -r l; echo \"$1 got $l\"; exit 7\n", 0755);
    folder.write("log/notification-fd", "4\n");
    folder.write("log/finish", "#!/bin/sh\necho \"finish $1 $2 $3\" >>said; exit 125\n", 0755);
    World world;
    world.run("x", service(folder));
    std::string name = folder.path.substr(5);
    world.until_line("x logger: " + name + "/log got " + name);
    world.until_line("x supervisor: finish of the logger says that it is not to be started again");
    CHECK(folder.read("log/said") == "finish 7 0 " + name + "/log\n");
    CHECK(world.phase("x") == "running");
    world.stop("x");
    world.until_gone("x");
    CHECK(world.processes->count() == 0);
}

TEST_CASE("s6: what is wrong with a directory is said") {
    Folder folder;
    World world;
    world.run("x", service(folder, "restart: never"));
    world.until_state("x failed");
    CHECK(world.last("x") == folder / "run" + ": No such file or directory");
    folder.write("run", "#!/bin/sh\n", 0755);
    folder.write("notification-fd", "one\n");
    DaemonSpec spec;
    auto read = read_s6_folder(folder.path, spec);
    REQUIRE_FALSE(read.ok());
    CHECK(read.error().message ==
          folder / "notification-fd" + ": one is not a number from 0 to 1023");
}
