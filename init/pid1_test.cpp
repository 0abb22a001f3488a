// Starting, restarting, shells.
#include "init/pid1.h"

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/base/catch.h"
#include "init/pid1_testing.h"

using namespace muster;
using namespace muster::pid1;
using namespace muster::pid1::testing;

TEST_CASE("the fifth failed start in a row gives a shell, and another start when it ends") {
    Machine machine;
    machine.pid1->begin();
    for (int attempt = 1; attempt <= 5; ++attempt) {
        CHECK(machine.kernel.count(Helper::second_stage) == attempt);
        CHECK(machine.kernel.count(Helper::shell) == 0);
        machine.second_stage_dies(exit_code(127));
    }
    CHECK(machine.kernel.count(Helper::shell) == 1);
    CHECK(machine.kernel.count(Helper::second_stage) == 5);
    CHECK(machine.state->phase == Phase::shell);
    machine.kernel.now += 60000;
    machine.die(machine.kernel.last_pid(), exit_code(0));
    CHECK(machine.kernel.count(Helper::second_stage) == 6);
    CHECK(machine.state->phase == Phase::running);
}

TEST_CASE("a death after it was up counts for nothing and restarts at once") {
    Machine machine;
    machine.pid1->begin();
    for (int attempt = 1; attempt <= 12; ++attempt) {
        machine.up();
        machine.kernel.now += 5000;
        machine.second_stage_dies();
        CHECK(machine.state->phase == Phase::running);
        CHECK(machine.kernel.count(Helper::second_stage) == attempt + 1);
    }
    // Four failures, a success, four failures: never five in a row.
    for (int failure = 0; failure < 4; ++failure)
        machine.second_stage_dies();
    machine.up();
    for (int failure = 0; failure < 5; ++failure)
        machine.second_stage_dies();
    CHECK(machine.kernel.count(Helper::shell) == 0);
}

TEST_CASE("what dies again and again right after it was up is started with a pause") {
    Machine machine;
    machine.pid1->begin();
    for (int run = 0; run < 5; ++run) {
        machine.up();
        machine.second_stage_dies();
        CHECK(machine.state->phase == Phase::running);
    }
    machine.up();
    machine.second_stage_dies();
    CHECK(machine.state->phase == Phase::waiting);
    machine.pass();
    CHECK(machine.state->phase == Phase::running);
    machine.up();
    machine.kernel.now += 5000;
    machine.second_stage_dies();
    CHECK(machine.state->phase == Phase::running);
}

TEST_CASE("a fork that fails is tried again later and at last gives a shell") {
    Machine machine;
    machine.kernel.start_errors = {EAGAIN, EAGAIN, EAGAIN, EAGAIN, EAGAIN};
    machine.pid1->begin();
    for (int attempt = 0; attempt < 5; ++attempt) {
        CHECK(machine.state->phase == Phase::waiting);
        machine.pass();
    }
    CHECK(machine.kernel.count(Helper::shell) == 1);
}

TEST_CASE("a shell that ends at once is not started in a loop") {
    Machine machine;
    machine.state->command_line.emergency = true;
    machine.pid1->begin();
    CHECK(machine.state->phase == Phase::shell);
    machine.die(machine.kernel.last_pid(), exit_code(127));
    CHECK(machine.state->phase == Phase::waiting);
    CHECK(machine.kernel.count(Helper::second_stage) == 0);
    machine.pass();
    CHECK(machine.kernel.count(Helper::second_stage) == 1);
}

TEST_CASE("emergency gives a shell once, not again after a switch of the root") {
    Machine machine;
    machine.state->initramfs = true;
    machine.state->command_line.emergency = true;
    machine.pid1->begin();
    CHECK(machine.kernel.count(Helper::shell) == 1);
    CHECK(machine.kernel.count(Helper::second_stage) == 0);
    machine.state->phase = Phase::start;
    machine.pid1->begin();
    CHECK(machine.kernel.count(Helper::shell) == 1);
    CHECK(machine.kernel.count(Helper::second_stage) == 1);
}

TEST_CASE("the death of a second stage touches no service, and its successor starts at once") {
    Machine machine;
    machine.state->cgroup2 = machine.state->cgroup_kill = true;
    machine.pid1->begin();
    machine.up();
    machine.start_service("daemon a", 300);
    machine.second_stage_dies();
    CHECK(machine.kernel.kills.empty());
    CHECK(machine.state->phase == Phase::running);
    CHECK(machine.kernel.count(Helper::second_stage) == 2);
}

TEST_CASE("a second stage that says it is replaced has not failed") {
    Machine machine;
    machine.pid1->begin();
    for (int run = 0; run < 8; ++run) {
        machine.connect();
        REQUIRE(machine.link->replace().ok());
        machine.second_stage_dies(exit_code(0));
        CHECK(machine.state->phase == Phase::running);
    }
    CHECK(machine.kernel.count(Helper::shell) == 0);
    CHECK_FALSE(machine.kernel.said("died"));
}

TEST_CASE("nonsense in the shared memory never makes init kill itself or everything") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    pid_t nonsense[] = {-1, 0, 1, -300, INT32_MIN};
    for (pid_t pid : nonsense)
        machine.start_service("nonsense", pid);
    machine.second_stage_dies();
    CHECK(machine.kernel.kills.empty());
    CHECK(machine.state->phase == Phase::running);
}

TEST_CASE("quiet leaves out routine lines, never errors") {
    Machine machine;
    machine.state->quiet = true;
    machine.pid1->begin();
    machine.second_stage_dies(exit_code(1));
    CHECK(machine.kernel.said("died before it was up (exit status 1), attempt 1 of 5"));
    machine.kernel.lines.clear();
    machine.pid1->on_signal(SIGUSR2);
    CHECK(machine.kernel.lines.empty());
}

TEST_CASE("a crash between a status and its reaping neither loses nor doubles it") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.kinds();
    machine.start_service("daemon a", 300);
    machine.kernel.exits.push_back({300, exit_code(2), 0, 0, 0});
    machine.pid1->on_signal(SIGCHLD);
    machine.kernel.exits.push_back({300, exit_code(2), 0, 0, 0}); // not reaped yet
    Pid1 next(*machine.state, *machine.shared, machine.kernel);
    next.begin();
    next.on_time();
    CHECK(machine.kernel.exits.empty());
    CHECK(machine.state->statuses.count() == 1);
    CHECK(machine.kinds() == std::vector<Kind>{Kind::status});
}

TEST_CASE("init that executed itself again goes on with the same second stage") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.kinds();
    machine.start_service("daemon a", 300);
    Pid1 next(*machine.state, *machine.shared, machine.kernel);
    next.begin();
    CHECK(machine.kernel.count(Helper::second_stage) == 1);
    machine.kernel.exits.push_back({300, exit_code(0), 0, 0, 0});
    CHECK(next.timeout_ms() == 0);
    next.on_time();
    auto all = machine.received();
    REQUIRE(all.size() == 1);
    CHECK(all[0].record.payload.status.pid == 300);
}
