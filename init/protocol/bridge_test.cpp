#include "init/protocol/bridge.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::protocol;
using dataspace::CapRef;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = muster::dataspace::pattern;

namespace {

// One machine: its configuration, what it shares, and who is joined.
struct Machine {
    dataspace::Engine engine;
    CapRef config = dataspace::spawn_dataspace(engine, "config");
    CapRef shared = dataspace::spawn_dataspace(engine, "shared");
    Ref<dataspace::Facet> facet;
    dataspace::KeepAlive keep;
    std::string path;
    CapRef peer; // of the other machine
    std::vector<std::string> reports;

    Machine(EventLoop& loop, std::string socket) : path(std::move(socket)) {
        engine.spawn("test", [&](Turn& turn) {
            facet = Ref<dataspace::Facet>(&turn.current());
            keep = dataspace::KeepAlive(facet);
            serve_bridges(turn, loop, config,
                          [this](const std::string& line) { reports.push_back(line); });
            Value bridge =
                preserves::record("bridge", {preserves::string(path), dataspace::embed(shared)});
            turn.assert_(config, preserves::record("run-service", {bridge}));
            observe(
                turn, config, pat::record("bridge-peer", {pat::discard(), pat::bind()}),
                [this](Turn&, View seen) { peer = dataspace::cap_of(seen.at(0)); },
                [this](Turn&, View) { peer = nullptr; });
        });
        engine.run();
    }
    ~Machine() {
        keep = {};
        engine.external(facet, [](Turn& turn) { turn.stop_actor(); });
        engine.run();
    }
    void say(const CapRef& where, std::string_view text) {
        Value value = *preserves::parse_text(text);
        engine.external(facet, [=](Turn& turn) { turn.assert_(where, value); });
    }
    Fd connect_to() const {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, path.size());
        Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        REQUIRE(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        return fd;
    }
};

struct Folder {
    Folder() {
        char name[] = "/tmp/muster-bridge-XXXXXX";
        path = mkdtemp(name);
    }
    ~Folder() { rmdir(path.c_str()); }
    std::string path;
};

struct World {
    Folder folder; // the last to go
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    Machine left{*loop, folder.path + "/left"};
    Machine right{*loop, folder.path + "/right"};

    World() {
        signal(SIGPIPE, SIG_IGN);
        loop->set_after_round([this] {
            bool more = left.engine.run();
            return right.engine.run() || more;
        });
    }
    // Carries bytes between two sockets while the loop runs, as any pipe would.
    void rounds(const Fd& a, const Fd& b) {
        for (int i = 0; i < 40; ++i) {
            loop->run_once(false);
            if (!a || !b) continue;
            carry(a, b);
            carry(b, a);
        }
    }
    static void carry(const Fd& from, const Fd& to) {
        char buffer[4096];
        ssize_t count = recv(from.get(), buffer, sizeof buffer, MSG_DONTWAIT);
        if (count > 0) REQUIRE(send(to.get(), buffer, static_cast<size_t>(count), 0) == count);
    }
};

size_t count(const CapRef& space) { return dataspace::assertion_count(*space); }

} // namespace

TEST_CASE("a bridge gives each of two machines what the other one shares, and no more") {
    World world;
    struct stat info;
    REQUIRE(stat(world.left.path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    Fd a = world.left.connect_to();
    Fd b = world.right.connect_to();
    world.rounds(a, b);
    REQUIRE(world.left.peer);
    REQUIRE(world.right.peer);
    size_t left_config = count(world.left.config);
    world.left.say(world.left.peer, "<from left>");
    world.right.say(world.right.peer, "<from right>");
    world.rounds(a, b);
    CHECK(count(world.right.shared) == 1);
    CHECK(count(world.left.shared) == 1);
    CHECK(count(world.left.config) == left_config);
    // Looking goes both ways as well.
    std::vector<std::string> seen;
    world.left.engine.external(world.left.facet, [&](Turn& turn) {
        observe(
            turn, world.left.peer, pat::bind(pat::record("fact", {pat::discard()})),
            [&](Turn&, View what) { seen.push_back(preserves::to_text(what.at(0))); },
            [&](Turn&, View) { seen.push_back("gone"); });
    });
    world.right.say(world.right.shared, "<fact 1>");
    world.rounds(a, b);
    CHECK(seen == std::vector<std::string>{"<fact 1>"});

    // The machine goes, and takes along what it had said; and it can come back.
    a.reset();
    b.reset();
    world.rounds(a, b);
    CHECK(!world.left.peer);
    CHECK(!world.right.peer);
    CHECK(count(world.left.shared) == 0);
    CHECK(count(world.right.shared) == 1); // its own fact
    a = world.left.connect_to();
    b = world.right.connect_to();
    world.rounds(a, b);
    REQUIRE(world.left.peer);
    world.left.say(world.left.peer, "<from left again>");
    world.rounds(a, b);
    CHECK(count(world.right.shared) == 2);
    CHECK(world.left.reports.empty());
    CHECK(world.right.reports.empty());
}
