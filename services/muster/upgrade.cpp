#include "services/muster/upgrade.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <vector>

#include "init/dataspace/pattern.h"
#include "services/muster/bus.h"
#include "services/muster/output.h"
#include "services/system/check.h"

namespace muster::command {

namespace {

namespace pat = dataspace::pattern;

int fail(const std::string& line) {
    std::fprintf(stderr, "muster: upgrade: %s\n", line.c_str());
    return 1;
}

constexpr uint64_t longest_start = 30 * second; // of the new one

// Runs a program, its messages on our standard error, and gives what it prints.
Result<std::string> ask(std::vector<std::string> words) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return system_error("pipe", errno);
    Fd read_end(ends[0]);
    Fd write_end(ends[1]);
    std::vector<char*> argv;
    for (std::string& word : words)
        argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
    pid_t pid = 0;
    int error = ::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return system_error(words[0], error);
    write_end.reset();
    std::string output;
    char buffer[512];
    for (ssize_t size; (size = ::read(read_end.get(), buffer, sizeof buffer)) > 0;)
        output.append(buffer, static_cast<size_t>(size));
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (status != 0) return Error{words[0] + " cannot take over: nothing was changed"};
    while (output.ends_with('\n'))
        output.pop_back();
    return output;
}

// `<system-programs {…}>` (stage.cpp), or an invalid value.
Result<Value> programs_of(Bus& bus) {
    auto found = bus.query({"config"}, pat::record("system-programs", {pat::discard()}));
    if (!found) return found.error();
    return found->empty() ? Value() : Value(found->front().view().at(0));
}

} // namespace

int upgrade(const std::string& path) {
    auto bus = Bus::connect(path);
    if (!bus) return fail(bus.error().message);
    Ref<protocol::Reference> system = (*bus)->capability("system");
    if (!system) return fail("permission denied: only root may do this");
    auto programs = programs_of(**bus);
    if (!programs) return fail(programs.error().message);
    if (!programs->valid()) return fail("there is no init of ours here");
    View known = *programs;
    auto text = [&](std::string_view key) {
        return std::string(known.get(key).as_string().value_or(""));
    };
    auto number = [&](std::string_view key) {
        return std::to_string(known.get(key).as_int().value_or(0));
    };

    auto records = ask({text("init"), "--takes-over", number("state"), number("state-size")});
    if (!records) return fail(records.error().message);
    int records_version = 0;
    auto [end, error] =
        std::from_chars(records->data(), records->data() + records->size(), records_version);
    if (error != std::errc() || end != records->data() + records->size())
        return fail(text("init") + " is no init of ours: nothing was changed");
    auto checked = ask({text("second-stage"), "--check", "--records", *records, "--ledger",
                        number("ledger"), "--config", text("configuration")});
    if (!checked) return fail(checked.error().message);
    int ledger = static_cast<int>(known.get("ledger").as_int().value_or(0));
    if (*checked != services::takes_over(records_version, ledger))
        return fail(text("second-stage") + " is no second stage of ours: nothing was changed");

    (*bus)->client().message(system, preserves::record("system", {preserves::symbol("upgrade")}));
    Result<bool> ended = (*bus)->run_until([] { return false; });
    if (ended || !(*bus)->lost()) return fail(ended ? "nothing happened" : ended.error().message);
    for (;;) {
        auto again = Bus::connect(path, true, longest_start);
        if (!again && !again.error().message.empty()) return fail(again.error().message);
        if (!again) continue;
        auto now = programs_of(**again);
        if (!now && now.error().message.empty()) continue;
        if (!now) return fail(now.error().message);
        put_line("second stage: process " + number("process") + ", now " +
                 std::to_string(now->view().get("process").as_int().value_or(0)));
        return 0;
    }
}

} // namespace muster::command
