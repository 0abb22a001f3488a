#include "services/daemon/daemons.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "services/daemon/supervisor_world.h"

using namespace muster;
using namespace muster::services;
using services::test::World;
using Strings = std::vector<std::string>;

namespace {

bool alive(int64_t pid) { return ::kill(static_cast<pid_t>(pid), 0) == 0; }

// Waits for ever, as shell text; a trap ends it.
constexpr const char* forever = "sleep 1000 & wait";

} // namespace

TEST_CASE("daemons: one runs while it is wanted, and is ready at once") {
    for (bool groups : {true, false}) {
        World world(World::short_times(), groups);
        world.run("x", R"(["sleep" "1000"])");
        world.until_state("x ready");
        CHECK(world.take_states() == Strings{"+x started", "+x ready"});
        CHECK(world.phase("x") == "running");
        int64_t pid = world.number("x", "pid");
        CHECK(alive(pid));
        world.stop("x");
        CHECK(world.now.count("x ready") == 0); // at once
        world.until_gone("x");
        CHECK(world.take_states() == Strings{"-x ready", "-x started"});
        CHECK_FALSE(alive(pid));
        CHECK(world.processes->count() == 0);
    }
}

TEST_CASE("daemons: without a specification nothing runs and nothing is claimed") {
    World world;
    world.say("<run-service <daemon x>>");
    CHECK(world.phase("x") == "undefined");
    CHECK(world.states.empty());
    world.say("<daemon x [\"sleep\" \"1000\"]>");
    world.until_state("x ready");
    world.unsay("<daemon x [\"sleep\" \"1000\"]>");
    world.until([&] { return world.phase("x") == "undefined"; });
    CHECK(world.now.empty());
}

TEST_CASE("daemons: names are compared exactly, and may be any value") {
    World world;
    world.run("<a {b: 1}>", "\"echo $MUSTER_SERVICE; exec sleep 1000\"");
    world.until_line("<a {b: 1}> stdout: <daemon <a {b: 1}>>");
    world.say("<run-service <daemon other more>>");
    CHECK(world.status.size() == 1);
    world.unsay("<run-service <daemon other more>>");
    world.stop("<a {b: 1}>");
    world.until_gone("<a {b: 1}>");
}

TEST_CASE("daemons: a one-shot goes from started to complete without a gap") {
    World world;
    world.run("x", R"(<one-shot "echo done">)");
    world.until_state("x complete");
    CHECK(world.take_states() == Strings{"+x started", "+x complete", "-x started"});
    CHECK(world.has_line("x stdout: done"));
    CHECK(world.phase("x") == "complete");
    world.stop("x");
    CHECK(world.take_states() == Strings{"-x complete"});
    CHECK(world.status.empty());
}

TEST_CASE("daemons: what a one-shot leaves behind stays until it is stopped") {
    World world;
    world.run("x", R"(<one-shot "sleep 1000 & echo $!">)");
    world.until_state("x complete");
    world.until([&] { return !world.lines.empty(); });
    int64_t child = std::stoll(world.lines[0].substr(world.lines[0].find(':') + 2));
    CHECK(alive(child));
    world.stop("x");
    world.until_gone("x");
    CHECK(world.processes->count() == 0);
}

TEST_CASE("daemons: a one-shot that fails is tried again") {
    World world;
    char folder[] = "/tmp/muster-daemons-XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    std::string flag = std::string(folder) + "/flag";
    world.run("x", "<one-shot \"test -e " + flag + " || { : >" + flag + "; exit 3; }\">");
    world.until_state("x complete");
    CHECK(world.take_states() == Strings{"+x started", "+x failed", "-x started", "+x started",
                                         "-x failed", "+x complete", "-x started"});
    CHECK(world.number("x", "restarts") == 1);
    ::unlink(flag.c_str());
    ::rmdir(folder);
}

TEST_CASE("daemons: a missing program is named and tried again, ever more slowly") {
    World world;
    world.run("x", R"(["/no/such/program"])");
    world.until([&] { return world.number("x", "restarts") >= 5; });
    CHECK(world.last("x") == "/no/such/program: no such program");
    CHECK(world.states[0] == "+x failed");
    // 5, 10, 20, 40, 40 ms, as each line says when it was written; "next start in" is rounded.
    Strings said;
    for (const std::string& line : world.lines) {
        CHECK(line.starts_with("x supervisor: /no/such/program: no such program; next start in "));
        said.push_back(line);
    }
    CHECK(said.size() >= 5);
    // In one that is searched for nothing is even cloned.
    world.run("y", R"(["no-such-program-anywhere"])");
    world.until([&] { return world.phase("y") == "backoff"; });
    CHECK(world.last("y").starts_with("no-such-program-anywhere: no such program in "));
    world.stop("x");
    world.stop("y");
    world.until([&] { return world.status.empty(); }); // an attempt may just be on its way
}

TEST_CASE("daemons: the delay grows to its limit and begins anew after a good run") {
    Timing timing = World::short_times();
    timing.first_delay = 1000 * second; // so that what remains of it is easily told
    timing.longest_delay = 3000 * second;
    World world(timing);
    auto delay = [&] {
        world.until([&] { return world.phase("x") == "backoff"; });
        return (world.number("x", "delayMs") + 999) / 1000;
    };
    auto restart_once = [&] { world.send("<restart-service <daemon x>>"); };
    world.run("x", R"(["false"])");
    int64_t first = delay();
    CHECK(first <= 1000);
    CHECK(first > 900);
    restart_once(); // by hand: at once, and the delay is the first again
    world.until([&] { return world.number("x", "restarts") == 1; });
    CHECK(delay() <= 1000);
    world.stop("x");
    CHECK(world.status.empty());

    // Every run is a good one: the next start is only 5 ms after the last, or at once.
    timing = World::short_times();
    timing.good_run = 0;
    World good(timing);
    good.run("y", R"(["false"])");
    good.until([&] { return good.number("y", "restarts") >= 12; });
    CHECK(good.number("y", "delayMs") <= 5);
}

TEST_CASE("daemons: the policies") {
    SECTION("always: also after success") {
        World world;
        world.run("x", R"(["true"])");
        world.until([&] { return world.number("x", "restarts") >= 2; });
        CHECK(world.last("x") == "exit code 0");
    }
    SECTION("on-error: success is completion") {
        World world;
        world.run("x", R"({argv: ["true"] restart: on-error})");
        world.until_state("x complete");
    }
    SECTION("never: failure is final") {
        World world;
        world.run("x", R"({argv: "exit 4" restart: never})");
        world.until([&] { return world.phase("x") == "failed"; });
        CHECK(world.last("x") == "exit code 4");
        CHECK(world.number("x", "restarts") == 0);
        CHECK(world.now == std::set<std::string>{"x failed"});
        world.run("y", R"({argv: ["true"] restart: never})");
        world.until_state("y complete");
        // Until somebody says so.
        world.send("<restart-service <daemon x>>");
        world.until([&] { return world.number("x", "restarts") == 1; });
    }
    SECTION("all: one that fails takes the others with it") {
        World world;
        world.say(R"(<daemon x {argv: "read x </tmp/none || exit 1; exit 1" restart: all}>)");
        world.run("x", R"({argv: ["sleep" "1000"] restart: all})");
        world.until([&] { return world.number("x", "restarts") >= 4; });
        CHECK(world.number("x", "processes") == 2);
        world.stop("x");
        world.until_gone("x");
        CHECK(world.processes->count() == 0);
    }
}

TEST_CASE("daemons: killed from outside, it comes back, and that is seen") {
    World world;
    world.run("x", R"(["sleep" "1000"])");
    world.until_state("x ready");
    int64_t pid = world.number("x", "pid");
    world.take_states();
    ::kill(static_cast<pid_t>(pid), SIGKILL);
    world.until([&] { return world.number("x", "restarts") == 1; });
    world.until_state("x ready");
    CHECK(world.take_states() ==
          Strings{"+x failed", "-x started", "-x ready", "+x started", "-x failed", "+x ready"});
    CHECK(world.last("x") == "killed by SIGKILL");
    CHECK(world.number("x", "pid") != pid);
}

TEST_CASE("daemons: what ignores its stop signal is killed with all that came from it") {
    for (bool groups : {true, false}) {
        World world(World::short_times(), groups);
        std::string script = "trap '' TERM; sh -c 'echo child $$; exec sleep 1000' & echo up; "
                             "sleep 1000";
        world.run("x", "{argv: \"" + script + "\" stopTimeout: 0.05}");
        world.until([&] { return world.lines.size() == 2; });
        pid_t child = 0;
        for (const std::string& line : world.lines)
            if (line.find("child ") != std::string::npos)
                child = std::stoi(line.substr(line.find("child ") + 6));
        REQUIRE(child > 0);
        int64_t pid = world.number("x", "pid");
        world.stop("x");
        CHECK(world.phase("x") == "stopping");
        CHECK(alive(pid));
        world.until_gone("x");
        CHECK(world.processes->count() == 0);
        CHECK_FALSE(alive(pid));
        CHECK(world.has_line("x supervisor: killed by SIGKILL, as it did not stop in 0.1 s"));
    }
}

TEST_CASE("daemons: the stop signal can be another one") {
    World world;
    world.run("x", "{argv: \"trap 'echo hup; exit' HUP; echo up; " + std::string(forever) +
                       "\" stopSignal: SIGHUP}");
    world.until_line("x stdout: up");
    world.stop("x");
    world.until_gone("x");
    CHECK(world.has_line("x stdout: hup"));
}

TEST_CASE("daemons: ready by a newline on a descriptor") {
    World world;
    world.run("x", R"({argv: "read x; printf '\\n' >&4; exec sleep 1000" notify: 4})");
    // Its standard input is /dev/null, so it does not wait.
    world.until_state("x ready");
    CHECK(world.take_states() == Strings{"+x started", "+x ready"});
    world.run("y", R"({argv: "echo up; exec 3>&-; exec sleep 1000" notify: 3})");
    world.until_line("y stdout: up");
    CHECK(world.phase("y") == "starting");
    CHECK(world.now.count("y ready") == 0);
    // Somebody else may say it: for people it runs then.
    world.say("<service-state <daemon y> ready>");
    CHECK(world.phase("y") == "running");
    world.unsay("<service-state <daemon y> ready>");
    CHECK(world.phase("y") == "starting");
}

TEST_CASE("daemons: the same specification again changes nothing, another one replaces") {
    World world;
    std::string one = R"(<daemon x ["sleep" "1000"]>)", two = R"(<daemon x ["sleep" "1001"]>)";
    world.say(one);
    world.say("<run-service <daemon x>>");
    world.until_state("x ready");
    int64_t pid = world.number("x", "pid");
    world.take_states();
    // As the watcher does: the new version first, then the old one goes.
    dataspace::Handle old = world.said[one];
    world.act([&](dataspace::Turn& turn) {
        world.say(turn, one);
        turn.retract(old);
    });
    // Or the other way round.
    world.act([&](dataspace::Turn& turn) {
        world.unsay(turn, one);
        world.say(turn, one);
    });
    CHECK(world.states.empty());
    CHECK(world.number("x", "pid") == pid);
    world.act([&](dataspace::Turn& turn) {
        world.say(turn, two);
        world.unsay(turn, one);
    });
    CHECK(world.now.count("x ready") == 0);
    world.until_state("x ready");
    CHECK(world.take_states() == Strings{"-x ready", "+x ready"});
    CHECK_FALSE(alive(pid));
    CHECK(world.number("x", "pid") != pid);
    // Both at once: two processes, and only the new one is started.
    pid = world.number("x", "pid");
    world.say(one);
    world.until([&] { return world.number("x", "processes") == 2; });
    world.until_state("x ready");
    CHECK(alive(pid));
    CHECK(world.processes->count() == 2);
}

TEST_CASE("daemons: restarted by a message") {
    World world;
    world.send("<restart-service <daemon x>>");
    CHECK(world.has_line("x supervisor: restart: it does not run"));
    world.run("x", R"(["sleep" "1000"])");
    world.until_state("x ready");
    int64_t pid = world.number("x", "pid");
    world.take_states();
    world.send("<restart-service <daemon x>>");
    CHECK(world.phase("x") == "stopping");
    world.until_state("x ready");
    CHECK(world.take_states() == Strings{"-x ready", "+x ready"});
    CHECK(world.number("x", "pid") != pid);
}

TEST_CASE("daemons: at the end of the system no message restarts any but the log writer") {
    World world;
    world.run("x", R"(["sleep" "1000"])");
    world.run("log-writer", R"(["sleep" "1000"])");
    world.until_state("x ready");
    world.until_state("log-writer ready");
    world.say("<system-ends>");
    world.send("<restart-service <daemon x>>");
    CHECK(world.has_line("x supervisor: restart: not while the system ends"));
    CHECK(world.phase("x") == "running");
    world.send("<restart-service <daemon log-writer>>");
    CHECK(world.phase("log-writer") == "stopping");
}

TEST_CASE("daemons: wanted again while it stops, it starts when the old one is gone") {
    World world;
    world.run("x", "{argv: \"trap 'echo bye; exit' TERM; echo up; " + std::string(forever) + "\"}");
    world.until_line("x stdout: up");
    int64_t pid = world.number("x", "pid");
    world.stop("x");
    world.say("<run-service <daemon x>>");
    world.until([&] { return world.number("x", "pid") != pid && world.number("x", "pid") != 0; });
    CHECK_FALSE(alive(pid));
    CHECK(world.has_line("x stdout: bye"));
    world.until_state("x ready");
}

TEST_CASE("daemons: a wrong specification is named, the others are unharmed") {
    World world;
    world.run("x", R"({argv: ["sleep" "1000"] restart: often})");
    world.run("y", R"(["sleep" "1000"])");
    world.until_state("y ready");
    CHECK(world.phase("x") == "failed");
    CHECK(world.last("x") == "restart: often is not always, on-error, all or never");
    CHECK(world.now.count("x failed") == 1);
    CHECK(world.has_line("x supervisor: wrong specification: restart: often is not always, "
                         "on-error, all or never"));
    // Mended, it runs.
    world.act([&](dataspace::Turn& turn) {
        world.unsay(turn, R"(<daemon x {argv: ["sleep" "1000"] restart: often}>)");
        world.say(turn, R"(<daemon x {argv: ["sleep" "1000"] restart: always}>)");
    });
    world.until_state("x ready");
}

TEST_CASE("daemons: lines are logged, long ones in pieces, odd ones as bytes") {
    World world;
    world.run("x", R"(<one-shot "echo to stderr >&2; printf '\\377\\n';
        head -c 10000 /dev/zero | tr '\\0' a; printf rest >&2">)");
    world.until_state("x complete");
    world.until_line("x stderr: rest");
    CHECK(world.has_line("x stderr: to stderr"));
    CHECK(world.has_line("x stdout: #x\"ff\""));
    CHECK(world.has_line("x stdout: " + std::string(8192, 'a')));
    CHECK(world.has_line("x stdout: " + std::string(10000 - 8192, 'a')));
}

TEST_CASE("daemons: somebody who writes a lot waits for his readers") {
    World world;
    world.run("x", R"(<one-shot "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done">)");
    world.until_state("x complete");
    world.until_line("x stdout: 19999");
    CHECK(world.lines.size() == 20000);
    CHECK(world.lines[12345] == "x stdout: 12345");
}

TEST_CASE("daemons: a failure is reported: how, with what it said last, how often") {
    World world;
    std::vector<std::string> failures;
    world.act([&](dataspace::Turn& turn) {
        namespace pattern = dataspace::pattern;
        dataspace::observe(
            turn, world.config, pattern::record("failure", {pattern::bind(), pattern::bind()}),
            [&](dataspace::Turn&, preserves::View seen) {
                preserves::View of = seen.at(1);
                std::string text = preserves::to_text(seen.at(0));
                for (const char* key : {"kind", "how", "code", "signal", "lines", "count"})
                    if (of.get(key).valid()) text += " " + preserves::to_text(of.get(key));
                CHECK(of.get("time").as_string());
                if (of.get("next").valid()) text += " again";
                failures.push_back(text);
            },
            {});
    });
    world.run("x", R"({argv: "echo one; echo two >&2; exit 3" restart: never})");
    world.until([&] { return !failures.empty(); });
    // The end of a process comes after all that it wrote.
    world.until_line("x supervisor: exit code 3; it is not started again");
    CHECK(world.lines.back() == "x supervisor: exit code 3; it is not started again");
    REQUIRE(failures.size() == 1);
    CHECK(failures[0].starts_with("<daemon x> exit \"exit code 3\" 3 ["));
    CHECK(failures[0].find("\"one\"") != std::string::npos);
    CHECK(failures[0].find("\"two\"") != std::string::npos);
    CHECK(failures[0].ends_with("] 1"));
    failures.clear();
    world.run("y", R"(["sh" "-c" "kill -SEGV $$"])");
    world.until([&] { return failures.size() >= 2; });
    CHECK(failures[1].starts_with("<daemon y> signal \"killed by SIGSEGV"));
    CHECK(failures[1].ends_with(" SEGV [] 2 again"));
    failures.clear();
    world.run("z", R"(["sleep" "1000"])");
    world.until_state("z ready");
    world.stop("z");
    world.until_gone("z");
    CHECK(std::count_if(failures.begin(), failures.end(), [](const std::string& each) {
              return each.starts_with("<daemon z>");
          }) == 0);
}
