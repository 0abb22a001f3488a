// PID 1 with scripted system calls and a real link: the test is the second stage.
#include "init/pid1.h"

#include <cerrno>
#include <csignal>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/base/catch.h"
#include "init/base/fd.h"
#include "init/line.h"
#include "init/memory.h"
#include "init/second_stage_link.h"

using namespace muster;
using namespace muster::pid1;
using records::Action;
using records::Kind;

namespace {

constexpr int kKilled = SIGKILL; // as a wait status
int exit_code(int code) { return code << 8; }

struct ScriptedKernel final : Kernel {
    std::int64_t now = 1000000;
    std::deque<Exited> exits;
    bool no_children = false;
    std::vector<std::pair<pid_t, int>> kills;
    std::vector<std::pair<Helper, pid_t>> started;
    std::deque<int> start_errors; // of the next starts; 0: succeeds
    Fd second_stage_end;
    pid_t next_pid = 100;
    std::vector<std::string> lines;
    std::vector<Action> ended;
    int exit_status = -1;
    int services_killed = 0;
    int new_root = 0;
    int switched = 0;
    std::vector<pid_t> gone; // kill(pid, 0) finds nothing

    std::int64_t now_ms() override { return now; }
    pid_t look(Exited& exited) override {
        if (exits.empty()) return no_children ? -ECHILD : 0;
        exited = exits.front();
        return exited.pid;
    }
    void reap(pid_t pid) override {
        CHECK(exits.front().pid == pid);
        exits.pop_front();
    }
    int kill(pid_t pid, int signal) override {
        if (signal == 0) {
            for (pid_t one : gone) {
                if (one == pid) return -ESRCH;
            }
            return 0;
        }
        kills.emplace_back(pid, signal);
        return 0;
    }
    int kill_services_cgroup() override {
        ++services_killed;
        return 0;
    }
    pid_t start(Helper helper, const State&, int fd) override {
        int error = 0;
        if (!start_errors.empty()) {
            error = start_errors.front();
            start_errors.pop_front();
        }
        if (error != 0) return -error;
        if (helper == Helper::second_stage) second_stage_end.reset(fcntl(fd, F_DUPFD_CLOEXEC, 3));
        started.emplace_back(helper, next_pid);
        return next_pid++;
    }
    int check_new_root(const records::SwitchRoot&, const State&) override { return new_root; }
    int switch_root(const records::SwitchRoot&, State&) override {
        ++switched;
        return -EINVAL;
    }
    int end(Action action, int status, bool) override {
        ended.push_back(action);
        exit_status = status;
        return -EPERM;
    }
    int mount(const char*, const char*, const char*, unsigned long, const char*) override {
        return 0;
    }
    int make_directory(const char*, unsigned) override { return 0; }
    long file_system(const char*) override { return 0; }
    int is_mount_point(const char*) override { return 0; }
    int make_symlink(const char*, const char*) override { return 0; }
    int make_device(const char*, unsigned, unsigned, unsigned) override { return 0; }
    int write_file(const char*, std::string_view) override { return 0; }
    std::uint64_t inode(const char*) override { return 1; }
    void print(std::string_view line) override { lines.emplace_back(line); }

    int count(Helper helper) const {
        int found = 0;
        for (const auto& one : started)
            found += one.first == helper;
        return found;
    }
    pid_t last_pid() const { return started.back().second; }
    bool killed(pid_t pid, int signal) const {
        for (const auto& one : kills) {
            if (one == std::pair(pid, signal)) return true;
        }
        return false;
    }
    bool said(std::string_view text) const {
        for (const std::string& line : lines) {
            if (line.find(text) != line.npos) return true;
        }
        return false;
    }
};

struct Machine {
    int state_fd = -1;
    State* state = make_state(state_fd);
    records::SharedState* shared = make_shared_state(state->shared_fd);
    ScriptedKernel kernel;
    std::optional<Pid1> pid1;
    std::optional<SecondStageLink> link;

    Machine() {
        copy_field(state->second_stage, sizeof state->second_stage, "/dataspace");
        pid1.emplace(*state, *shared, kernel);
    }
    ~Machine() {
        std::uint32_t at = 0;
        while (const DescriptorStore::Entry* entry = state->store.next(at)) {
            close(entry->fd);
            ++at;
        }
        if (state->link_fd >= 0) close(state->link_fd);
        close(state->shared_fd);
        munmap(state, sizeof(State));
        munmap(shared, records::kSharedSize);
        close(state_fd);
    }

    // The second stage that was started last connects.
    void connect() {
        link.reset();
        auto connected = SecondStageLink::connect(kernel.second_stage_end.release());
        REQUIRE(connected.ok());
        link.emplace(std::move(*connected));
        pid1->on_link_readable();
    }
    void up() {
        connect();
        REQUIRE(link->up().ok());
        pid1->on_link_readable();
    }
    void die(pid_t pid, int wait_status) {
        kernel.exits.push_back({pid, wait_status, 0, 0, 0});
        pid1->on_signal(SIGCHLD);
    }
    void second_stage_dies(int wait_status = kKilled) {
        link.reset();
        die(state->second_stage_pid, wait_status);
    }
    SlotRef start_service(const char* name, pid_t pid) {
        auto slot = link->claim(name, "");
        REQUIRE(slot.ok());
        *link->pid_cell(*slot) = pid;
        return *slot;
    }
    // What has come for the second stage.
    std::vector<SecondStageLink::Received> received() {
        std::vector<SecondStageLink::Received> all;
        for (;;) {
            pid1->on_time();
            if (pid1->wants_to_write()) pid1->on_link_writable();
            auto one = link->receive();
            if (!one.ok() || !*one) return all;
            all.push_back(std::move(**one));
        }
    }
    std::vector<Kind> kinds() {
        std::vector<Kind> all;
        for (auto& one : received())
            all.push_back(static_cast<Kind>(one.record.kind));
        return all;
    }
    void pass(std::int64_t ms) {
        kernel.now += ms;
        pid1->on_time();
    }
    // Until the next thing that time alone brings.
    void pass() {
        pid1->on_time();
        pass(pid1->timeout_ms());
    }
};

} // namespace

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
    REQUIRE(machine.link->acknowledge(status).ok());
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
        REQUIRE(machine.link->acknowledge(status).ok());
        machine.pid1->on_link_readable();
        ++seen;
    }
    CHECK(seen == registered);
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
    REQUIRE(machine.link->acknowledge(first[0].record.payload.status).ok());
    // init has not read the acknowledgement yet.
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
    // The services of the old one are ended first.
    CHECK(machine.state->phase == Phase::sweeping);
    CHECK(machine.kernel.killed(-300, SIGKILL));
    CHECK(machine.kernel.count(Helper::sweep) == 1);
    pid_t sweeper = machine.kernel.last_pid();
    machine.die(300, kKilled);
    CHECK(machine.state->phase == Phase::sweeping);
    machine.die(sweeper, exit_code(0));
    CHECK(machine.state->phase == Phase::running);
    machine.connect();
    CHECK(machine.link->welcome().starts == 1);
    auto all = machine.received();
    REQUIRE(all.size() == 3);
    CHECK(all[0].record.payload.status.pid == 300);
    CHECK(all[0].record.payload.status.generation == slot.generation);
    CHECK(std::string(machine.link->slot(slot.index).name) == "daemon a");
    CHECK(std::string(all[1].record.payload.kept_fd.name) == "a/stdin");
    REQUIRE(all[1].fd.valid());
    CHECK(write(all[1].fd.get(), "x", 1) == 1);
    char got = 0;
    CHECK(read(pipe_ends[0], &got, 1) == 1);
    close(pipe_ends[0]);
    CHECK(all[2].record.payload.kept_end.fds == 1);
    CHECK(all[2].record.payload.kept_end.statuses == 1);
    REQUIRE(machine.link->acknowledge(all[0].record.payload.status).ok());
    REQUIRE(machine.link->drop_fd("a/stdin").ok());
    machine.pid1->on_link_readable();
    CHECK(machine.state->store.count() == 0);
    CHECK(machine.state->statuses.count() == 0);
}

TEST_CASE("old services are killed by their cgroup where there is one") {
    Machine machine;
    machine.state->cgroup2 = machine.state->cgroup_kill = true;
    machine.pid1->begin();
    machine.up();
    machine.start_service("daemon a", 300);
    machine.second_stage_dies();
    CHECK(machine.kernel.services_killed == 1);
    CHECK(machine.kernel.count(Helper::sweep) == 0);
    CHECK(machine.state->phase == Phase::sweeping);
    machine.die(300, kKilled);
    CHECK(machine.state->phase == Phase::running);
}

TEST_CASE("a process that cannot be killed does not hold the next second stage up for ever") {
    Machine machine;
    machine.state->cgroup_kill = true;
    machine.pid1->begin();
    machine.up();
    machine.start_service("daemon a", 300);
    machine.second_stage_dies();
    machine.pass();
    CHECK(machine.state->phase == Phase::running);
    CHECK(machine.kernel.said("cannot be killed"));
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

TEST_CASE("the end does not wait for a second stage that is not there to be asked") {
    SECTION("not up yet") {
        Machine machine;
        machine.pid1->begin();
        machine.pid1->on_signal(SIGUSR1);
        CHECK(machine.state->phase == Phase::terminating);
    }
    SECTION("dies while it stops the services") {
        Machine machine;
        machine.pid1->begin();
        machine.up();
        machine.pid1->on_signal(SIGUSR1);
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
        REQUIRE(machine.link->acknowledge(status).ok());
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
    close(raw);
    machine.link.reset();
    machine.pid1->on_link_readable();
    CHECK(machine.kernel.killed(machine.state->second_stage_pid, SIGKILL));
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

TEST_CASE("the last words of a second stage are heard") {
    Machine machine;
    machine.pid1->begin();
    machine.up();
    REQUIRE(machine.link->shutdown(Action::poweroff).ok());
    machine.second_stage_dies(exit_code(0));
    CHECK(machine.state->phase == Phase::terminating);
    CHECK(machine.state->action == Action::poweroff);
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
