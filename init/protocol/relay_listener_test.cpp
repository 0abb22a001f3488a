#include "init/protocol/relay_listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <map>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/sockets.h"

using namespace muster;
using namespace muster::protocol;
using dataspace::CapRef;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = muster::dataspace::pattern;

namespace {

// A port of 127.0.0.1 and ::1 that nobody uses.
int free_port() {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    return ntohs(address.sin_port);
}

struct World {
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    CapRef config = dataspace::spawn_dataspace(engine, "config");
    CapRef space = dataspace::spawn_dataspace(engine, "space");
    Ref<dataspace::Facet> facet;
    dataspace::KeepAlive keep;
    std::vector<std::string> reports;
    std::vector<std::string> states; // with a capability as #:cap
    std::string folder;

    explicit World(RelayListeners options = {}) {
        signal(SIGPIPE, SIG_IGN);
        char name[] = "/tmp/muster-listener-XXXXXX";
        folder = mkdtemp(name);
        options.report = [this](const std::string& line) { reports.push_back(line); };
        engine.spawn("test", [&](Turn& turn) {
            facet = Ref<dataspace::Facet>(&turn.current());
            keep = dataspace::KeepAlive(facet);
            serve_relay_listeners(turn, *loop, config, options);
            Value states_of = pat::record("service-state", {pat::bind(), pat::bind()});
            observe(turn, config, states_of,
                    [this](Turn&, View seen) {
                        states.push_back(preserves::to_text(seen.at(0).at(0)) + " " +
                                         preserves::to_text(seen.at(1)));
                        fields.push_back(seen.at(0).count());
                    },
                    {});
        });
        loop->set_after_round([this] { return engine.run(); });
        rounds();
    }
    ~World() {
        keep = {};
        engine.external(facet, [](Turn& turn) { turn.stop_actor(); });
        rounds();
        rmdir(folder.c_str());
    }
    std::vector<size_t> fields; // of the service names in `states`

    void rounds() {
        for (int i = 0; i < 20; ++i)
            loop->run_once(false);
    }
    void wait_until(const std::function<bool()>& done) {
        bool late = false;
        Timer limit = loop->after(20 * second, [&] { late = true; });
        while (!done() && !late)
            loop->run_once(true);
        REQUIRE(!late);
    }
    Value address(std::string_view source) { return *preserves::parse_text(source); }
    Value service(View where, const CapRef& cap) {
        return preserves::record("run-service",
                                 {preserves::record("relay-listener", {where, embed(cap)})});
    }
    dataspace::Handle assert_(const Value& value) {
        dataspace::Handle handle = 0;
        engine.external(facet, [&](Turn& turn) { handle = turn.assert_(config, value); });
        rounds();
        return handle;
    }
    void retract(dataspace::Handle handle) {
        engine.external(facet, [=](Turn& turn) { turn.retract(handle); });
        rounds();
    }
    std::string talk(int fd, std::string_view words) {
        REQUIRE(::send(fd, words.data(), words.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(words.size()));
        std::string answer;
        wait_until([&] {
            char buffer[4096];
            ssize_t count = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
            if (count > 0) answer.append(buffer, static_cast<size_t>(count));
            if (count < 0) loop->after(millisecond, [] {});
            return count >= 0;
        });
        return answer;
    }
};

template <typename Address>
Fd connect_to(const Address& address) {
    Fd fd(socket(reinterpret_cast<const sockaddr*>(&address)->sa_family, SOCK_STREAM | SOCK_CLOEXEC,
                 0));
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return Fd();
    return fd;
}
Fd connect_v4(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect_to(address);
}
Fd connect_v6(int port) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(static_cast<uint16_t>(port));
    address.sin6_addr = in6addr_loopback;
    return connect_to(address);
}
Fd connect_unix(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, path.size());
    return connect_to(address);
}

constexpr const char* sync_packet = "[[0 <S #:[0 7]>]]";
constexpr const char* sync_answer = "[[7, <M #t>]]\n";

} // namespace

TEST_CASE("a relay listener over TCP serves any capability") {
    World world;
    std::string port = std::to_string(free_port());
    auto listener = world.assert_(
        world.service(world.address("<tcp \"localhost\" " + port + ">"), world.space));
    CHECK(world.states == std::vector<std::string>{"<tcp \"localhost\" " + port + "> started",
                                                   "<tcp \"localhost\" " + port + "> ready"});
    Fd peer = connect_v4(std::stoi(port));
    REQUIRE(peer);
    CHECK(world.talk(peer.get(), sync_packet) == sync_answer);
    CHECK(world.talk(peer.get(), "[[0 <A <here> 1>]]" + std::string(sync_packet)) == sync_answer);
    CHECK(dataspace::assertion_count(*world.space) == 1);
    world.retract(listener);
    CHECK(recv(peer.get(), &port[0], 1, 0) == 0); // closed with the listener
    world.wait_until([&] { return dataspace::assertion_count(*world.space) == 0; });
    CHECK(!connect_v4(std::stoi(port)));
    CHECK(world.reports.empty());
}

TEST_CASE("a relay listener on :: hears both families") {
    World world;
    if (int port = free_port(); listen_tcp("::1", port)) {
        world.assert_(
            world.service(world.address("<tcp \"::\" " + std::to_string(port) + ">"), world.space));
        Fd v4 = connect_v4(port);
        REQUIRE(v4);
        CHECK(world.talk(v4.get(), sync_packet) == sync_answer);
        Fd v6 = connect_v6(port);
        REQUIRE(v6);
        CHECK(world.talk(v6.get(), sync_packet) == sync_answer);
    } else {
        test::skip("no IPv6 here");
    }
}

TEST_CASE("what speaks HTTP to a relay listener is told that there is none") {
    World world;
    int port = free_port();
    std::string address = "tcp 127.0.0.1 " + std::to_string(port);
    world.assert_(world.service(world.address("<tcp \"127.0.0.1\" " + std::to_string(port) + ">"),
                                world.space));
    Fd peer = connect_v4(port);
    REQUIRE(peer);
    std::string answer = world.talk(peer.get(), "GET / HTTP/1.1\r\nHost: here\r\n\r\n");
    CHECK(answer.starts_with("HTTP/1.1 503 "));
    CHECK(world.reports == std::vector<std::string>{"refuse " + address +
                                                    ": speaks HTTP, which is not served here"});
    CHECK(world.talk(peer.get(), "more").empty()); // read, not answered, closed
}

TEST_CASE("a relay listener with a dataspace for HTTP is the same service as without") {
    World world;
    int port = free_port();
    Value where = world.address("<tcp \"127.0.0.1\" " + std::to_string(port) + ">");
    Value name =
        preserves::record("relay-listener", {where, embed(world.space), embed(world.config)});
    world.assert_(preserves::record("run-service", {name}));
    world.assert_(world.service(where, world.space));
    CHECK(world.states.size() == 2);
    CHECK(world.fields == std::vector<size_t>{2, 2});
    CHECK(connect_v4(port));
    REQUIRE(world.reports.size() == 1);
    CHECK(world.reports[0].find("HTTP is not served") != std::string::npos);
}

TEST_CASE("a relay listener says what it cannot do, and tries again what may be possible later") {
    World world;
    int port = free_port();
    auto taken = listen_tcp("127.0.0.1", port);
    REQUIRE(taken);
    std::string text = "<tcp \"127.0.0.1\" " + std::to_string(port) + ">";
    world.assert_(world.service(world.address(text), world.space));
    CHECK(world.states == std::vector<std::string>{text + " failed"});
    REQUIRE(world.reports.size() == 1);
    CHECK(world.reports[0].find("Address already in use") != std::string::npos);
    taken = Fd();
    world.wait_until([&] { return world.states.size() == 3; });
    CHECK(world.states[2] == text + " ready");
    for (auto [address, problem] :
         {std::pair("<tcp \"some.host\" 1>", "must be an IPv4 or IPv6 address"),
          {"<tcp \"127.0.0.1\" 0>", "not a port"},
          {"<tcp \"127.0.0.1\" 65536>", "not a port"},
          {"<ws \"ws://x\">", "expected <unix \"path\"> or <tcp \"host\" port>"},
          {"<unix 1>", "expected <unix \"path\"> or <tcp \"host\" port>"}}) {
        world.reports.clear();
        world.retract(world.assert_(world.service(world.address(address), world.space)));
        REQUIRE(world.reports.size() == 1);
        CHECK(world.reports[0].find(problem) != std::string::npos);
    }
}

TEST_CASE("a Unix relay listener: the umask decides, a dead socket file is replaced") {
    World world;
    std::string path = world.folder + "/socket";
    Value where = preserves::record("unix", {preserves::string(path)});
    { auto dead = listen_unix(path); }
    mode_t old = umask(027);
    auto listener = world.assert_(world.service(where, world.space));
    umask(old);
    struct stat info;
    REQUIRE(stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0750);
    Fd peer = connect_unix(path);
    REQUIRE(peer);
    CHECK(world.talk(peer.get(), sync_packet) == sync_answer);
    World other;
    other.assert_(other.service(where, other.space));
    REQUIRE(other.reports.size() == 1);
    CHECK(other.reports[0].find("somebody else listens there") != std::string::npos);
    world.retract(listener);
    CHECK(access(path.c_str(), F_OK) != 0);
}

TEST_CASE("a relay listener whose socket is kept: who connects meanwhile waits for the next one") {
    struct Kept {
        std::map<std::string, Fd> sockets;
        bool alive = true; // whoever is killed drops nothing
    };
    auto kept = std::make_shared<Kept>();
    auto options = [kept] {
        RelayListeners result;
        result.keeper = {.take =
                             [kept](const std::string& name) {
                                 auto found = kept->sockets.find(name);
                                 return found == kept->sockets.end() ? Fd()
                                                                     : Fd(dup(found->second.get()));
                             },
                         .store = [kept](const std::string& name, int fd) -> Result<> {
                             kept->sockets[name] = Fd(dup(fd));
                             return {};
                         },
                         .drop =
                             [kept](const std::string& name) {
                                 if (kept->alive) kept->sockets.erase(name);
                             }};
        return result;
    };
    std::string port = std::to_string(free_port());
    std::string path = "/tmp/muster-kept-" + port; // in a folder that outlives both
    Value unix_address = preserves::record("unix", {preserves::string(path)});
    Value tcp_address = *preserves::parse_text("<tcp \"127.0.0.1\" " + port + ">");
    auto first = std::make_unique<World>(options());
    first->assert_(first->service(unix_address, first->space));
    first->assert_(first->service(tcp_address, first->space));
    CHECK(kept->sockets.size() == 2);
    std::string aside = path + "-aside"; // the end of a World removes the file
    REQUIRE(rename(path.c_str(), aside.c_str()) == 0);
    kept->alive = false;
    first.reset();
    kept->alive = true;
    REQUIRE(rename(aside.c_str(), path.c_str()) == 0);

    Fd waiting = connect_unix(path), waiting_tcp = connect_v4(std::stoi(port));
    REQUIRE((waiting && waiting_tcp));
    World second(options());
    auto by_path = second.assert_(second.service(unix_address, second.space));
    auto by_port = second.assert_(second.service(tcp_address, second.space));
    CHECK(second.talk(waiting.get(), sync_packet) == sync_answer);
    CHECK(second.talk(waiting_tcp.get(), sync_packet) == sync_answer);

    // What is not wanted any more is kept no longer; without its file a socket is made anew.
    second.retract(by_port);
    CHECK(kept->sockets.size() == 1);
    second.retract(by_path);
    CHECK(kept->sockets.empty());
    CHECK(access(path.c_str(), F_OK) != 0);
    kept->sockets[kept_socket_name("relay", path)] =
        Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    by_path = second.assert_(second.service(unix_address, second.space));
    CHECK(connect_unix(path));
    second.retract(by_path);
    CHECK(second.reports.empty());
}

TEST_CASE("the bus decides about each peer") {
    int asked = 0;
    RelayListeners options;
    World* there = nullptr;
    options.admit_to_bus = [&](int) -> Result<RelayOptions> {
        if (asked++ > 0) return Error{"one is enough"};
        RelayOptions relay;
        relay.initial_export = there->space;
        return relay;
    };
    World world;
    there = &world;
    options.bus = dataspace::spawn_dataspace(world.engine, "bus");
    options.report = [&](const std::string& line) { world.reports.push_back(line); };
    CapRef config = dataspace::spawn_dataspace(world.engine, "other config");
    world.engine.external(world.facet, [&](Turn& turn) {
        serve_relay_listeners(turn, *world.loop, config, options);
        std::string path = world.folder + "/bus";
        turn.assert_(config, world.service(preserves::record("unix", {preserves::string(path)}),
                                           options.bus));
    });
    world.rounds();
    CHECK(world.reports.empty());
    struct stat info;
    REQUIRE(stat((world.folder + "/bus").c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0666);
    Fd first = connect_unix(world.folder + "/bus");
    REQUIRE(first);
    CHECK(world.talk(first.get(), sync_packet) == sync_answer);
    Fd second = connect_unix(world.folder + "/bus");
    REQUIRE(second);
    CHECK(world.talk(second.get(), sync_packet) == "<error \"one is enough\" #f>\n");
    CHECK(world.talk(second.get(), " ").empty());
}
