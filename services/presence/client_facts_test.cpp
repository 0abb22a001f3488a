#include "services/presence/client_facts.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "init/base/catch.h"
#include "services/tracker/tracked_world.h"

using namespace muster;
using namespace muster::services;
using namespace muster::services::test;

namespace {

struct Doors : Tracked {
    std::string folder;
    std::string path;
    std::vector<std::string> reports;

    explicit Doors(size_t burst = 20) {
        char name[] = "/tmp/muster-client-XXXXXX";
        REQUIRE(mkdtemp(name) != nullptr);
        folder = name;
        path = folder + "/socket";
        act([this, burst](dataspace::Turn& turn) {
            serve_presence(turn,
                           {.loop = *loop,
                            .config = config,
                            .machine = machine,
                            .sockets = sockets,
                            .report = [this](dataspace::Turn&,
                                             const std::string& line) { reports.push_back(line); },
                            .client_burst = burst,
                            .client_window = 200 * millisecond});
        });
        say("<started-by <daemon web> <present <group <rec client> {0: <group <rec daemon> {0: "
            "<lit "
            "web>}> 1: <bind <_>>}>>>");
    }
    ~Doors() {
        tracker = {};
        engine.reset(); // which closes the sockets
        rmdir(folder.c_str());
    }
    std::string listen() const { return "listen: [<unix \"" + path + "\" {name: \"web\"}>]"; }
    bool listening() const { return access(path.c_str(), F_OK) == 0; }
    Fd connect() const {
        Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        CHECK(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        return socket;
    }
};

} // namespace

TEST_CASE("clients: the socket is there before the service, which the first one starts") {
    Doors world;
    world.define("web", "{argv: [\"/bin/sleep\" \"1000\"] " + world.listen() + "}");
    REQUIRE(world.listening());
    CHECK(world.word("web") == "stopped");
    Fd client = world.connect();
    world.until_word("web", "running");
    // It stays open while the service is started again.
    kill(static_cast<pid_t>(world.number("web", "pid")), SIGKILL);
    world.until([&] { return world.count("+web ready") == 2; });
    CHECK(world.listening());
    Fd another = world.connect();
    CHECK(world.reports.empty());
    world.unsay("<daemon web {argv: [\"/bin/sleep\" \"1000\"] " + world.listen() + "}>");
    world.until([&] { return !world.listening(); }); // with the last process that has it
}

TEST_CASE("clients: a socket that is somebody else's is opened when they have gone") {
    Doors world;
    {
        Fd theirs(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        world.path.copy(address.sun_path, sizeof address.sun_path - 1);
        REQUIRE(::bind(theirs.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        REQUIRE(::listen(theirs.get(), 1) == 0);
        world.define("web", "{argv: [\"/bin/sleep\" \"1000\"] " + world.listen() + "}");
        world.until([&] { return !world.reports.empty(); });
        CHECK(world.reports[0].ends_with("somebody else listens there; tried again"));
    }
    ::unlink(world.path.c_str());
    world.until([&] { return world.listening(); });
    Fd client = world.connect();
    world.until_word("web", "running");
    CHECK(world.reports.size() == 1);
}

TEST_CASE("clients: a service that has ended by itself waits for the next one") {
    Doors world;
    world.define("web", "{argv: \"read -r line < " + world.folder +
                            "/fifo\" restart: on-error readyOnStart: #f " + world.listen() + "}");
    REQUIRE(mkfifo((world.folder + "/fifo").c_str(), 0600) == 0);
    Fd first = world.connect();
    world.until_word("web", "starting");
    auto end_it = [&] {
        Fd fifo(open((world.folder + "/fifo").c_str(), O_WRONLY | O_CLOEXEC));
        REQUIRE(write(fifo.get(), "x\n", 2) == 2);
    };
    end_it();
    // Nobody took the client: it counts for the next run as well.
    world.until([&] { return world.count("+web complete") == 1; });
    world.until([&] { return world.count("+web started") == 2; });
    world.send("<stop-service <daemon web>>");
    world.until_gone("web");
    CHECK(world.listening());
    unlink((world.folder + "/fifo").c_str());
}

TEST_CASE("clients: a service that leaves its clients where they are is started less often") {
    Doors world(3);
    world.define("web", "{argv: [\"/bin/true\"] restart: on-error readyOnStart: #f " +
                            world.listen() + "}");
    Fd client = world.connect();
    world.until([&] { return !world.reports.empty(); });
    CHECK(world.reports[0] == "web is started too often by its clients: they wait");
    size_t before = world.count("+web complete");
    CHECK(before >= 4);
    world.until([&] { return world.count("+web complete") > before; }); // but it is, in the end
}

TEST_CASE("clients: what cannot be opened is named") {
    Doors world;
    world.define("web", "{argv: [\"/bin/true\"] listen: [<unix \"/nowhere/at/all\">]}");
    REQUIRE(world.reports.size() == 1);
    CHECK(world.reports[0].find("web: ") == 0);
    CHECK(world.reports[0].find("/nowhere/at/all") != std::string::npos);
}
