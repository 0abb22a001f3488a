// The shell library with the real relay and dataspaces, in the shells that are there.
#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "init/base/catch.h"
#include "init/config/script_world.h"
#include "init/protocol/relay.h"

using namespace muster;
using preserves::Value;
using preserves::View;

namespace {

// A script that runs as a service: granted `config` and `machine`, which are one dataspace here.
struct ShellService : config::World {
    ShellService(std::vector<std::string> shell, const std::string& text) {
        auto made = EventLoop::create();
        REQUIRE(made);
        loop = std::move(*made);
        loop->set_after_round([this] { return engine.run(); });
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        Fd ours(ends[0]), theirs(ends[1]);

        shell.push_back("-c");
        shell.push_back("set -eu; . services/lib/muster.sh\n" + text);
        std::vector<char*> argv;
        for (std::string& word : shell)
            argv.push_back(word.data());
        argv.push_back(nullptr);
        char lib[] = "MUSTER_LIB=services/lib", service[] = "MUSTER_SERVICE=<daemon test>";
        char path[] = "PATH=/usr/bin:/bin";
        char* environment[] = {lib, service, path, nullptr};
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, theirs.get(), 0);
        posix_spawn_file_actions_adddup2(&actions, theirs.get(), 1);
        int error = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environment);
        posix_spawn_file_actions_destroy(&actions);
        REQUIRE(error == 0);

        protocol::RelayOptions options;
        options.name = "test";
        options.text_output = true;
        options.on_peer = [this](dataspace::Turn& turn, const dataspace::CapRef& peer) {
            preserves::Encoder grants;
            grants.begin_dictionary();
            for (const char* name : {"config", "machine"}) {
                grants.symbol(name);
                grants.value(dataspace::embed(config));
            }
            grants.end();
            turn.assert_(peer, *grants.finish());
            turn.sync(peer, [this](dataspace::Turn&) { synced = true; });
        };
        options.on_closed = [this](const std::string&) { closed = true; };
        connection =
            protocol::Connection::start(engine, *loop, std::move(ours), Fd(), std::move(options));
    }
    ~ShellService() {
        if (child > 0) end();
    }

    // Goes on until `so` is true; a service that ended makes it false for good.
    bool until(const std::function<bool()>& so) {
        loop->run_once(false); // what the test did since is no event of the loop
        while (!so()) {
            if (closed) return false;
            loop->run_once(true);
        }
        return true;
    }
    bool until_has(std::string_view fact) {
        return until([&] { return has(fact); });
    }
    bool until_gone(std::string_view fact) {
        return until([&] { return !has(fact); });
    }
    // Closes the connection; the exit status of the script.
    int end() {
        connection = protocol::Connection();
        int status = -1;
        waitpid(child, &status, 0);
        child = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

    std::unique_ptr<EventLoop> loop;
    protocol::Connection connection;
    pid_t child = -1;
    bool synced = false;
    bool closed = false;
};

std::vector<std::vector<std::string>> shells() { return {{"busybox", "ash"}, {"dash"}}; }

} // namespace

TEST_CASE("shell library: a service lives with the real dataspace") {
    for (const auto& shell : shells()) {
        INFO(shell[0]);
        ShellService service(shell, R"(
            here() { muster_assert config "$1" "<seen $(muster_string "$1") $2>"; }
            gone() { muster_retract "$1"; }
            muster_on machine '<device block {name: ?name, kind: ?kind}>' here gone
            muster_on_message machine '<add ?a ?b>' add
            add() { muster_send machine "<sum $(($1 + $2))>"; }
            muster_ready
            muster_run
        )");
        CHECK(service.until_has("<service-state <daemon test> ready>"));
        CHECK(service.until([&] { return service.synced; }));

        const char* name = R"({kind: 'a b', name: "a\"b\\\n\té€😀 >], [1 <A"})";
        dataspace::Handle device = service.add("<device block " + std::string(name) + ">");
        CHECK(service.until_has(R"(<seen "a\"b\\\n\té€😀 >], [1 <A" 'a b'>)"));
        service.add("<device block {kind: <disk [1 2.5] #x\"00ff\" #{a}>, name: \"x\"}>");
        CHECK(service.until_has("<seen \"x\" <disk [1, 2.5] #x\"00ff\" #{a}>>"));
        service.remove(device);
        CHECK(service.until_gone(R"(<seen "a\"b\\\n\té€😀 >], [1 <A" 'a b'>)"));

        service.send("<add 20 22>");
        CHECK(service.until([&] {
            return std::find(service.events.begin(), service.events.end(), "!<sum 42>") !=
                   service.events.end();
        }));
        CHECK(service.problems.empty());
        CHECK(service.end() == 0);
        service.settle();
        CHECK_FALSE(service.has("<service-state <daemon test> ready>"));
    }
}

TEST_CASE("shell library: many matches at once") {
    for (const auto& shell : shells()) {
        INFO(shell[0]);
        ShellService service(shell, R"(
            n=0
            count() { n=$((n + 1)); muster_assert config count "<count $n>"; }
            muster_on machine '<item ?>' count
            muster_run
        )");
        service.turn([&](dataspace::Turn& turn) {
            for (int i = 0; i < 500; ++i)
                turn.assert_(service.config,
                             service.read("<item \"number " + std::to_string(i) + "\">"));
        });
        CHECK(service.until_has("<count 500>"));
        CHECK(service.end() == 0);
    }
}
