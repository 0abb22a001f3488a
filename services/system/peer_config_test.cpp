// Configurations that were written for syndicate-server do here what they do there: the two of its
// own, from $MUSTER_SHARED/data/config or ../shared/data/config, with the real tracker, watcher,
// listeners and gatekeepers, and peers over TCP and Unix sockets.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "init/base/catch.h"
#include "init/config/watcher.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/client.h"
#include "init/protocol/gatekeeper.h"
#include "init/protocol/relay_listener.h"
#include "init/protocol/sturdyref.h"
#include "services/tracker/service.h"
#include "services/tracker/tracker.h"

using namespace muster;
using dataspace::CapRef;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = muster::dataspace::pattern;

namespace {

std::optional<std::string> load(const std::string& name) {
    const char* shared = std::getenv("MUSTER_SHARED");
    std::string path = std::string(shared ? shared : "../shared") + "/data/config/" + name;
    Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) {
        WARN("no configurations in $MUSTER_SHARED or ../shared");
        test::skip("no configurations in $MUSTER_SHARED or ../shared");
        return std::nullopt;
    }
    std::string text;
    char piece[4096];
    for (ssize_t n; (n = read(file.get(), piece, sizeof piece)) > 0;)
        text.append(piece, static_cast<size_t>(n));
    return text;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
    size_t found = 0;
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size(), ++found)
        text.replace(at, from.size(), to);
    INFO(from);
    REQUIRE(found > 0);
}

Value value(std::string_view text) {
    Result<Value> read = preserves::parse_text(text);
    INFO(text);
    REQUIRE(read);
    return *read;
}

// One that nobody else listens on now.
std::string free_port() {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    socklen_t size = sizeof address;
    REQUIRE(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    return std::to_string(ntohs(address.sin_port));
}

struct Server {
    std::string folder;
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    CapRef config = dataspace::spawn_dataspace(engine, "config");
    CapRef machine = dataspace::spawn_dataspace(engine, "machine");
    CapRef status = dataspace::spawn_dataspace(engine, "status");
    CapRef log = dataspace::spawn_dataspace(engine, "log");
    Ref<dataspace::Facet> facet;
    dataspace::KeepAlive keep;
    std::set<std::string> facts; // in config, without capabilities
    std::vector<std::string> reports;

    // With no listeners the scripts only ask for them.
    explicit Server(bool listeners = true) {
        signal(SIGPIPE, SIG_IGN);
        char name[] = "/tmp/muster-peer-config-XXXXXX";
        REQUIRE(mkdtemp(name));
        folder = name;
        loop->set_after_round([this] { return engine.run(); });
        services::track_services(engine, {config, machine, status, log, ""});
        engine.spawn("system", [this, listeners](Turn& turn) {
            facet = Ref<dataspace::Facet>(&turn.current());
            keep = dataspace::KeepAlive(facet);
            observe(
                turn, config, pat::bind(),
                [this](Turn&, View seen) { facts.insert(text_of(seen.at(0))); },
                [this](Turn&, View seen) { facts.erase(text_of(seen.at(0))); });
            config::serve_config_watchers(
                turn, *loop, config,
                [this](const config::Problem& problem) { reports.push_back(to_string(problem)); });
            protocol::serve_gatekeepers(turn, config, protocol::Answers::accepted);
            if (!listeners) return;
            protocol::RelayListeners options;
            options.report = [this](const std::string& line) { reports.push_back(line); };
            protocol::serve_relay_listeners(turn, *loop, config, options);
        });
        engine.run();
    }
    ~Server() {
        engine.external(facet, [](Turn& turn) { turn.stop_actor(); });
        engine.run();
        CHECK(std::system(("rm -rf '" + folder + "'").c_str()) == 0);
    }

    static std::string text_of(View view) {
        return preserves::to_text(services::without_capabilities(view));
    }

    void write(const std::string& name, std::string_view text) {
        Fd fd(open((folder + "/" + name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
        REQUIRE(fd);
        REQUIRE(::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }
    // As `syndicate-server -c FOLDER`.
    void start() {
        engine.external(facet, [this](Turn& turn) {
            CapRef gatekeeper =
                protocol::spawn_gatekeeper(turn, config, protocol::Answers::accepted);
            Value variables = preserves::dictionary({{"config", dataspace::embed(config)},
                                                     {"log", dataspace::embed(log)},
                                                     {"gatekeeper", dataspace::embed(gatekeeper)}});
            Value path = preserves::string(folder);
            Value watcher = preserves::record("config-watcher", {path, variables});
            turn.assert_(config, preserves::record("run-service", {watcher}));
        });
        loop->run_once(false);
    }
    void until(const std::function<bool()>& condition) {
        while (!condition())
            loop->run_once(true);
    }
    bool has(const std::string& fact) const { return facts.count(fact) != 0; }
    void until_fact(const std::string& fact) {
        INFO(fact);
        until([&] { return has(fact); });
    }
};

// Somebody who connects, and what it sees.
struct Peer {
    Server& server;
    std::unique_ptr<protocol::Client> client;
    Watch watch;

    Peer(Server& s, Fd fd) : server(s) {
        fcntl(fd.get(), F_SETFL, O_NONBLOCK);
        int raw = fd.get();
        client = std::make_unique<protocol::Client>(std::move(fd), Fd());
        watch = std::move(*server.loop->watch(raw, EPOLLIN, [this](uint32_t) {
            Result<bool> more = client->receive();
            REQUIRE(more.ok());
            flush();
        }));
    }
    static Fd tcp(const std::string& port) {
        Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(static_cast<uint16_t>(std::stoi(port)));
        REQUIRE(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        return fd;
    }
    static Fd unix_socket(const std::string& path) {
        Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
        REQUIRE(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        return fd;
    }
    void flush() { REQUIRE(client->flush().ok()); }

    // The answer to `<resolve STEP #:me>` at the gatekeeper that we are connected to.
    Value resolve(std::string_view step) {
        Value answer;
        Ref<protocol::Reference> me =
            client->export_entity({[&](const Value& seen, uint64_t) { answer = seen; }, {}, {}});
        Value embedded = preserves::embedded(me);
        client->assert_(client->root(), preserves::record("resolve", {value(step), embedded}));
        flush();
        server.until([&] { return answer.valid(); });
        return answer;
    }
    Ref<protocol::Reference> capability(std::string_view step) {
        Value answer = resolve(step);
        INFO(Server::text_of(answer));
        REQUIRE(answer.view().is_record("accepted", 1));
        auto* object = answer.view().at(0).as_embedded();
        REQUIRE(object);
        return Ref<protocol::Reference>(static_cast<protocol::Reference*>(object));
    }
    // Everything sent to `target` so far has been handled, and what came of it is here.
    void settle(const Ref<protocol::Reference>& target) {
        for (int round = 0; round < 4; ++round) {
            bool done = false;
            client->sync(target, [&] { done = true; });
            flush();
            server.until([&] { return done; });
        }
    }
};

// What somebody sees through a pattern: captures as text, messages with "!".
struct Notes {
    std::map<uint64_t, std::string> by_handle;
    std::multiset<std::string> now;
    std::vector<std::string> messages;

    protocol::Client::Handler handler() {
        return {[this](const Value& seen, uint64_t handle) {
                    by_handle[handle] = Server::text_of(seen);
                    now.insert(by_handle[handle]);
                },
                [this](uint64_t handle) {
                    now.erase(now.find(by_handle[handle]));
                    by_handle.erase(handle);
                },
                [this](const Value& seen) { messages.push_back(Server::text_of(seen)); }};
    }
};

using Seen = std::multiset<std::string>;

constexpr const char* service_step = "<ref {oid: a-service, sig: #[JTTGQeYCgohMXW/2S2XH8g]}>";
constexpr const char* alice_labelled =
    "<ref {caveats: [<rewrite <bind <_>> <rec labelled [<lit \"alice\"> <ref 0>]>>],"
    "      oid: a-service, sig: #[CXn7+rAoO3Xr6Y6Laap3OA]}>";
constexpr const char* bob_labelled =
    "<ref {caveats: [<rewrite <bind <_>> <rec labelled [<lit \"bob\"> <ref 0>]>>],"
    "      oid: a-service, sig: #[/75BbF77LOiqNcvpzNHf0g]}>";
constexpr const char* alice_narrow =
    "<ref { oid: a-service sig: #[s918Jk6As8AWJ9rtozOTlg] caveats: [<or ["
    "  <rewrite <rec Present [<_>]> <rec Present [<lit \"alice\">]>>"
    "  <rewrite <rec Says [<_>, <bind String>]> <rec Says [<lit \"alice\">, <ref 0>]>>"
    "  <rewrite <bind <rec Observe [<rec rec [<lit Present>, <_>]>, <_>]>> <ref 0>>"
    "  <rewrite <bind <rec Observe [<rec rec [<lit Says>, <_>]>, <_>]>> <ref 0>> ]>]}>";

const Value present = pat::record("Present", {pat::bind()});
const Value says = pat::record("Says", {pat::bind(), pat::bind()});

} // namespace

TEST_CASE("peer configurations: both load as they are, and say what is to be bound") {
    auto benchmark = load("benchmark-config.pr");
    auto gatekeeper = load("gatekeeper-config.pr");
    if (!benchmark || !gatekeeper) return;
    Server server(false);
    server.write("benchmark-config.pr", *benchmark);
    server.write("gatekeeper-config.pr", *gatekeeper);
    server.start();
    CHECK(server.reports.empty());
    for (const char* fact : {"<run-service <relay-listener <tcp \"0.0.0.0\" 9001> capability>>",
                             "<run-service <relay-listener <tcp \"0.0.0.0\" 9222> capability>>",
                             "<bind <ref {key: #x\"\", oid: \"syndicate\"}> capability #f>",
                             "<run-service <gatekeeper capability>>",
                             "<service-object <gatekeeper capability> capability>"}) {
        INFO(fact);
        // Our text writer's spelling of the empty byte string is #"".
        CHECK((server.has(fact) || server.has(Server::text_of(value(fact)))));
    }
    bool noise = false;
    for (const std::string& fact : server.facts)
        noise = noise || fact.starts_with("<bind <noise {");
    CHECK(noise);
}

TEST_CASE("peer configurations: the benchmark's dataspace, over TCP") {
    auto text = load("benchmark-config.pr");
    if (!text) return;
    std::string port = free_port();
    replace_all(*text, "\"0.0.0.0\" 9001", "\"127.0.0.1\" " + port);
    Server server;
    server.write("benchmark-config.pr", *text);
    server.start();
    server.until_fact("<service-state <relay-listener <tcp \"127.0.0.1\" " + port +
                      "> capability> ready>");
    const char* step = "<ref {oid: \"syndicate\" sig: #x\"69ca300c1dbfa08fba692102dd82311a\"}>";
    Peer one(server, Peer::tcp(port));
    Peer two(server, Peer::tcp(port));
    auto here = one.capability(step);
    auto there = two.capability(step);
    Notes notes;
    two.client->observe(there, says, notes.handler());
    two.settle(there);
    auto handle = one.client->assert_(here, value("<Says \"one\" \"fact\">"));
    one.client->message(here, value("<Says \"one\" \"message\">"));
    one.settle(here);
    two.settle(there);
    CHECK(notes.now == Seen{"[\"one\", \"fact\"]"});
    CHECK(notes.messages == std::vector<std::string>{"[\"one\", \"message\"]"});
    one.client->retract(handle);
    one.settle(here);
    two.settle(there);
    CHECK(notes.now.empty());
    // It is a dataspace of its own: $config shows through nowhere.
    Notes everything;
    two.client->observe(there, pat::record("bind", {pat::bind()}), everything.handler());
    two.settle(there);
    CHECK(everything.now.empty());
    CHECK(Server::text_of(one.resolve("<ref {oid: \"syndicate\" sig: #x\"00\"}>"))
              .starts_with("<rejected "));
}

TEST_CASE("peer configurations: the gatekeeper within the gatekeeper, and the chat behind it") {
    auto text = load("gatekeeper-config.pr");
    if (!text) return;
    std::string port = free_port();
    replace_all(*text, "\"0.0.0.0\" 9222", "\"127.0.0.1\" " + port);
    // Patterns as they are written today.
    replace_all(*text, "<Observe <rec Present ?p> ?o>", "<Observe <group <rec Present> ?p> ?o>");
    replace_all(*text, "<Observe <rec Says ?p> ?o>", "<Observe <group <rec Says> ?p> ?o>");
    replace_all(*text, "<Observe <rec Present $p> $o>", "<Observe <group <rec Present> $p> $o>");
    replace_all(*text, "<Observe <rec Says $p> $o>", "<Observe <group <rec Says> $p> $o>");
    Server server;
    server.write("gatekeeper-config.pr", *text);
    // The way in there is noise, which nobody speaks here: a socket for the inner gatekeeper.
    std::string socket = server.folder + "/inner";
    server.write("inner.pr", "? <service-object <gatekeeper _> ?inner> "
                             "<require-service <relay-listener <unix \"" +
                                 socket + "\"> $inner>>");
    server.start();
    server.until_fact("<service-state <relay-listener <tcp \"127.0.0.1\" " + port +
                      "> capability> ready>");
    server.until_fact("<service-state <relay-listener <unix \"" + socket +
                      "\"> capability> ready>");
    CHECK(server.reports.empty());

    Peer outer(server, Peer::tcp(port));
    CHECK(Server::text_of(outer.resolve(
              "<noise {key: #[z1w/OLy0wi3Veyk8/D+2182YxcrKpgc8y0ZJEBDrmWs] service: world}>")) ==
          "<rejected unsupported>");

    Peer alice(server, Peer::unix_socket(socket));
    Peer bob(server, Peer::unix_socket(socket));
    Peer owner(server, Peer::unix_socket(socket));
    auto world = owner.capability(service_step);
    auto as_alice = alice.capability(alice_labelled);
    auto as_bob = bob.capability(bob_labelled);

    Notes raw;
    owner.client->observe(world, pat::record("labelled", {pat::bind(), present}), raw.handler());
    Notes people;
    bob.client->observe(as_bob, present, people.handler());
    Notes talk;
    bob.client->observe(as_bob, says, talk.handler());
    Notes secrets;
    bob.client->observe(as_bob, pat::record("labelled", {pat::bind(), pat::bind()}),
                        secrets.handler());
    bob.settle(as_bob);

    // Whoever she says she is, she is alice.
    auto here = alice.client->assert_(as_alice, value("<Present \"the king\">"));
    alice.client->message(as_alice, value("<Says \"the king\" \"hello\">"));
    alice.client->assert_(as_alice, value("<Other \"thing\">"));
    alice.settle(as_alice);
    bob.settle(as_bob);
    owner.settle(world);
    CHECK(raw.now == Seen{"[\"alice\", \"the king\"]"});
    CHECK(people.now == Seen{"[\"alice\"]"});
    CHECK(talk.messages == std::vector<std::string>{"[\"alice\", \"hello\"]"});
    CHECK(secrets.now.empty());

    auto bob_here = bob.client->assert_(as_bob, value("<Present \"x\">"));
    bob.settle(as_bob);
    CHECK(people.now == Seen{"[\"alice\"]", "[\"bob\"]"});
    alice.client->retract(here);
    alice.settle(as_alice);
    bob.client->retract(bob_here);
    bob.settle(as_bob);
    CHECK(people.now.empty());

    // Without labels: the caveats alone see to the name. The file's own are in the old form, so
    // that nothing can be observed with them today.
    Peer second(server, Peer::unix_socket(socket));
    auto narrow = second.capability(alice_narrow);
    second.client->assert_(narrow, value("<Present \"whoever\">"));
    second.client->assert_(narrow, value("<labelled \"bob\" <Present 1>>"));
    second.client->message(narrow, value("<Says \"whoever\" \"hi\">"));
    second.client->message(narrow, value("<Says \"whoever\" 5>"));
    second.settle(narrow);
    bob.settle(as_bob);
    CHECK(people.now == Seen{"[\"alice\"]"});
    CHECK(talk.messages.back() == "[\"alice\", \"hi\"]");
    CHECK(talk.messages.size() == 2);

    // The same caveats as they are written today, signed here.
    auto bytes = preserves::Bytes(reinterpret_cast<const uint8_t*>("hello"), 5);
    Result<Value> minted = protocol::mint(value("a-service"), bytes);
    REQUIRE(minted);
    Result<Value> today = protocol::attenuate(
        *minted, value("[<or [<rewrite <rec Present [<_>]> <rec Present [<lit \"carol\">]>>"
                       "<rewrite <bind <rec Observe [<rec group [<rec rec [<lit Present>]> <_>]>"
                       " <_>]>> <ref 0>>]>]"));
    REQUIRE(today);
    Peer third(server, Peer::unix_socket(socket));
    auto carol = third.capability(preserves::to_text(*today));
    Notes sees;
    third.client->observe(carol, present, sees.handler());
    Notes hears;
    third.client->observe(carol, says, hears.handler());
    third.client->assert_(carol, value("<Present 1>"));
    third.client->message(carol, value("<Says 1 \"not allowed\">"));
    third.settle(carol);
    CHECK(sees.now == Seen{"[\"alice\"]", "[\"carol\"]"});
    second.client->message(narrow, value("<Says \"x\" \"unheard\">"));
    second.settle(narrow);
    third.settle(carol);
    bob.settle(as_bob);
    CHECK(hears.messages.empty());
    CHECK(talk.messages.size() == 3);
}
