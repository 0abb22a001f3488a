#include "init/protocol/relay.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include <string>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/client.h"

using namespace muster;
using namespace muster::protocol;
using preserves::Value;
using preserves::View;
namespace pat = muster::dataspace::pattern;

namespace {

Value text(std::string_view source) {
    Result<Value> value = preserves::parse_text(source);
    REQUIRE(value);
    return *value;
}

// A dataspace behind a relay, and the other end of its connection as a bare descriptor.
struct World {
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    dataspace::CapRef space = dataspace::spawn_dataspace(engine, "space");
    std::vector<std::string> closed;
    Fd peer;
    Connection connection;

    explicit World(RelayOptions options = {}) {
        signal(SIGPIPE, SIG_IGN);
        engine.set_on_failure([](const dataspace::Actor&, const Error&) {});
        loop->set_after_round([this] { return engine.run(); });
        connect(std::move(options));
    }

    void connect(RelayOptions options) {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        options.name = "test";
        if (!options.initial_export) options.initial_export = space;
        options.on_closed = [this](const std::string& reason) { closed.push_back(reason); };
        peer = Fd(ends[1]);
        fcntl(peer.get(), F_SETFL, O_NONBLOCK);
        connection = Connection::start(engine, *loop, Fd(ends[0]), Fd(), std::move(options));
        rounds();
    }

    // Runs the loop until nothing is ready any more.
    void rounds() {
        for (int i = 0; i < 20; ++i)
            loop->run_once(false);
    }
    void send(std::string_view bytes) {
        REQUIRE(write(peer.get(), bytes.data(), bytes.size()) ==
                static_cast<ssize_t>(bytes.size()));
        rounds();
    }
    std::string receive() {
        std::string all;
        char buffer[4096];
        for (;;) {
            ssize_t count = read(peer.get(), buffer, sizeof buffer);
            if (count <= 0) return all;
            all.append(buffer, static_cast<size_t>(count));
        }
    }
    size_t count() const { return dataspace::assertion_count(*space); }
};

std::string bytes_of(std::string_view hex) {
    std::string bytes;
    for (size_t i = 0; i + 1 < hex.size(); i += 2)
        bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
    return bytes;
}

} // namespace

TEST_CASE("text packets are answered in text, one a line") {
    World world;
    world.send("[[0 <A <Observe <group <rec x> {0: <bind <_>>}> #:[0 5]> 1>]]\n");
    world.send("[[0 <A <x \"a b\"> 2>]]");
    std::string answer = world.receive();
    CHECK(answer.substr(0, 16) == "[[5, <A [\"a b\"] ");
    CHECK(answer.substr(answer.size() - 4) == ">]]\n");
    world.send("[[0 <R 2>]]");
    CHECK(world.receive().substr(0, 8) == "[[5, <R ");
}

TEST_CASE("binary packets are answered in binary, with the exact bytes of the reference") {
    World world;
    // [[0 <A <Observe <group <rec Says> {0: <bind <_>> 1: <bind <_>>}> #:[0 2]> 2>]]
    world.send(
        bytes_of("b5b5b000b4b30141b4b3074f627365727665b4b30567726f7570b4b303726563b3045361797384"
                 "b7b000b4b30462696e64b4b3015f8484b00101b4b30462696e64b4b3015f8484848486b5b000b0"
                 "01028484b00102848484"));
    // [[0 <M <Says "producer" #"">>]]
    world.send(bytes_of("b5b5b000b4b3014db4b30453617973b10870726f6475636572b20084848484"));
    // [[2 <M ["producer" #""]>]]
    CHECK(world.receive() == bytes_of("b5b5b00102b4b3014db5b10870726f6475636572b20084848484"));
    // [[0 <S #:[0 7]>]]
    world.send(bytes_of("b5b5b000b4b3015386b5b000b0010784848484"));
    // [[7 <M #t>]]
    CHECK(world.receive() == bytes_of("b5b5b00107b4b3014d81848484"));
    // [[0 <S #:#:[0 7]>]], as syndicate-py writes it
    world.send(bytes_of("b5b5b000b4b301538686b5b000b0010784848484"));
    CHECK(world.receive() == bytes_of("b5b5b00107b4b3014d81848484"));
}

TEST_CASE("one byte at a time, and many packets at once, mean the same") {
    World world;
    std::string packets = "[[0 <A <x 1> 1>]] [] #f <unknown extension> [[0 <A <x 2> 2>]]\n";
    for (char c : packets)
        world.send(std::string(1, c));
    CHECK(world.count() == 2);
    world.send(bytes_of("b5b5b000b4b30152b00101848484b5b5b000b4b30152b00102848484"));
    CHECK(world.count() == 0);
    CHECK(world.closed.empty());
}

TEST_CASE("what a peer asserted goes with it") {
    World world;
    world.send("[[0 <A <x 1> 1>] [0 <A <x 2> 2>]]");
    CHECK(world.count() == 2);
    world.peer.reset();
    world.rounds();
    CHECK(world.count() == 0);
    CHECK(world.closed == std::vector<std::string>{""});
}

TEST_CASE("a peer that breaks the protocol is told, closed, and forgotten") {
    auto [input, complaint] = GENERATE(table<std::string, std::string>({
        {"garbage on the channel\n", "not a packet"},
        {"[[0 <A <x 1> 1>]] [[0 <A <x 2> 1>]]", "duplicate handle"},
        {"[[0 <A <x 1> one>]]", "handle"},
        {"[[0 <Z 1>]]", "unknown event"},
        {"[0]", "not an event"},
        {"17", "not a packet"},
        {"[[0 <A #:[2 0] 1>]]", "reference"},
        {"[[0 <M #:[0 9]>]]", "transient"},
        {"]", ""},
        {"\x85", ""},
        {"\xb1\xff\xff\xff\xff\xff", ""},
    }));
    World world;
    world.send("[[0 <A <before> 99>]]");
    world.send(input + std::string(1, '\n'));
    if (world.closed.empty()) world.send(std::string(64, '\x80'));
    REQUIRE(world.closed.size() == 1);
    CHECK(world.closed[0].find(complaint) != std::string::npos);
    CHECK(world.receive().find("error") != std::string::npos);
    CHECK(world.count() == 0);
}

TEST_CASE("an error without a message is an extension, which is ignored") {
    World world;
    world.send("<error 1 2> <error> [[0 <A <x 1> 1>]]");
    CHECK(world.closed.empty());
    CHECK(world.count() == 1);
}

TEST_CASE("a handle that is no integer names nothing") {
    World world;
    world.send("[[0 <R foo>]]");
    REQUIRE(world.closed.size() == 1);
    CHECK(world.closed[0].find("a handle must be an integer") != std::string::npos);
}

TEST_CASE("an error from the peer ends the session") {
    World world;
    world.send("[[0 <A <x 1> 1>]] <error \"no\" 1>");
    REQUIRE(world.closed.size() == 1);
    CHECK(world.closed[0].find("no") != std::string::npos);
    CHECK(world.count() == 0);
}

TEST_CASE("capabilities cross the membrane, and its counts return to nothing") {
    World world;
    // The peer offers an entity; an observer here is told of it and sends it a message.
    std::vector<Value> seen;
    world.engine.spawn("local", [&](dataspace::Turn& turn) {
        during(turn, world.space, pat::record("offer", {pat::bind()}),
               [&](dataspace::Turn& inner, View captures) {
                   inner.message(dataspace::cap_of(captures.at(0)), preserves::symbol("hello"));
               });
    });
    for (int i = 0; i < 1000; ++i) {
        world.send("[[0 <A <offer #:[0 " + std::to_string(i) + "]> 1>]]");
        CHECK(world.receive() == "[[" + std::to_string(i) + ", <M hello>]]\n");
        world.send("[[0 <R 1>]]");
    }
    CHECK(world.closed.empty());
}

TEST_CASE("an attenuated reference back to us narrows what it carries") {
    World world;
    world.send("[[0 <A <Observe <group <rec hand> {0: <bind <_>>}> #:[0 1]> 1>]]");
    world.engine.spawn("giver", [&](dataspace::Turn& turn) {
        turn.assert_(world.space, preserves::record("hand", {dataspace::embed(world.space)}));
    });
    world.rounds();
    // It is exported already, as oid 0.
    CHECK(world.receive().find("<A [#:[0, 0]] ") != std::string::npos);
    // Only <ok _> passes, and arrives as <passed _>.
    world.send("[[0 <A <Observe <group <rec seen> {0: <bind <_>>}> #:[0 2]> 2>]]");
    world.engine.spawn("observer", [&](dataspace::Turn& turn) {
        during(turn, world.space, pat::record("use", {pat::bind()}),
               [&](dataspace::Turn& inner, View captures) {
                   dataspace::CapRef given = dataspace::cap_of(captures.at(0));
                   inner.assert_(given, text("<ok 1>"));
                   inner.assert_(given, text("<bad 1>"));
               });
    });
    world.rounds();
    world.receive();
    world.send("[[0 <A <use #:[1 0 <rewrite <rec ok [<bind <_>>]> <rec seen [<ref 0>]>>]> 3>]]");
    CHECK(world.receive().find("[[2, <A [1] ") == 0);
    CHECK(world.count() == 6);
    CHECK(world.closed.empty());
}

TEST_CASE("the small client and the relay understand each other") {
    World world;
    Client client(std::move(world.peer), Fd());
    std::vector<std::string> log;
    Client::Handler handler;
    handler.asserted = [&](const Value& value, Client::Handle) {
        log.push_back("+" + preserves::to_text(value));
    };
    handler.retracted = [&](Client::Handle) { log.push_back("-"); };
    handler.message = [&](const Value& value) { log.push_back("!" + preserves::to_text(value)); };
    client.observe(client.root(), pat::record("x", {pat::bind()}), handler);
    client.begin();
    auto handle = client.assert_(client.root(), text("<x 1>"));
    client.message(client.root(), text("<x 2>"));
    client.commit();
    bool synced = false;
    client.sync(client.root(), [&] { synced = true; });
    auto run = [&] {
        REQUIRE(client.flush());
        world.rounds();
        REQUIRE(client.receive());
    };
    run();
    CHECK(log == std::vector<std::string>{"+[1]", "![2]"});
    CHECK(synced);
    client.retract(handle);
    run();
    CHECK(log.back() == "-");
}

TEST_CASE("a peer that does not read is closed as too slow, and its debts are repaid") {
    RelayOptions options;
    options.max_unsent = 100'000;
    World world(std::move(options));
    world.send("[[0 <A <Observe <group <rec x> {0: <bind <_>>}> #:[0 5]> 1>]]\n");
    auto account = make_ref<dataspace::Account>("producer");
    Value body = preserves::record("x", {preserves::string(std::string(1000, 'a'))});
    for (int i = 0; i < 2000 && world.closed.empty(); ++i) {
        world.engine.spawn(
            "producer", [&](dataspace::Turn& turn) { turn.message(world.space, body); }, account);
        world.rounds();
    }
    REQUIRE(world.closed == std::vector<std::string>{"too slow"});
    CHECK(account->debt() == 0);
    world.rounds();
    CHECK(world.count() == 0);
}

TEST_CASE("what a peer that may come back asserted stays until its connection is dropped") {
    RelayOptions options;
    options.linger = true;
    World world(std::move(options));
    world.send("[[0 <A <x 1> 1>]]");
    world.peer.reset();
    world.rounds();
    CHECK(world.closed == std::vector<std::string>{""});
    CHECK(world.count() == 1);
    world.connection = Connection();
    world.rounds();
    CHECK(world.count() == 0);
}

TEST_CASE("what a peer sent before it went is handled to the end") {
    World world;
    size_t count = 0;
    world.engine.spawn("local", [&](dataspace::Turn& turn) {
        on_message(turn, world.space, pat::record("x", {pat::bind()}),
                   [&](dataspace::Turn&, View) { ++count; });
    });
    world.rounds();
    // It hears of each itself, so its account is not clear for long, and it reads nothing.
    std::string all = "[[0 <A <Observe <group <rec x> {0: <bind <_>>}> #:[0 5]> 1>]]\n";
    for (int i = 0; i < 1000; ++i)
        all += "[[0 <M <x 1>>]]\n";
    REQUIRE(write(world.peer.get(), all.data(), all.size()) == static_cast<ssize_t>(all.size()));
    world.peer.reset();
    for (int i = 0; i < 1000 && world.closed.empty(); ++i)
        world.loop->run_once(false);
    CHECK(count == 1000);
    CHECK(world.closed == std::vector<std::string>{""});
    world.rounds();
    CHECK(world.count() == 1);
}

TEST_CASE("a peer that has said all it wants to say gets its last answer") {
    World world;
    const std::string_view question = "[[0 <S #:[0 3]>]]";
    REQUIRE(write(world.peer.get(), question.data(), question.size()) > 0);
    REQUIRE(shutdown(world.peer.get(), SHUT_WR) == 0);
    world.rounds();
    CHECK(world.closed == std::vector<std::string>{""});
    char answer[64];
    const ssize_t size = read(world.peer.get(), answer, sizeof answer);
    REQUIRE(size > 0);
    CHECK(std::string(answer, static_cast<size_t>(size)) == "[[3, <M #t>]]\n");
}

TEST_CASE("a capability that messages carried is let go with the assertion that kept it") {
    World world;
    world.send("[[0 <A <Observe <group <rec hand> {0: <bind <_>>}> #:[0 1]> 1>]]");
    dataspace::CapRef given;
    dataspace::Handle handle = 0;
    auto actor = world.engine.spawn("giver", [&](dataspace::Turn& turn) {
        turn.on_stop([&](dataspace::Turn&) { given = nullptr; });
        given = turn.make_cap(make_ref<dataspace::Entity>());
        handle = turn.assert_(world.space, preserves::record("hand", {dataspace::embed(given)}));
        turn.assert_(world.space, text("<stay>"));
    });
    world.rounds();
    auto in_giver = [&](const dataspace::TurnAction& action) {
        world.engine.external(Ref<dataspace::Facet>(&actor->root()), action);
        world.rounds();
    };
    in_giver([&](dataspace::Turn& turn) {
        turn.message(world.space, preserves::record("hand", {dataspace::embed(given)}));
    });
    CHECK(world.receive().find("<M [#:[0, 1]]>") != std::string::npos);
    in_giver([&](dataspace::Turn& turn) { turn.retract(handle); });
    CHECK(given->references() == 1);
    CHECK(world.closed.empty());
}

TEST_CASE("an answer larger than what may wait reaches whoever reads it") {
    RelayOptions options;
    options.max_unsent = 100'000;
    World world(std::move(options));
    world.engine.spawn("producer", [&](dataspace::Turn& turn) {
        for (int i = 0; i < 1000; ++i)
            turn.assert_(world.space,
                         preserves::record("x", {preserves::integer(i),
                                                 preserves::string(std::string(1000, 'a'))}));
    });
    world.send("[[0 <A <Observe <group <rec x> {0: <bind <_>> 1: <bind <_>>}> #:[0 5]> 1>]]\n");
    size_t bytes = 0;
    for (int i = 0; i < 1000 && world.closed.empty(); ++i) {
        size_t more = world.receive().size();
        bytes += more;
        if (more == 0) break;
        world.rounds();
    }
    CHECK(bytes > 1'000'000);
    CHECK(world.closed.empty());
}
