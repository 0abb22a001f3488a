// For tests of Pid1: scripted system calls, and a machine whose second stage is the test, over a
// real link.
#pragma once

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

namespace muster::pid1::testing {

using records::Action;
using records::Kind;

inline constexpr int kKilled = SIGKILL; // as a wait status
inline int exit_code(int code) { return code << 8; }

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
    std::vector<std::string> became;
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
    int become(const char* program, State&) override {
        became.emplace_back(program);
        return -ENOENT;
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
        for (at = 0; const SlotDescriptors::Entry* slot = state->slot_descriptors.next(at);)
            state->slot_descriptors.drop(at, slot->named.generation);
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
    // As the second stage, which says it with the next record.
    void acknowledge(const records::Status& status) {
        REQUIRE(link->acknowledge({status.slot, status.generation}, status.pid).ok());
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

} // namespace muster::pid1::testing
