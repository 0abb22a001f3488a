#include "init/protocol/gatekeeper.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include <string>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/relay.h"
#include "init/protocol/sturdyref.h"

using namespace muster;
using namespace muster::protocol;

namespace {

// Raw text packets over a relay of their own.
struct Peer {
    Fd fd;
    Connection connection;
    std::string closed;
};

struct World {
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    dataspace::CapRef config = dataspace::spawn_dataspace(engine, "config");
    dataspace::CapRef gatekeeper;
    std::unique_ptr<Peer> owner; // has $config
    std::unique_ptr<Peer> guest; // has the gatekeeper

    explicit World(Answers answers = Answers::accepted) {
        signal(SIGPIPE, SIG_IGN);
        loop->set_after_round([this] { return engine.run(); });
        engine.spawn("system", [this, answers](dataspace::Turn& turn) {
            gatekeeper = spawn_gatekeeper(turn, config, answers);
            serve_gatekeepers(turn, config, answers);
        });
        engine.run();
        owner = connect(config);
        guest = connect(gatekeeper);
    }

    std::unique_ptr<Peer> connect(const dataspace::CapRef& initial) {
        auto peer = std::make_unique<Peer>();
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        RelayOptions options;
        options.name = "test";
        options.initial_export = initial;
        options.on_closed = [raw = peer.get()](const std::string& why) { raw->closed = why; };
        peer->fd = Fd(ends[1]);
        fcntl(ends[1], F_SETFL, O_NONBLOCK);
        peer->connection = Connection::start(engine, *loop, Fd(ends[0]), Fd(), std::move(options));
        rounds();
        return peer;
    }

    void rounds() {
        for (int i = 0; i < 20; ++i)
            loop->run_once(false);
    }

    void send(const std::unique_ptr<Peer>& peer, std::string_view packet) {
        REQUIRE(write(peer->fd.get(), packet.data(), packet.size()) ==
                static_cast<ssize_t>(packet.size()));
        rounds();
    }

    // What came since: the events of each Turn, with # for the handles that we cannot know.
    std::string receive(const std::unique_ptr<Peer>& peer) {
        std::string all;
        char buffer[65'536];
        ssize_t count = read(peer->fd.get(), buffer, sizeof buffer);
        if (count > 0) all.assign(buffer, static_cast<size_t>(count));
        std::string text;
        for (size_t at = 0; at < all.size(); ++at) {
            // ` 17>]` ends an assertion or a retraction.
            size_t digits = at + 1;
            while (all[at] == ' ' && digits < all.size() && isdigit(all[digits]))
                ++digits;
            if (all[at] == ' ' && digits > at + 1 && all.compare(digits, 2, ">]") == 0) {
                text += " #";
                at = digits - 1;
            } else if (all[at] != '\n') {
                text += all[at];
            }
        }
        return text;
    }
};

// The vectors of the reference: oid a-service, key "hello".
const std::string root_ref = "<ref {oid: a-service sig: #[JTTGQeYCgohMXW/2S2XH8g]}>";
const std::string alice_ref =
    "<ref {oid: a-service sig: #[CXn7+rAoO3Xr6Y6Laap3OA] "
    "caveats: [<rewrite <bind <_>> <rec labelled [<lit \"alice\"> <ref 0>]>>]}>";
const std::string bind_hello = "<bind <ref {oid: a-service key: #\"hello\"}> #:[0 7] #f>";

std::string resolve(const std::string& step, int handle = 1, int observer = 0) {
    return "[[0 <A <resolve " + step + " #:[0 " + std::to_string(observer) + "]> " +
           std::to_string(handle) + ">]]";
}
std::string assertion(const std::string& value, int handle) {
    return "[[0 <A " + value + " " + std::to_string(handle) + ">]]";
}

} // namespace

TEST_CASE("gatekeeper: a sturdyref resolves to what is bound, as the next free oid") {
    auto [spelling, label] = GENERATE(
        table<Answers, std::string>({{Answers::accepted, "accepted"}, {Answers::ok, "ok"}}));
    World world(spelling);
    world.send(world.owner, assertion(bind_hello, 1));
    world.send(world.guest, resolve(root_ref));
    CHECK(world.receive(world.guest) == "[[0, <A <" + label + " #:[0, 1]> #>]]");
    // It is the owner's entity that hears what is said there.
    world.send(world.guest, "[[1 <A <hi> 2>] [1 <M <ho>>]]");
    CHECK(world.receive(world.owner) == "[[7, <A <hi> #>], [7, <M <ho>>]]");
    // Retracting the resolution ends it; what was asserted through it stays.
    world.send(world.guest, "[[0 <R 1>]]");
    CHECK(world.receive(world.guest) == "[[0, <R #>]]");
    CHECK(world.receive(world.owner).empty());
    CHECK(world.guest->closed.empty());
}

TEST_CASE("gatekeeper: an attenuated sturdyref gives an attenuated capability") {
    World world;
    world.send(world.owner, assertion(bind_hello, 1));
    world.send(world.guest, resolve(alice_ref));
    CHECK(world.receive(world.guest) == "[[0, <A <accepted #:[0, 1]> #>]]");
    world.send(world.guest, "[[1 <A <hi> 2>] [1 <M [#t]>]]");
    CHECK(world.receive(world.owner) ==
          "[[7, <A <labelled \"alice\" <hi>> #>], [7, <M <labelled \"alice\" [#t]>>]]");
}

TEST_CASE("gatekeeper: caveats of the target, of the sturdyref and of the wire add up") {
    World world;
    world.send(world.owner, "[[0 <A <bind <ref {oid: a-service key: #\"hello\"}> #:[0 7] #f> 1>]]");
    world.send(world.guest, resolve(alice_ref));
    // The guest exports nothing here: [1 1 …] is the resolved capability, narrowed once more.
    world.send(world.guest, "[[0 <A <resolve <ref {oid: x sig: #\"\"}> #:[1 1 <rewrite <bind <_>> "
                            "<rec wire [<ref 0>]>>]> 2>]]");
    world.receive(world.owner);
    world.send(world.owner, assertion("<bind <ref {oid: x key: #\"\"}> #:[0 8] #f>", 2));
    // The answer for x went to the narrowed capability.
    CHECK(world.receive(world.owner) ==
          "[[7, <A <labelled \"alice\" <wire <rejected sturdyref-failed-validation>>> #>]]");
}

TEST_CASE("gatekeeper: nothing bound, no answer, until it is; withdrawn when the bind goes") {
    World world;
    world.send(world.guest, resolve(root_ref));
    CHECK(world.receive(world.guest).empty());
    // Neither another oid nor one that merely begins like ours.
    world.send(world.owner, assertion("<bind <ref {oid: other key: #\"hello\"}> #:[0 7] #f>", 1));
    world.send(world.guest, resolve("<ref {oid: <a> sig: #\"\"}>", 2, 1));
    world.send(world.owner, assertion("<bind <ref {oid: <a b> key: #\"\"}> #:[0 7] #f>", 2));
    CHECK(world.receive(world.guest).empty());
    world.send(world.owner, assertion(bind_hello, 3));
    CHECK(world.receive(world.guest) == "[[0, <A <accepted #:[0, 1]> #>]]");
    world.send(world.owner, "[[0 <R 3>]]");
    CHECK(world.receive(world.guest) == "[[0, <R #>]]");
    world.send(world.owner, assertion(bind_hello, 4));
    CHECK(world.receive(world.guest) == "[[0, <A <accepted #:[0, 2]> #>]]");
    world.owner.reset();
    world.rounds();
    CHECK(world.receive(world.guest) == "[[0, <R #>]]");
}

TEST_CASE("gatekeeper: of several binds of an oid the one with the right key counts") {
    World world;
    world.send(world.owner,
               assertion("<bind <ref {oid: a-service key: #\"wrong\"}> #:[0 6] #f>", 1));
    world.send(world.guest, resolve(root_ref));
    CHECK(world.receive(world.guest) == "[[0, <A <rejected sturdyref-failed-validation> #>]]");
    world.send(world.owner, assertion(bind_hello, 2));
    CHECK(world.receive(world.guest) == "[[0, <R #>], [0, <A <accepted #:[0, 1]> #>]]");
    world.send(world.owner,
               assertion("<bind <ref {oid: a-service key: #\"worse\"}> #:[0 6] #f>", 3));
    CHECK(world.receive(world.guest).empty());
    world.send(world.owner, "[[0 <R 2>]]");
    CHECK(world.receive(world.guest) ==
          "[[0, <R #>], [0, <A <rejected sturdyref-failed-validation> #>]]");
    world.send(world.owner, "[[0 <R 1>] [0 <R 3>]]");
    CHECK(world.receive(world.guest) == "[[0, <R #>]]");
}

TEST_CASE("gatekeeper: oids may be any value, sets included") {
    World world;
    std::string oid = "[#{1 2} {a: \"b\"} 1.5]";
    Result<Value> made = mint(*preserves::parse_text(oid), {});
    REQUIRE(made);
    world.send(world.guest, resolve(preserves::to_text(*made)));
    world.send(world.owner, assertion("<bind <ref {oid: " + oid + " key: #\"\"}> #:[0 7] #f>", 1));
    CHECK(world.receive(world.guest) == "[[0, <A <accepted #:[0, 1]> #>]]");
}

TEST_CASE("gatekeeper: steps that are no good are rejected, each with its reason") {
    auto [step, reason] = GENERATE(table<std::string, std::string>({
        {"<noise {key: #\"\" service: world}>", "unsupported"},
        {"<unheard-of 1 2>", "unsupported"},
        {"<ref>", "invalid"},
        {"<ref {}>", "invalid"},
        {"<ref {oid: 1}>", "invalid"},
        {"<ref {oid: 1 sig: 2}>", "invalid"},
        {"<ref [1 2]>", "invalid"},
        {"<\"ref\" {oid: 1 sig: #\"\"}>", "invalid"},
        {"ref", "invalid"},
        {"<ref {oid: a-service sig: #\"\"}>", "sturdyref-failed-validation"},
        {"<ref {oid: a-service sig: #[JTTGQeYCgohMXW/2S2XH8w]}>", "sturdyref-failed-validation"},
        {"<ref {oid: a-service sig: #[JTTGQeYCgohMXW/2S2XH8g] caveats: 1}>",
         "sturdyref-failed-validation"},
        {"<ref {oid: a-service sig: #[JTTGQeYCgohMXW/2S2XH8g] caveats: [<reject String>]}>",
         "sturdyref-failed-validation"},
    }));
    auto spelling = GENERATE(Answers::accepted, Answers::ok);
    World world(spelling);
    world.send(world.owner, assertion(bind_hello, 1));
    world.send(world.guest, resolve(step));
    CHECK(world.receive(world.guest) == std::string("[[0, <A <") +
                                            (spelling == Answers::ok ? "error " : "rejected ") +
                                            reason + "> #>]]");
    world.send(world.guest, "[[0 <R 1>]]");
    CHECK(world.receive(world.guest) == "[[0, <R #>]]");
}

TEST_CASE("gatekeeper: signed caveats that are unsound are named") {
    World world;
    world.send(world.owner, assertion(bind_hello, 1));
    world.send(world.guest, resolve("<ref {oid: a-service sig: #\"\" caveats: [<rewrite <_> <ref "
                                    "0>>]}>"));
    std::string answer = world.receive(world.guest);
    INFO(answer);
    CHECK(answer.find("<rejected <sturdyref-failed-validation \"caveat 1: UnboundRef") !=
          std::string::npos);
    std::string many;
    for (int i = 0; i < 65; ++i)
        many += "<reject String>";
    world.send(world.guest,
               resolve("<ref {oid: a-service sig: #\"\" caveats: [" + many + "]}>", 2));
    CHECK(world.receive(world.guest).find("more than 64 caveats") != std::string::npos);
}

TEST_CASE("gatekeeper: what is no resolution, or has no observer, is ignored") {
    World world;
    world.send(world.owner, assertion(bind_hello, 1));
    world.send(world.guest, assertion("<resolve " + root_ref + " #f>", 1));
    world.send(world.guest, assertion("<hello>", 2));
    world.send(world.guest, "[[0 <M <resolve>>] [0 <R 2>] [0 <R 1>]]");
    CHECK(world.receive(world.guest).empty());
    CHECK(world.guest->closed.empty());
}

TEST_CASE("gatekeeper: who binds learns the sturdyref, or what is wrong with the bind") {
    auto [description, target, answer] = GENERATE(table<std::string, std::string, std::string>({
        {"<ref {oid: a-service key: #\"hello\"}>", "#:[0 7]",
         "<bound <ref {oid: a-service, sig: #x\"2534c641e60282884c5d6ff64b65c7f2\"}>>"},
        {"<ref {oid: a-service key: #\"hello\"}>", "no-target", "<error invalid>"},
        {"<ref {oid: a-service key: \"hello\"}>", "#:[0 7]", "<error invalid>"},
        {"<ref {key: #\"hello\"}>", "#:[0 7]", "<error invalid>"},
        {"<ref 1>", "#:[0 7]", "<error invalid>"},
        {"nothing", "#:[0 7]", "<error invalid>"},
        {"<noise {key: #\"\" secretKey: #\"\" service: world}>", "#:[0 7]", "<error unsupported>"},
    }));
    World world;
    world.send(world.owner, assertion("<bind " + description + " " + target + " #:[0 5]>", 1));
    CHECK(world.receive(world.owner) == "[[5, <A " + answer + " #>]]");
    world.send(world.owner, "[[0 <R 1>]]");
    CHECK(world.receive(world.owner) == "[[5, <R #>]]");
}

TEST_CASE("gatekeeper: somebody in the bind-space may answer directly") {
    World world;
    world.send(world.guest, resolve(root_ref));
    // The owner looks for resolutions and finds the gatekeeper's own observer: oid 1, since $config
    // is 0.
    world.send(world.owner, "[[0 <A <Observe <group <rec resolve> {0: <bind <_>> 1: <bind <_>>}> "
                            "#:[0 3]> 1>]]");
    std::string seen = world.receive(world.owner);
    CHECK(seen.find("[[3, <A [<ref {") == 0);
    CHECK(seen.find("#:[0, 1]] #>]]") != std::string::npos);
    auto [said, passed_on] = GENERATE(table<std::string, std::string>({
        {"<error no-such-thing>", "<rejected no-such-thing>"},
        {"<rejected no-such-thing>", "<rejected no-such-thing>"},
        {"<ok #:[0 9]>", "<accepted #:[0, 1]>"},
        {"<accepted #:[0 9]>", "<accepted #:[0, 1]>"},
        {"<ok>", "<ok>"},
        {"17", "17"},
    }));
    world.send(world.owner, "[[1 <A " + said + " 2>]]");
    CHECK(world.receive(world.guest) == "[[0, <A " + passed_on + " #>]]");
    // A bind is too late now; and what is taken back is taken back.
    world.send(world.owner, assertion(bind_hello, 3));
    CHECK(world.receive(world.guest).empty());
    world.send(world.owner, "[[1 <R 2>]]");
    CHECK(world.receive(world.guest) == "[[0, <R #>]]");
    // The resolution ends: so does what stands in the bind-space.
    world.receive(world.owner);
    world.send(world.guest, "[[0 <R 1>]]");
    CHECK(world.receive(world.owner) == "[[3, <R #>]]");
    CHECK(world.owner->closed.empty());
}

TEST_CASE("gatekeeper: a bind can be made just in time, and a direct answer can be too late") {
    World world;
    world.send(world.owner, "[[0 <A <Observe <group <rec resolve> {1: <bind <_>>}> #:[0 3]> 1>]]");
    world.send(world.guest, resolve(root_ref));
    CHECK(world.receive(world.owner) == "[[3, <A [#:[0, 1]] #>]]");
    world.send(world.owner, assertion(bind_hello, 2));
    CHECK(world.receive(world.guest) == "[[0, <A <accepted #:[0, 1]> #>]]");
    // The request stands as long as the resolution does, or the bind would go with it.
    CHECK(world.receive(world.owner).empty());
    world.send(world.owner, "[[1 <A <error late> 3>]]");
    CHECK(world.receive(world.guest).empty());
}

TEST_CASE("gatekeeper: as a service, for any dataspace") {
    World world;
    // The owner's own entity 4 is as good a bind-space as a dataspace.
    world.send(world.owner,
               "[[0 <A <Observe <group <rec service-state> {1: <bind <_>>}> #:[0 2]> "
               "1>] [0 <A <Observe <group <rec service-object> {0: <_> 1: <bind <_>>}> "
               "#:[0 3]> 2>]]");
    auto [options, label] = GENERATE(table<std::string, std::string>(
        {{"", "accepted"}, {" {answers: ok}", "ok"}, {" {}", "accepted"}}));
    world.send(world.owner, assertion("<run-service <gatekeeper #:[0 4]" + options + ">>", 3));
    std::string seen = world.receive(world.owner);
    INFO(seen);
    CHECK(seen.find("[2, <A [started] #>]") != std::string::npos);
    CHECK(seen.find("[2, <A [ready] #>]") != std::string::npos);
    size_t at = seen.find("[3, <A [#:[0, ");
    REQUIRE(at != std::string::npos);
    std::string oid = seen.substr(at + 14, seen.find(']', at + 14) - at - 14);
    // It observes binds in its space.
    CHECK(seen.find("[4, <A <Observe <group <rec bind>") != std::string::npos);
    world.send(world.owner, "[[" + oid + " <A <resolve <noise 1> #:[0 6]> 4>]]");
    CHECK(world.receive(world.owner) ==
          "[[6, <A <" + std::string(label == "ok" ? "error" : "rejected") + " unsupported> #>]]");
    world.send(world.owner, "[[0 <R 3>]]");
    seen = world.receive(world.owner);
    CHECK(seen.find("[2, <R #>]") != std::string::npos);
    CHECK(seen.find("[6, <R #>]") != std::string::npos);
    CHECK(seen.find("[4, <R #>]") != std::string::npos);
    // One that is nonsense fails, and says so.
    world.send(world.owner, assertion("<run-service <gatekeeper 5>>", 5));
    CHECK(world.receive(world.owner).find("[2, <A [failed] #>]") != std::string::npos);
    world.send(world.owner, assertion("<run-service <gatekeeper #:[0 4] {answers: maybe}>>", 6));
    CHECK(world.owner->closed.empty());
}
