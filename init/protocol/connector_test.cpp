// Two dataspaces in one process: one asks, the other listens, on real sockets.
#include "init/protocol/connector.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/gatekeeper.h"
#include "init/protocol/listener.h"
#include "init/protocol/sockets.h"

using namespace muster;
using namespace muster::protocol;
using dataspace::CapRef;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = muster::dataspace::pattern;

namespace {

uint16_t free_port() {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    return ntohs(address.sin_port);
}

Value text(const std::string& source) {
    Result<Value> value = preserves::parse_text(source);
    REQUIRE(value);
    return *value;
}

struct World {
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    CapRef config = dataspace::spawn_dataspace(engine, "config"); // of who asks
    CapRef server = dataspace::spawn_dataspace(engine, "server"); // where binds stand
    CapRef target = dataspace::spawn_dataspace(engine, "target");
    CapRef gatekeeper;
    std::unique_ptr<Listener> listener;
    Ref<dataspace::Facet> facet;
    dataspace::KeepAlive keep;
    std::string folder = "/tmp/muster-connector-XXXXXX";
    std::string path;
    std::vector<Value> answers; // [request response], as long as they stand
    std::vector<std::string> reports;

    World() {
        signal(SIGPIPE, SIG_IGN);
        REQUIRE(mkdtemp(folder.data()));
        path = folder + "/socket";
        wake();
        auto actor = engine.spawn("system", [this](Turn& turn) {
            keep = dataspace::KeepAlive(Ref<dataspace::Facet>(&turn.current()));
            gatekeeper = spawn_gatekeeper(turn, server, Answers::accepted);
            serve_connectors(turn, *loop, config,
                             [this](const std::string& line) { reports.push_back(line); });
            observe(
                turn, config, pat::record("a", {pat::bind(), pat::bind()}),
                [this](Turn&, View seen) { answers.emplace_back(seen); },
                [this](Turn&, View seen) {
                    for (size_t i = 0; i < answers.size(); ++i)
                        if (answers[i].view() == seen) answers.erase(answers.begin() + i);
                });
            // Key "hello": see the vectors of sturdyref_test.cpp.
            turn.assert_(server,
                         preserves::record("bind", {text("<ref {oid: a-service key: #\"hello\"}>"),
                                                    embed(target), preserves::boolean(false)}));
        });
        facet = Ref<dataspace::Facet>(&actor->root());
        engine.run();
    }
    ~World() {
        in_turn([](Turn& turn) { turn.stop_actor(); });
        for (int i = 0; i < 10; ++i)
            loop->run_once(false);
        listener.reset();
        for (int i = 0; i < 10; ++i)
            loop->run_once(false);
        unlink(path.c_str());
        rmdir(folder.c_str());
    }

    void listen(Result<Fd> fd, bool tcp = false) {
        REQUIRE(fd);
        ListenerOptions options;
        options.name = "server";
        options.tcp = tcp;
        options.admit = [this](int) -> Result<RelayOptions> {
            RelayOptions relay;
            relay.initial_export = gatekeeper;
            return relay;
        };
        auto started = Listener::start(engine, *loop, *std::move(fd), std::move(options));
        REQUIRE(started);
        listener = *std::move(started);
    }

    // What is queued from outside of the loop is looked at before it blocks.
    void wake() {
        loop->set_after_round([this] { return engine.run(); });
    }
    void in_turn(const dataspace::TurnAction& action) {
        engine.external(facet, action);
        wake();
    }

    // What is asserted in $config; the handle comes in the turn.
    std::shared_ptr<dataspace::Handle> ask(const Value& request) {
        auto handle = std::make_shared<dataspace::Handle>(0);
        in_turn([this, request, handle](Turn& turn) {
            *handle = turn.assert_(config, preserves::record("q", {request}));
        });
        return handle;
    }

    void until(const std::function<bool()>& done, int line = __builtin_LINE()) {
        INFO("awaited in line " << line);
        uint64_t deadline = monotonic_now() + 60 * second;
        Timer wake = loop->after(60 * second, [] {});
        while (!done() && monotonic_now() < deadline)
            loop->run_once(true);
        REQUIRE(done());
    }

    // The response to `request`, or an invalid View.
    View answer_to(const Value& request) const {
        for (const Value& each : answers)
            if (each.view().at(0) == request.view()) return each.view().at(1);
        return {};
    }
};

const std::string good_ref = "<ref {oid: a-service sig: #[JTTGQeYCgohMXW/2S2XH8g]}>";

} // namespace

TEST_CASE("connector: a route is followed to what it leads to, over Unix and TCP") {
    bool tcp = GENERATE(false, true);
    World world;
    uint16_t port = tcp ? free_port() : 0;
    std::string address =
        tcp ? "<tcp \"127.0.0.1\" " + std::to_string(port) + ">" : "<unix \"" + world.path + "\">";
    world.listen(tcp ? listen_tcp("127.0.0.1", port) : listen_unix(world.path), tcp);
    Value request = text("<resolve-path <route [" + address + "] " + good_ref + ">>");
    auto asked = world.ask(request);
    world.until([&] { return world.answer_to(request).valid(); });
    View response = world.answer_to(request);
    REQUIRE(response.is_record("ok", 1));
    REQUIRE(response.at(0).is_record("resolved-path", 3));
    CHECK(preserves::to_text(response.at(0).at(0)) == preserves::to_text(text(address)));
    CapRef session = dataspace::cap_of(response.at(0).at(2));
    REQUIRE(session);
    // What is asserted there is asserted at the target, and goes with the connection.
    world.in_turn([&](Turn& turn) { turn.assert_(session, text("<hello>")); });
    world.until([&] { return dataspace::assertion_count(*world.target) == 1; });
    CapRef control = dataspace::cap_of(response.at(0).at(1));
    REQUIRE(control);
    world.in_turn([&](Turn& turn) { turn.message(control, text("<force-disconnect>")); });
    world.until([&] { return !world.answer_to(request).valid(); });
    world.until([&] { return dataspace::assertion_count(*world.target) == 0; });
    // The question still stands: it is answered again.
    world.until([&] { return world.answer_to(request).valid(); });
    world.in_turn([&](Turn& turn) { turn.retract(*asked); });
    world.until([&] { return world.answers.empty(); });
    CHECK(world.reports.empty());
}

TEST_CASE("connector: who is not there yet is waited for, and found again when it comes back") {
    World world;
    Value request = text("<connect-transport <unix \"" + world.path + "\">>");
    world.ask(request);
    world.until([&] { return world.reports.size() == 1; });
    CHECK(world.reports[0].find("No such file") != std::string::npos);
    world.listen(listen_unix(world.path));
    world.until([&] { return world.answer_to(request).valid(); });
    View link = world.answer_to(request).at(0);
    CHECK(link.is_record("connected-transport", 3));
    world.listener.reset();
    unlink(world.path.c_str());
    world.until([&] { return !world.answer_to(request).valid(); });
    world.listen(listen_unix(world.path));
    world.until([&] { return world.answer_to(request).valid(); });
}

TEST_CASE("connector: of several transports one that is there is taken") {
    World world;
    world.listen(listen_unix(world.path));
    Value request = text("<resolve-path <route [<unix \"/nonexistent/socket\"> <ws \"nowhere\"> "
                         "<unix \"" +
                         world.path + "\">] " + good_ref + ">>");
    world.ask(request);
    world.until([&] { return world.answer_to(request).valid(); });
    CHECK(world.answer_to(request).at(0).at(0) == text("<unix \"" + world.path + "\">").view());
}

TEST_CASE("connector: a step that is rejected is the answer; no step gives what is there") {
    World world;
    world.listen(listen_unix(world.path));
    std::string at = "<resolve-path <route [<unix \"" + world.path + "\">]";
    Value wrong = text(at + " <ref {oid: a-service sig: #\"\"}>>>");
    Value bare = text(at + ">>");
    Value twice = text(at + " " + good_ref + " " + good_ref + ">>");
    world.ask(wrong);
    world.ask(bare);
    world.ask(twice);
    world.until([&] { return world.answer_to(wrong).valid() && world.answer_to(bare).valid(); });
    CHECK(preserves::to_text(world.answer_to(wrong)) == "<error sturdyref-failed-validation>");
    CHECK(world.answer_to(bare).at(0).is_record("resolved-path", 3));
    // The target is a dataspace, no gatekeeper: the second step stands there as an assertion.
    world.until([&] { return dataspace::assertion_count(*world.target) == 1; });
    CHECK_FALSE(world.answer_to(twice).valid());
}

TEST_CASE("connector: questions that are nonsense do no harm") {
    World world;
    for (const char* request :
         {"<connect-transport <unix 5>>", "<connect-transport <tcp \"nowhere.example\" 1>>",
          "<connect-transport <tcp \"127.0.0.1\" 99999>>", "<connect-transport <ws \"x\">>",
          "<resolve-path <route x>>", "<resolve-path-step x <ref {}>>",
          "<resolve-path <route []>>"})
        world.ask(text(request));
    world.until([&] { return world.reports.size() == 3; });
    CHECK(world.answers.empty());
}
