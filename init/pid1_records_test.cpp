// Records, statuses, descriptors.
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

TEST_CASE("the status of a registered process is kept until it is acknowledged") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    SlotRef slot = machine.start_service("daemon a", 4711);
    machine.die(4711, exit_code(3));
    auto all = machine.received();
    REQUIRE(all.size() == 2); // kept_end, status
    CHECK(all[0].record.kind == static_cast<std::uint16_t>(Kind::kept_end));
    const records::Status& status = all[1].record.payload.status;
    CHECK(status.slot == slot.index);
    CHECK(status.generation == slot.generation);
    CHECK(status.pid == 4711);
    CHECK(WEXITSTATUS(status.wait_status) == 3);
    CHECK(machine.state->statuses.count() == 1);
    CHECK(machine.kinds().empty()); // not sent twice
    machine.acknowledge(status);
    REQUIRE(machine.link->flush().ok());
    machine.pid1->on_link_readable();
    CHECK(machine.state->statuses.count() == 0);
}

TEST_CASE("2,000 orphans at once: none is kept, no registered status is lost") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    for (int i = 0; i < 300; ++i)
        machine.start_service("daemon", 10000 + i);
    // 2,000 strangers, the registered ones among them; more than one round's worth of both.
    for (int i = 0; i < 2000; ++i) {
        machine.kernel.exits.push_back({50000 + i, exit_code(1), 0, 0, 0});
        if (i % 7 == 0 && i / 7 < 300)
            machine.kernel.exits.push_back({10000 + i / 7, exit_code(i / 7 % 100), 0, 0, 0});
    }
    std::size_t registered = machine.kernel.exits.size() - 2000;
    machine.pid1->on_signal(SIGCHLD);
    CHECK(machine.kernel.exits.empty());
    CHECK(machine.state->statuses.count() == registered);
    std::size_t seen = 0;
    for (auto& one : machine.received()) {
        if (one.record.kind != static_cast<std::uint16_t>(Kind::status)) continue;
        const records::Status& status = one.record.payload.status;
        CHECK(WEXITSTATUS(status.wait_status) == (status.pid - 10000) % 100);
        machine.acknowledge(status); // which is sent for many at a time
        machine.pid1->on_link_readable();
        ++seen;
    }
    CHECK(seen == registered);
    CHECK(machine.state->statuses.count() == registered % records::kAcknowledged);
    REQUIRE(machine.link->flush().ok());
    machine.pid1->on_link_readable();
    CHECK(machine.state->statuses.count() == 0);
    CHECK_FALSE(machine.kernel.said("lost"));
}

TEST_CASE("a slot may be used again as soon as the acknowledgement is sent") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.kinds();
    machine.start_service("one", 200);
    machine.die(200, exit_code(1));
    auto first = machine.received();
    REQUIRE(first.size() == 1);
    machine.acknowledge(first[0].record.payload.status);
    // It leaves before the slot is claimed; init has not read it yet.
    SlotRef again = machine.start_service("two", 201);
    CHECK(again.index == first[0].record.payload.status.slot);
    machine.die(201, exit_code(2));
    auto second = machine.received();
    REQUIRE(second.size() == 1);
    CHECK(second[0].record.payload.status.pid == 201);
    CHECK(second[0].record.payload.status.generation == again.generation);
}

TEST_CASE("an acknowledgement that is lost in a crash of init does not cost the next status") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.kinds();
    SlotRef first = machine.start_service("one", 200);
    machine.die(200, exit_code(1));
    machine.link->release(first); // the record itself never arrives
    SlotRef second = machine.start_service("two", 201);
    CHECK(second.index == first.index);
    machine.die(201, exit_code(2));
    auto all = machine.received();
    REQUIRE(all.size() == 2);
    CHECK(all[1].record.payload.status.pid == 201);
    CHECK(machine.state->statuses.count() == 1);
}

TEST_CASE("what was acknowledged and not sent yet comes again for the next second stage") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.kinds();
    SlotRef slot = machine.start_service("one", 200);
    machine.die(200, exit_code(1));
    machine.acknowledge(machine.received()[0].record.payload.status);
    machine.second_stage_dies();
    machine.up();
    auto all = machine.received();
    REQUIRE(all.size() == 2); // status, kept_end
    const records::Status status = all[0].record.payload.status;
    CHECK(status.pid == 200);
    CHECK(status.slot == slot.index);
    // Its slot is free for the new one, which is rid of the status before it uses it.
    machine.acknowledge(status);
    SlotRef again = machine.start_service("two", 201);
    CHECK(again.index == slot.index);
    machine.pid1->on_link_readable();
    CHECK(machine.state->statuses.count() == 0);
    machine.die(201, exit_code(2));
    CHECK(machine.received()[0].record.payload.status.pid == 201);
}

TEST_CASE("of several acknowledgements in a record the wrong one is refused, the others count") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.kinds();
    for (pid_t pid : {200, 201}) {
        machine.start_service("x", pid);
        machine.die(pid, exit_code(1));
    }
    auto all = machine.received();
    REQUIRE(all.size() == 2);
    records::Status wrong = all[0].record.payload.status;
    wrong.pid = 999;
    machine.acknowledge(wrong);
    machine.acknowledge(all[1].record.payload.status);
    REQUIRE(machine.link->flush().ok());
    machine.pid1->on_link_readable();
    CHECK(machine.kinds() == std::vector<Kind>{Kind::refused});
    CHECK(machine.state->statuses.count() == 1);
}

TEST_CASE("when every slot is taken no other is claimed, until one is released") {
    auto link = SecondStageLink::standalone();
    REQUIRE(link.ok());
    SlotRef last;
    for (std::size_t i = 0; i < records::kSlots; ++i) {
        auto slot = link->claim("daemon", "");
        REQUIRE(slot.ok());
        last = *slot;
    }
    CHECK_FALSE(link->claim("one too many", "").ok());
    link->release(last);
    auto slot = link->claim("daemon", "");
    REQUIRE(slot.ok());
    CHECK(slot->index == last.index);
    CHECK(slot->generation != last.generation);
    link->release(last); // of an earlier generation: nothing happens
    CHECK_FALSE(link->claim("one too many", "").ok());
}

TEST_CASE("what was kept comes back after a restart, statuses first") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.kinds();
    SlotRef slot = machine.start_service("daemon a", 300);
    int pipe_ends[2];
    REQUIRE(pipe2(pipe_ends, O_CLOEXEC) == 0);
    REQUIRE(machine.link->store_fd("a/stdin", pipe_ends[1]).ok());
    CHECK_FALSE(machine.link->store_fd("a/stdin", pipe_ends[1]).ok());
    REQUIRE(machine.link->store_fd("a/stdout", pipe_ends[0]).ok());
    REQUIRE(machine.link->drop_fd("a/stdout").ok());
    close(pipe_ends[1]);
    machine.pid1->on_link_readable();
    CHECK(machine.state->store.count() == 1);
    machine.kernel.now += 5000;
    machine.second_stage_dies();
    machine.die(300, kKilled);
    machine.connect();
    CHECK(machine.link->welcome().starts == 1);
    auto all = machine.received();
    REQUIRE(all.size() == 3);
    CHECK(all[0].record.payload.status.pid == 300);
    CHECK(all[0].record.payload.status.generation == slot.generation);
    CHECK(std::string(machine.link->slot(slot.index).name) == "daemon a");
    CHECK(std::string(all[1].record.payload.kept_fd.name) == "a/stdin");
    REQUIRE(all[1].fds.size() == 1);
    CHECK(write(all[1].fds[0].get(), "x", 1) == 1);
    char got = 0;
    CHECK(read(pipe_ends[0], &got, 1) == 1);
    close(pipe_ends[0]);
    CHECK(all[2].record.payload.kept_end.fds == 1);
    CHECK(all[2].record.payload.kept_end.statuses == 1);
    machine.acknowledge(all[0].record.payload.status);
    REQUIRE(machine.link->flush().ok());
    REQUIRE(machine.link->drop_fd("a/stdin").ok());
    machine.pid1->on_link_readable();
    CHECK(machine.state->store.count() == 0);
    CHECK(machine.state->statuses.count() == 0);
}

TEST_CASE("descriptors of slots come back with their roles, and go with the acknowledgement") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.kinds();
    SlotRef slot = machine.start_service("daemon a", 300);
    SlotRef other = machine.start_service("daemon b", 301);
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    SecondStageLink::SlotFd both[] = {{7, ends[0]}, {9, ends[1]}};
    REQUIRE(machine.link->store_slot_fds(slot, both, 2).ok());
    REQUIRE(machine.link->store_slot_fds(other, both, 1).ok());
    REQUIRE(machine.link->drop_slot_fds(other).ok());
    close(ends[0]);
    close(ends[1]);
    machine.pid1->on_link_readable();
    CHECK(machine.kinds().empty());
    machine.second_stage_dies();
    machine.connect();
    auto all = machine.received();
    REQUIRE(all.size() == 2);
    CHECK(all[0].record.kind == static_cast<std::uint16_t>(Kind::kept_slot_fds));
    const records::SlotFds& named = all[0].record.payload.slot_fds;
    CHECK(named.slot == slot.index);
    CHECK(named.generation == slot.generation);
    REQUIRE(all[0].fds.size() == 2);
    CHECK(named.roles[0] == 7);
    CHECK(named.roles[1] == 9);
    CHECK(write(all[0].fds[1].get(), "x", 1) == 1);
    char got = 0;
    CHECK(read(all[0].fds[0].get(), &got, 1) == 1);
    CHECK(all[1].record.payload.kept_end.slots == 1);
    machine.die(300, kKilled);
    all = machine.received();
    REQUIRE(all.size() == 1);
    machine.acknowledge(all[0].record.payload.status);
    REQUIRE(machine.link->flush().ok());
    machine.pid1->on_link_readable();
    CHECK(machine.state->slot_descriptors.slots() == 0);
}

TEST_CASE("descriptors for a slot: a later generation replaces, too many are refused") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.kinds();
    Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    std::vector<SecondStageLink::SlotFd> four(4, {1, null.get()});
    SlotRef slot{5, 1};
    REQUIRE(machine.link->store_slot_fds(slot, four.data(), 4).ok());
    REQUIRE(machine.link->store_slot_fds(slot, four.data(), 4).ok());
    machine.pid1->on_link_readable();
    CHECK(machine.kinds() == std::vector<Kind>{Kind::refused});
    REQUIRE(machine.link->store_slot_fds({5, 2}, four.data(), 4).ok());
    machine.pid1->on_link_readable();
    CHECK(machine.kinds().empty());
    CHECK(machine.state->slot_descriptors.slots() == 1);
    REQUIRE(machine.link->drop_slot_fds(slot).ok());
    REQUIRE(machine.link->store_slot_fds({records::kSlots, 1}, four.data(), 1).ok());
    machine.pid1->on_link_readable();
    CHECK(machine.kinds() == std::vector<Kind>{Kind::refused, Kind::refused});
}

TEST_CASE("another init takes over when it is asked to, and stays when it cannot") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.kinds();
    REQUIRE(machine.link->upgrade("/sbin/init").ok());
    REQUIRE(machine.link->upgrade("relative").ok());
    machine.pid1->on_link_readable();
    CHECK(machine.kernel.became == std::vector<std::string>{"/sbin/init"});
    CHECK(machine.kinds() == std::vector<Kind>{Kind::refused, Kind::refused});
    CHECK(machine.state->phase == Phase::running);
}

TEST_CASE("records that cannot be obeyed are refused with a reason") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    machine.kinds();
    SECTION("exit outside a container") { REQUIRE(machine.link->shutdown(Action::exit, 3).ok()); }
    SECTION("an action that there is not") {
        REQUIRE(machine.link->shutdown(static_cast<Action>(99)).ok());
    }
    SECTION("a root that is none") {
        machine.kernel.new_root = -EXDEV;
        REQUIRE(machine.link->switch_root("/newroot", "").ok());
    }
    SECTION("an acknowledgement of nothing") {
        records::Status status{};
        status.slot = 0xFFFFFFFF;
        machine.acknowledge(status);
        REQUIRE(machine.link->flush().ok());
    }
    SECTION("services stopped when nobody asked") {
        REQUIRE(machine.link->services_stopped().ok());
    }
    machine.pid1->on_link_readable();
    auto all = machine.received();
    REQUIRE(all.size() == 1);
    CHECK(all[0].record.kind == static_cast<std::uint16_t>(Kind::refused));
    CHECK(all[0].record.payload.refused.reason[0] != 0);
    CHECK(machine.state->phase == Phase::running);
}

TEST_CASE("bytes that are no record are refused, a link without an owner ends its owner") {
    Machine machine;
    machine.pid1->begin();
    int raw = fcntl(machine.kernel.second_stage_end.get(), F_DUPFD_CLOEXEC, 3);
    machine.up();
    machine.kinds();
    CHECK(write(raw, "garbage", 7) == 7);
    machine.pid1->on_link_readable();
    CHECK(machine.kinds() == std::vector<Kind>{Kind::refused});
    records::Record many = records::make_record(Kind::acknowledge);
    many.payload.acknowledge.count = 1 << 30;
    CHECK(write(raw, &many, sizeof many) == sizeof many);
    machine.pid1->on_link_readable();
    CHECK(machine.kinds() == std::vector<Kind>{Kind::refused});
    close(raw);
    machine.link.reset();
    machine.pid1->on_link_readable();
    CHECK(machine.kernel.killed(machine.state->second_stage_pid, SIGKILL));
}

TEST_CASE("the last words of a second stage are heard") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    REQUIRE(machine.link->shutdown(Action::poweroff).ok());
    machine.second_stage_dies(exit_code(0));
    CHECK(machine.state->phase == Phase::stopping);
    CHECK(machine.state->action == Action::poweroff);
    CHECK(machine.kernel.count(Helper::second_stage) == 2); // which goes on with it
}

TEST_CASE("a second stage that does not read loses nothing and holds nobody up") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    for (int i = 0; i < 1000; ++i)
        machine.start_service("daemon", 10000 + i);
    for (int i = 0; i < 1000; ++i)
        machine.kernel.exits.push_back({10000 + i, exit_code(0), 0, 0, 0});
    machine.pid1->on_signal(SIGCHLD);
    CHECK(machine.state->statuses.count() == 1000);
    CHECK(machine.pid1->wants_to_write()); // the socket holds fewer
    std::size_t statuses = 0;
    for (Kind kind : machine.kinds())
        statuses += kind == Kind::status;
    CHECK(statuses == 1000);
    CHECK_FALSE(machine.pid1->wants_to_write());
}
