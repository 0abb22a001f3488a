// Fields about how a process is started, watched and ended.
#include <fcntl.h>
#include <signal.h>

#include "services/daemon/programs_testing.h"

using namespace muster;
using namespace muster::services;
using services::test::Folder;
using services::test::tell;
using services::test::World;
using Strings = std::vector<std::string>;

namespace {

// It runs: a zombie does not.
bool alive(int64_t pid) {
    std::string path = "/proc/" + std::to_string(pid) + "/stat";
    FILE* file = std::fopen(path.c_str(), "r");
    if (file == nullptr) return false;
    char text[512] = {};
    size_t size = std::fread(text, 1, sizeof text - 1, file);
    std::fclose(file);
    std::string_view stat(text, size);
    size_t name_end = stat.rfind(')');
    return name_end + 2 < stat.size() && stat[name_end + 2] != 'Z';
}

bool phase_is(World& world, const std::string& id, const std::string& phase) {
    world.until([&] { return world.phase(id) == phase; });
    return true;
}

int64_t number_in(World& world, const std::string& prefix) {
    int64_t number = 0;
    world.until([&] {
        for (const std::string& line : world.lines)
            if (line.starts_with(prefix)) number = std::stoll(line.substr(prefix.size()));
        return number != 0;
    });
    return number;
}

} // namespace

TEST_CASE("life: a start that takes too long is a failure") {
    World world;
    world.run("x", "{argv: [\"sleep\" \"1000\"] notify: 3 startTimeout: 0.05 restart: never}");
    CHECK(phase_is(world, "x", "failed"));
    CHECK(world.last("x") == "not ready in 0.1 s");
    CHECK(world.processes->count() == 0);
    // In time: nothing more comes of it.
    world.run("y", "{argv: \"echo >&3; exec sleep 1000\" notify: 3 startTimeout: 60}");
    world.until_state("y ready");
}

TEST_CASE("life: what counts as success") {
    World world;
    world.run("a", "{argv: \"exit 3\" success: [3 TERM] restart: on-error}");
    world.until_state("a complete");
    world.run("b", "{argv: \"kill $$\" success: [3 TERM] restart: on-error}");
    world.until_state("b complete");
    world.run("c", "{argv: \"exit 4\" success: [3 TERM] restart: never}");
    world.until_state("c failed");
}

TEST_CASE("life: given up after so many starts") {
    World world;
    world.run("x", "{argv: \"echo again; exit 1\" restartLimit: {starts: 3 within: 60}}");
    world.until([&] { return world.phase("x") == "failed"; });
    CHECK(world.last("x") == "exit code 1; given up after 3 starts in 60 s");
    size_t count = 0;
    for (const std::string& line : world.lines)
        count += line == "x stdout: again";
    CHECK(count == 3);
    // An operator's word begins it anew.
    world.lines.clear();
    world.send("<restart-service <daemon x>>");
    world.until_line("x stdout: again");
    world.until([&] { return world.phase("x") == "failed"; });
}

TEST_CASE("life: a delay of its own") {
    World world;
    world.run("x", "{argv: \"exit 1\" restartDelay: 3000}");
    world.until([&] { return world.phase("x") == "backoff"; });
    CHECK(world.number("x", "delayMs") > 2'900'000);
}

TEST_CASE("life: whom the stop signal reaches, and what becomes of the rest") {
    std::string script =
        "{argv: \"sh -c 'trap \\\"echo child; exit\\\" TERM; echo pid $$; while :; do sleep 0.01; "
        "done' & trap 'echo main; exit' TERM; echo armed; while :; do sleep 0.01; done\" "
        "killMode: ";
    for (std::string mode : {"group", "tree", "mixed", "process"}) {
        World world;
        world.run("x", script + mode + "}");
        int64_t child = number_in(world, "x stdout: pid ");
        world.until_line("x stdout: armed");
        world.stop("x");
        world.until_gone("x");
        CHECK(world.has_line("x stdout: main"));
        CHECK(world.has_line("x stdout: child") == (mode == "group" || mode == "tree"));
        CHECK(alive(child) == (mode == "process"));
        if (mode != "process") continue;
        ::kill(static_cast<pid_t>(child), SIGKILL);
        world.until([&] { return !alive(child) && world.processes->left() == 0; });
    }
}

TEST_CASE("life: commands before the start") {
    Folder folder;
    World world;
    std::string file = folder / "made";
    world.run("x", "{argv: \"cat " + file +
                       "; exec sleep 1000\" startPre: [[\"sh\" \"-c\" \"echo "
                       "one >" +
                       file + "\"] \"echo two >>" + file + "; echo said\"]}");
    world.until_line("x stdout: two");
    CHECK(world.has_line("x stdout: one"));
    CHECK(world.has_line("x stdout: said"));
    world.run("y", "{argv: \"echo never\" startPre: [[\"true\"] [\"false\"] [\"echo\" \"third\"]] "
                   "restart: never}");
    world.until_state("y failed");
    CHECK(world.last("y") == "startPre: exit code 1");
    CHECK_FALSE(world.has_line("y stdout: third"));
    CHECK_FALSE(world.has_line("y stdout: never"));
    // Stopped while they run.
    world.run("z", "{argv: \"echo never\" startPre: \"echo now; sleep 1000\"}");
    world.until_line("z stdout: now");
    world.stop("z");
    world.until_gone("z");
}

TEST_CASE("life: commands after the start hold readiness back") {
    Folder folder;
    World world;
    world.run("x",
              "{argv: [\"sleep\" \"1000\"] startPost: \"[ -d /proc/$MAINPID ] && echo post\"}");
    world.until_state("x ready");
    CHECK(world.has_line("x stdout: post"));
    world.run("y", "{argv: [\"sleep\" \"1000\"] startPost: [\"false\"] restart: never}");
    world.until_state("y failed");
    CHECK(world.last("y") == "startPost: exit code 1");
    for (const std::string& state : world.take_states())
        CHECK(state != "+y ready");
}

TEST_CASE("life: commands after the end, however it came") {
    World world;
    std::string post = " stopPost: \"echo post $EXIT_CODE $EXIT_STATUS $SERVICE_RESULT\"}";
    world.run("a", "{argv: \"exit 7\" restart: never" + post);
    CHECK(phase_is(world, "a", "failed"));
    CHECK(world.has_line("a stdout: post exited 7 exit-code"));
    world.run("b", "{argv: [\"sleep\" \"1000\"]" + post);
    world.until_state("b ready");
    world.stop("b");
    world.until_gone("b");
    CHECK(world.has_line("b stdout: post killed TERM success"));
    world.run("c", "{argv: \"true\" restart: on-error" + post);
    world.until_state("c complete");
    CHECK_FALSE(world.has_line("c stdout: post exited 0 success"));
    world.stop("c");
    world.until_gone("c");
    CHECK(world.has_line("c stdout: post exited 0 success"));
    // It may not take longer than the stop itself.
    world.run("d", "{argv: [\"sleep\" \"1000\"] stopPost: \"sleep 1000\" stopTimeout: 0.05}");
    world.until_state("d ready");
    world.stop("d");
    world.until_gone("d");
    CHECK(world.has_line("d supervisor: stopPost: killed, as its time was over"));
}

TEST_CASE("life: what one that is complete may take to stop counts from when it is told to") {
    World world;
    world.run("x", "{argv: \"true\" restart: on-error stopPost: \"echo up; exec sleep 1000\" "
                   "stopTimeout: 60}");
    world.until_state("x complete");
    world.stop("x");
    world.until_line("x stdout: up");
    CHECK(world.number("x", "stopLimitMs") >= 60'000);
    CHECK(world.number("x", "stopLimitMs") < 120'000);
}

TEST_CASE("life: sd_notify makes it ready and says how it is") {
    World world;
    world.run("x", "{argv: \"" + tell("STATUS=half way") + "; sleep 0.3; " +
                       tell("READY=1\nSTATUS=there") + "; exec sleep 1000\" notify: socket}");
    world.until([&] { return world.status["x"].view().get("says").as_string() == "half way"; });
    world.until_state("x ready");
    CHECK(world.status["x"].view().get("says").as_string() == "there");
    world.run("y", "{argv: \"" + tell("ERRNO=2") + "; " + tell("FDSTORE=1\nFDNAME=keep") + "; " +
                       tell("RELOADING=1") + "; exec sleep 1000\" notify: socket}");
    world.until_line("y supervisor: it reports an error: No such file or directory");
    world.until_line("y supervisor: FDSTORE=1 is refused: keep is closed, not kept");
    world.until([&] { return world.status["y"].view().get("reloading").as_bool() == true; });
    CHECK(world.now.count("y ready") == 0);
}

TEST_CASE("life: sd_notify is heard while it stops, and can ask for more time") {
    Folder folder;
    std::string go = folder / "go";
    REQUIRE(::mkfifo(go.c_str(), 0600) == 0);
    Fd end(::open(go.c_str(), O_RDWR | O_CLOEXEC));
    World world;
    world.run("x", "{argv: \"stopping() { " + tell("STATUS=saving\nEXTEND_TIMEOUT_USEC=120000000") +
                       "; read -r l <" + go +
                       "; exit 0; }; trap stopping TERM; echo up; while :; do sleep 0.01; done\" "
                       "notify: socket readyOnStart: #t stopTimeout: 60 killMode: process "
                       "stopPost: \"echo $SERVICE_RESULT\"}");
    world.until_line("x stdout: up");
    world.stop("x");
    world.until([&] { return world.number("x", "stopLimitMs") >= 120'000; });
    CHECK(world.status["x"].view().get("says").as_string() == "saving");
    REQUIRE(::write(end.get(), "now\n", 4) == 4);
    world.until_gone("x");
    CHECK(world.has_line("x stdout: success"));
}

TEST_CASE("life: MAINPID of another service is not believed") {
    World world;
    if (!world.processes->cgroups()) {
        muster::test::skip("needs cgroup2 to know who belongs to whom");
        return;
    }
    world.run("other", "{argv: [\"sleep\" \"1000\"]}");
    world.until_state("other ready");
    std::string pid = std::to_string(world.number("other", "pid"));
    world.run("x", "{argv: \"" + tell("MAINPID=" + pid + "\nREADY=1") +
                       "; exec sleep 1000\" notify: socket}");
    world.until_line("x supervisor: MAINPID=" + pid + ": not one of this service");
    world.until_state("x ready");
    CHECK(std::to_string(world.number("x", "pid")) != pid);
}

TEST_CASE("life: sd_notify from another user, and in a network namespace") {
    if (::geteuid() != 0) {
        muster::test::skip("needs root to become others");
        return;
    }
    // The test program has to be reachable for others.
    Folder folder;
    ::chmod(folder.path.c_str(), 0755);
    REQUIRE(::system(("cp " + services::test::own_path() + " " + folder / "tell").c_str()) == 0);
    World world;
    std::string script = "{argv: \"" + folder / "tell" + " --tell READY=1; exec sleep 1000\" ";
    world.run("x", script + "notify: socket user: \"nobody\"}");
    world.until_state("x ready");
    world.run("y", script + "notify: socket namespaces: [net]}");
    world.until_state("y ready");
    world.stop("y");
    world.until_gone("y");
}

TEST_CASE("life: strangers are not heard on the socket") {
    if (::geteuid() != 0) {
        muster::test::skip("needs root to become others");
        return;
    }
    Folder folder;
    ::chmod(folder.path.c_str(), 0755);
    REQUIRE(::system(("cp " + services::test::own_path() + " " + folder / "tell").c_str()) == 0);
    World world;
    world.run("x", "{argv: \"echo socket $NOTIFY_SOCKET; exec sleep 1000\" notify: socket user: "
                   "\"daemon\"}");
    std::string prefix = "x stdout: socket ", address;
    world.until([&] {
        for (const std::string& line : world.lines)
            if (line.starts_with(prefix)) address = line.substr(prefix.size());
        return !address.empty();
    });
    world.run("stranger", "{argv: [\"" + folder / "tell" +
                              "\" \"--tell\" \"STATUS=false\"] user: "
                              "\"nobody\" restart: never env: {NOTIFY_SOCKET: \"" +
                              address + "\"}}");
    world.until_state("stranger complete");
    world.run("root", "{argv: [\"" + folder / "tell" +
                          "\" \"--tell\" \"STATUS=true\"] "
                          "restart: never env: {NOTIFY_SOCKET: \"" +
                          address + "\"}}");
    world.until([&] {
        auto says = world.status["x"].view().get("says").as_string();
        CHECK(says != "false");
        return says == "true";
    });
}

TEST_CASE("life: a real systemd-notify") {
    if (::access("/usr/bin/systemd-notify", X_OK) != 0) {
        muster::test::skip("no systemd-notify here");
        return;
    }
    World world;
    world.run("x", "{argv: \"systemd-notify --ready --status=fine; exec sleep 1000\" notify: "
                   "socket}");
    world.until_state("x ready");
    CHECK(world.status["x"].view().get("says").as_string() == "fine");
}

TEST_CASE("life: another process becomes the main one") {
    World world;
    Folder folder;
    // As programs do that put themselves into the background.
    folder.write("run", "setsid sleep 1000 &\n" + services::test::own_path() +
                            " --tell \"MAINPID=$!\nREADY=1\"\necho child $!\n");
    world.run("x", "{argv: [\"sh\" \"" + folder / "run" + "\"] notify: socket restart: never}");
    int64_t child = number_in(world, "x stdout: child ");
    world.until([&] { return world.number("x", "pid") == child; });
    world.until_state("x ready");
    CHECK(alive(child));
    ::kill(static_cast<pid_t>(child), SIGTERM);
    world.until_state("x failed");
    CHECK(world.last("x").find("main process") != std::string::npos);
}

TEST_CASE("life: how the process ends that made another one the main one is nothing to it") {
    World world;
    Folder folder;
    folder.write("run", "sleep 1000 &\n" + services::test::own_path() +
                            " --tell \"MAINPID=$!\nREADY=1\"\necho child $!\nexit 1\n");
    world.run("x", "{argv: [\"sh\" \"" + folder / "run" +
                       "\"] notify: socket restart: never "
                       "stopPost: \"echo post $SERVICE_RESULT\"}");
    int64_t child = number_in(world, "x stdout: child ");
    world.until([&] { return world.number("x", "pid") == child; });
    world.until_state("x ready");
    CHECK(alive(child));
    world.stop("x");
    world.until_gone("x");
    CHECK_FALSE(alive(child));
    CHECK(world.has_line("x stdout: post success"));
}

TEST_CASE("life: a watchdog that hears nothing ends it") {
    World world;
    world.run("x", "{argv: \"echo $WATCHDOG_USEC; [ $WATCHDOG_PID = $$ ] && echo mine; exec sleep "
                   "1000\" watchdog: 0.1 restart: never}");
    world.until_state("x failed");
    CHECK(world.has_line("x stdout: 100000"));
    CHECK(world.has_line("x stdout: mine"));
    CHECK(world.last("x") == "watchdog: nothing was heard for 0.1 s");
    world.run("y", "{argv: \"" + tell("WATCHDOG=trigger") +
                       "; exec sleep 1000\" watchdog: 60 restart: never}");
    world.until_state("y failed");
    CHECK(world.last("y") == "watchdog: it asked to be ended");
    // One that is heard lives: the third word comes only if the first two counted.
    world.run("z", "{argv: \"for i in 1 2 3; do sleep 0.5; " + tell("WATCHDOG=1") +
                       "; done; echo lived; exec sleep 1000\" watchdog: 60}");
    world.until_line("z stdout: lived");
}

TEST_CASE("life: a health probe makes it ready, and ends it when it is ill") {
    Folder folder;
    World world;
    std::string file = folder / "well";
    std::string probe = " health: {command: [\"test\" \"-e\" \"" + file +
                        "\"] interval: 0.02 retries: 2} restart: never}";
    world.run("x", "{argv: [\"sleep\" \"1000\"] readyOnStart: #f" + probe);
    world.until([&] { return world.phase("x") == "starting"; });
    folder.write("well", "");
    world.until_state("x ready");
    ::unlink(file.c_str());
    world.until_state("x failed");
    CHECK(world.last("x") == "health: exit code 1, 2 times");
    CHECK(world.has_line("x supervisor: health: exit code 1 (1 of 2)"));
    // One that hangs is ill too.
    world.run("y", "{argv: [\"sleep\" \"1000\"] restart: never health: {command: \"sleep 1000\" "
                   "interval: 0.01 timeout: 0.05 retries: 1}}");
    world.until_state("y failed");
    CHECK(world.last("y") == "health: killed, as its time was over, 1 time");
}
