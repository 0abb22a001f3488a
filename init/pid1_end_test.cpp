// The end, and switching the root.
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

TEST_CASE("the orderly end: stop, TERM, KILL, unmount, reboot") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.kinds();
    machine.pid1->on_signal(SIGUSR2);
    CHECK(machine.state->phase == Phase::stopping);
    auto all = machine.received();
    REQUIRE(all.size() == 1);
    CHECK(all[0].record.kind == static_cast<std::uint16_t>(Kind::stop));
    CHECK(all[0].record.payload.stop.action == Action::poweroff);
    CHECK(all[0].record.payload.stop.signal == SIGUSR2);
    CHECK(machine.kernel.kills.empty());
    REQUIRE(machine.link->services_stopped().ok());
    machine.pid1->on_link_readable();
    CHECK(machine.state->phase == Phase::terminating);
    CHECK(machine.kernel.killed(-1, SIGTERM));
    CHECK_FALSE(machine.kernel.killed(-1, SIGKILL));
    machine.second_stage_dies(exit_code(0));
    CHECK(machine.kernel.count(Helper::second_stage) == 1); // never started again
    machine.pass();
    CHECK(machine.state->phase == Phase::killing);
    CHECK(machine.kernel.killed(-1, SIGKILL));
    machine.kernel.no_children = true;
    machine.pid1->on_time();
    CHECK(machine.state->phase == Phase::finishing);
    CHECK(machine.kernel.count(Helper::finish) == 1);
    CHECK(machine.kernel.ended.empty());
    machine.die(machine.kernel.last_pid(), exit_code(0));
    CHECK(machine.kernel.ended == std::vector<Action>{Action::poweroff});
    CHECK(machine.state->phase == Phase::over);
}

TEST_CASE("each step of the end has its limit") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.pid1->on_signal(SIGTERM); // reboot, as in busybox init
    machine.pass(machine.state->limits.stop);
    CHECK(machine.kernel.said("did not stop in time"));
    CHECK(machine.state->phase == Phase::terminating);
    machine.pass(machine.state->limits.grace);
    CHECK(machine.state->phase == Phase::killing);
    machine.pass(machine.state->limits.kill);
    CHECK(machine.state->phase == Phase::finishing);
    pid_t finisher = machine.kernel.last_pid();
    machine.pass(machine.state->limits.finish);
    CHECK(machine.kernel.killed(finisher, SIGKILL));
    CHECK(machine.kernel.ended == std::vector<Action>{Action::reboot});
}

TEST_CASE("services that have more time are waited for, as long as the second stage says so") {
    auto stopping = [](Machine& machine) {
        machine.pid1->begin();
        machine.up();
        machine.pid1->on_signal(SIGTERM);
        machine.kinds();
    };
    auto ask = [](Machine& machine, std::int64_t left_ms) {
        REQUIRE(machine.link->more_time(left_ms).ok());
        machine.pid1->on_link_readable();
    };
    SECTION("moved, and over when nothing more is heard") {
        Machine machine;
        stopping(machine);
        ask(machine, 120'000);
        machine.pass(machine.state->limits.stop);
        CHECK(machine.state->phase == Phase::stopping);
        ask(machine, 60'000); // less than there is
        machine.pass(59'000);
        CHECK(machine.state->phase == Phase::stopping);
        machine.pass(4'000);
        CHECK(machine.state->phase == Phase::terminating);
        CHECK(machine.kernel.said("did not stop in time"));
    }
    SECTION("never less than it was") {
        Machine machine;
        stopping(machine);
        ask(machine, 0);
        ask(machine, -5);
        machine.pass(machine.state->limits.stop - 1);
        CHECK(machine.state->phase == Phase::stopping);
    }
    SECTION("never for ever") {
        Machine machine;
        stopping(machine);
        std::int64_t all = records::kLongestStop;
        for (std::int64_t passed = 0; passed < all - 10'000; passed += 10'000) {
            ask(machine, passed % 20'000 == 0 ? INT64_MAX : 86'400'000);
            machine.pass(10'000);
            REQUIRE(machine.state->phase == Phase::stopping);
        }
        ask(machine, 86'400'000);
        machine.pass(10'000);
        CHECK(machine.state->phase == Phase::terminating);
    }
    SECTION("also when it dies meanwhile") {
        Machine machine;
        stopping(machine);
        ask(machine, 120'000);
        machine.second_stage_dies();
        machine.pass(119'000);
        CHECK(machine.state->phase == Phase::stopping);
        machine.pass(4'000);
        CHECK(machine.state->phase == Phase::terminating);
    }
    SECTION("not at another time") {
        Machine machine;
        machine.pid1->begin();
        machine.up();
        ask(machine, 120'000);
        CHECK(machine.state->deadline_ms == 0);
    }
    SECTION("not in a container") {
        Machine machine;
        machine.state->container = true;
        stopping(machine);
        ask(machine, 120'000);
        machine.pass(machine.state->limits.stop);
        CHECK(machine.state->phase == Phase::terminating);
    }
}

TEST_CASE("the end does not wait for a second stage that is not there to be asked") {
    SECTION("not up yet") {
        Machine machine;
        machine.pid1->begin();
        machine.pid1->on_signal(SIGUSR1);
        CHECK(machine.state->phase == Phase::terminating);
    }
    SECTION("it cannot be started again") {
        Machine machine;
        machine.pid1->begin();
        machine.up();
        machine.pid1->on_signal(SIGUSR1);
        machine.kernel.start_errors = {EAGAIN};
        machine.second_stage_dies();
        CHECK(machine.state->phase == Phase::terminating);
    }
    SECTION("asked a second time by Ctrl-Alt-Del") {
        Machine machine;
        machine.pid1->begin();
        machine.up();
        machine.pid1->on_signal(SIGINT);
        CHECK(machine.state->phase == Phase::stopping);
        machine.pid1->on_signal(SIGINT);
        CHECK(machine.state->phase == Phase::terminating);
    }
}

TEST_CASE("a second stage that dies while it stops the services is started again to go on") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.start_service("daemon a", 300);
    machine.pid1->on_signal(SIGUSR2);
    machine.kinds();
    machine.kernel.now += 20'000;
    machine.second_stage_dies();
    REQUIRE(machine.kernel.count(Helper::second_stage) == 2);
    CHECK(machine.state->phase == Phase::stopping);
    CHECK(machine.kernel.kills.empty());
    SECTION("it knows from the beginning, and gets the same request when it is up") {
        machine.connect();
        CHECK((machine.link->welcome().flags & records::kEnding) != 0);
        CHECK(machine.kinds() == std::vector<Kind>{Kind::kept_end});
        REQUIRE(machine.link->up().ok());
        machine.pid1->on_link_readable();
        auto all = machine.received();
        REQUIRE(all.size() == 1);
        CHECK(all[0].record.kind == static_cast<std::uint16_t>(Kind::stop));
        CHECK(all[0].record.payload.stop.action == Action::poweroff);
        CHECK(all[0].record.payload.stop.signal == SIGUSR2);
        REQUIRE(machine.link->services_stopped().ok());
        machine.pid1->on_link_readable();
        CHECK(machine.state->phase == Phase::terminating);
    }
    SECTION("the limit is counted from the beginning of the end") {
        machine.up();
        machine.pass(machine.state->limits.stop - 20'001);
        CHECK(machine.state->phase == Phase::stopping);
        machine.pass(1);
        CHECK(machine.state->phase == Phase::terminating);
    }
    SECTION("not without end, and whether it was up makes no difference") {
        for (int death = 2; death <= 5; ++death) {
            CHECK(machine.state->phase == Phase::stopping);
            if (death % 2 == 0) machine.up();
            machine.second_stage_dies();
        }
        CHECK(machine.state->phase == Phase::terminating);
        CHECK(machine.kernel.count(Helper::second_stage) == 5);
    }
}

TEST_CASE("one that is started in the ordinary course is to start services") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.second_stage_dies();
    machine.connect();
    CHECK((machine.link->welcome().flags & records::kEnding) == 0);
}

TEST_CASE("the signals of busybox init, and those that engines send") {
    auto action = [](int signal, bool container) {
        Machine machine;
        machine.state->container = container;
        machine.pid1->begin();
        machine.kernel.no_children = true;
        machine.pid1->on_signal(signal);
        for (int i = 0; i < 3; ++i)
            machine.pid1->on_time();
        if (machine.state->phase == Phase::finishing)
            machine.die(machine.kernel.last_pid(), exit_code(0));
        return machine.kernel.ended.empty() ? Action::none : machine.kernel.ended[0];
    };
    CHECK(action(SIGUSR1, false) == Action::halt);
    CHECK(action(SIGUSR2, false) == Action::poweroff);
    CHECK(action(SIGTERM, false) == Action::reboot);
    CHECK(action(SIGINT, false) == Action::reboot);
    CHECK(action(SIGPWR, false) == Action::poweroff);
    CHECK(action(SIGHUP, false) == Action::none);
    CHECK(action(SIGTERM, true) == Action::poweroff);
    CHECK(action(SIGINT, true) == Action::poweroff);
    CHECK(action(SIGPWR, true) == Action::poweroff);
    CHECK(action(37, true) == Action::poweroff); // SIGRTMIN+3 of those who send it
}

TEST_CASE("what is not for the container itself is for its main service") {
    Machine machine;
    machine.state->container = true;
    machine.state->main_words = 1;
    machine.pid1->begin();
    machine.up();
    for (int signal : {SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGQUIT}) {
        machine.pid1->on_signal(signal);
        auto received = machine.received();
        REQUIRE_FALSE(received.empty());
        const records::Record& record = received.back().record;
        CHECK(record.kind == static_cast<std::uint16_t>(records::Kind::signal));
        CHECK(record.payload.signal.signal == signal);
        CHECK(machine.state->phase == Phase::running);
    }
    machine.pid1->on_signal(SIGTERM);
    CHECK(machine.state->phase == Phase::stopping);
}

TEST_CASE("a container ends with the status of its main service, however the end comes") {
    Machine machine;
    machine.state->container = true;
    machine.state->main_words = 1;
    machine.pid1->begin();
    machine.up();
    machine.start_service("main", 50);
    REQUIRE(machine.link->main_process(50).ok());
    machine.pid1->on_link_readable();
    auto rest = [&machine](Action action) {
        machine.second_stage_dies();
        machine.kernel.no_children = true;
        machine.pid1->on_signal(SIGCHLD);
        machine.pid1->on_time();
        CHECK(machine.kernel.ended == std::vector<Action>{action});
    };
    SECTION("init ends it, for nobody waits any longer") {
        machine.pid1->on_signal(SIGTERM);
        machine.pass(machine.state->limits.stop);
        machine.pass(machine.state->limits.grace);
        machine.die(50, kKilled);
        rest(Action::poweroff);
        CHECK(machine.kernel.exit_status == 137);
    }
    SECTION("it is to stop when it has just ended by itself: the rest is still stopped in order") {
        machine.die(50, exit_code(42));
        REQUIRE(machine.link->shutdown(Action::exit, 42).ok());
        machine.pid1->on_link_readable();
        machine.pid1->on_signal(SIGTERM);
        CHECK(machine.state->phase == Phase::stopping);
        machine.pid1->on_signal(SIGTERM); // a second time
        CHECK(machine.state->phase == Phase::terminating);
        rest(Action::poweroff);
        CHECK(machine.kernel.exit_status == 42);
    }
    SECTION("another process with its number is not it") {
        machine.die(50, exit_code(7));
        machine.die(50, exit_code(9));
        machine.pid1->on_signal(SIGTERM);
        machine.pid1->on_signal(SIGTERM);
        rest(Action::poweroff);
        CHECK(machine.kernel.exit_status == 7);
    }
}

TEST_CASE("in a container nothing is unmounted, and no shell where nobody could see it") {
    Machine machine;
    machine.state->container = true;
    machine.pid1->begin();
    machine.kernel.no_children = true;
    for (int failure = 0; failure < 5; ++failure)
        machine.second_stage_dies(exit_code(127));
    for (int i = 0; i < 3; ++i)
        machine.pid1->on_time();
    CHECK(machine.kernel.count(Helper::shell) == 0);
    CHECK(machine.kernel.count(Helper::finish) == 0);
    CHECK(machine.kernel.ended == std::vector<Action>{Action::exit});
    CHECK(machine.kernel.exit_status == 1);
}

TEST_CASE("switching the root ends everything first; if it fails there is a shell") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.kinds();
    REQUIRE(machine.link->switch_root("/newroot", "/sbin/init").ok());
    machine.pid1->on_link_readable();
    auto all = machine.received();
    REQUIRE(all.size() == 1);
    CHECK(all[0].record.payload.stop.action == Action::switch_root);
    REQUIRE(machine.link->services_stopped().ok());
    machine.pid1->on_link_readable();
    CHECK(machine.kernel.switched == 0);
    machine.kernel.no_children = true;
    machine.second_stage_dies(exit_code(0));
    for (int i = 0; i < 3; ++i)
        machine.pid1->on_time();
    CHECK(machine.kernel.switched == 1);
    CHECK(machine.kernel.count(Helper::finish) == 0);
    CHECK(machine.kernel.ended.empty());
    CHECK(machine.kernel.count(Helper::shell) == 1);
}
