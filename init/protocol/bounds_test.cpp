// Every bound on what a peer may do, on a live relay: beyond it the peer is told which one it was,
// by <error …>, and closed, and nobody else notices. What others made too much of what it sent is
// dropped, and said.
#include <functional>
#include <string>

#include "init/base/catch.h"
#include "init/dataspace/caveat.h"
#include "init/dataspace/pattern.h"
#include "init/protocol/packet.h"
#include "init/protocol/relay_world.h"

using namespace muster;
using namespace muster::protocol;
using dataspace::Pattern;

namespace {

std::string repeat(std::string_view part, size_t times) {
    std::string all;
    all.reserve(part.size() * times);
    while (times-- > 0)
        all += part;
    return all;
}

std::string event(const std::string& what) { return "[[0 " + what + "]]\n"; }
std::string assertion(const std::string& value) { return event("<A " + value + " 1>"); }

std::string varint(size_t number) {
    std::string bytes;
    for (; number >= 0x80; number >>= 7)
        bytes += static_cast<char>(number | 0x80);
    return bytes + static_cast<char>(number);
}

// [[0 <M …>]] in the binary syntax.
std::string binary_message(const std::string& body) {
    return "\xb5\xb5\xb0" + std::string(1, 0) + "\xb4\xb3\x01M" + body + "\x84\x84\x84";
}

std::string binary_string(size_t size) { return "\xb1" + varint(size) + std::string(size, 'x'); }

// One that speaks, while the others must not notice.
struct Attack {
    RelayWorld world;
    RelayPeer witness{world};
    RelayOptions options;
    std::string answer;

    Attack() { witness.send("[[0 <A <Observe <group <rec before> {}> #:[0 1]> 1>]]"); }

    // Sends it all, in pieces as large as they come. Whether the peer is still served.
    bool survives(const std::string& bytes) {
        RelayPeer peer(world, options);
        peer.send("[[0 <A <before> 99>]]");
        CHECK(witness.receive().find("<A [] ") != std::string::npos);
        peer.send(bytes);
        CHECK(witness.is_served(7));
        if (!peer.closed()) return peer.is_served(3);
        answer = peer.receive();
        CHECK_FALSE(peer.reason().empty());
        CHECK_FALSE(witness.closed());
        return false;
    }
    bool is_told(const std::string& bytes, const std::string& what) {
        if (survives(bytes)) return false;
        INFO(answer.substr(0, 200));
        CHECK(answer.find("error") != std::string::npos);
        return answer.find(what) != std::string::npos;
    }
};

} // namespace

TEST_CASE("bounds: the size of a packet") {
    // Nine bytes are around the string, and its own tag and length.
    size_t fits = max_packet - 16;
    CHECK(Attack().survives(binary_message(binary_string(fits))));
    CHECK(Attack().is_told(binary_message(binary_string(max_packet + 65'536)), "packet too large"));
    CHECK(Attack().is_told(assertion("\"" + std::string(max_packet + 65'536, 'x') + "\""),
                           "packet too large"));
    // A length that leads nowhere.
    CHECK(Attack().is_told("\xb5\xb1\xff\xff\xff\xff\x7f" + std::string(64, 'x'), "too long"));
}

TEST_CASE("bounds: a smaller packet for some") {
    Attack attack;
    attack.options.packet_limit = 100'000;
    CHECK(attack.is_told(binary_message(binary_string(200'000)), "packet too large"));
}

TEST_CASE("bounds: nesting") {
    size_t deep = preserves::max_depth - 3; // the packet itself has three levels
    CHECK(Attack().survives(assertion(repeat("[", deep) + repeat("]", deep))));
    CHECK(Attack().is_told(assertion(repeat("[", deep + 1) + repeat("]", deep + 1)),
                           "nested too deeply"));
    CHECK(Attack().survives(binary_message(repeat("\xb5", deep) + repeat("\x84", deep))));
    CHECK(Attack().is_told(binary_message(repeat("\xb5", deep + 1) + repeat("\x84", deep + 1)),
                           "nested too deeply"));
    // However large it is, and never closed.
    for (const char* open : {"[", "<", "{", "#{", "@", "#:", "\xb5", "\xb4", "\xb6", "\x85"})
        CHECK_FALSE(Attack().survives(repeat(open, 1'000'000)));
}

TEST_CASE("bounds: integers") {
    std::string longest = "\xb0" + varint(preserves::max_integer_bytes) +
                          std::string(preserves::max_integer_bytes, 1);
    CHECK(Attack().survives(binary_message(longest)));
    std::string longer = "\xb0" + varint(preserves::max_integer_bytes + 1) +
                         std::string(preserves::max_integer_bytes + 1, 1);
    CHECK(Attack().is_told(binary_message(longer), "integer too long"));
    CHECK(Attack().is_told(assertion(std::string(200'000, '7')), "integer too long"));
}

TEST_CASE("bounds: events in a turn") {
    std::string message = "[0 <M 1>]";
    CHECK(Attack().survives("[" + repeat(message, max_turn_events) + "]"));
    CHECK(Attack().is_told("[" + repeat(message, max_turn_events + 1) + "]",
                           "too many events in a turn"));
}

TEST_CASE("bounds: live handles") {
    Attack attack;
    attack.options.handle_limit = 1'000;
    std::string packets;
    for (int i = 0; i < 999; ++i) // one is there already
        packets += "[[0 <A x " + std::to_string(100 + i) + ">]]";
    CHECK(attack.survives(packets));
    CHECK(attack.is_told(packets + "[[0 <A x 5000>]]", "too many live handles"));
}

TEST_CASE("bounds: live oids") {
    constexpr size_t limit = 1'000;
    auto references = [](size_t count) {
        std::string all;
        for (size_t i = 10; i < 10 + count; ++i)
            all += "#:[0 " + std::to_string(i) + "]";
        return all;
    };
    // Half of what is possible and more, twice.
    std::string half = references(limit * 6 / 10);
    std::string other = references(limit * 12 / 10).substr(half.size());
    Attack attack;
    attack.options.oid_limit = limit;
    CHECK(attack.survives(assertion("[" + half + "]")));
    CHECK(attack.is_told(assertion("[" + half + "]") + event("<A [" + other + "] 2>"),
                         "too many live oids"));
}

TEST_CASE("bounds: references that others give a peer are not its own") {
    Attack attack;
    attack.options.oid_limit = 10;
    std::string fact = "[";
    for (int i = 10; i < 40; ++i)
        fact += "#:[0 " + std::to_string(i) + "]";
    RelayPeer other(attack.world);
    other.send(assertion("<these " + fact + "]>"));
    RelayPeer peer(attack.world, attack.options);
    peer.send(assertion("<Observe <group <rec these> {0: <bind <_>>}> #:[0 5]>"));
    CHECK(peer.receive().find("#:[0, 30]") != std::string::npos);
    peer.send(event("<A <mine #:[0 6]> 2>"));
    CHECK(peer.is_served(3));
}

TEST_CASE("bounds: bytes asserted") {
    Attack attack;
    attack.options.held_limit = 100'000;
    auto large = [](int handle) {
        return event("<A \"" + std::string(30'000, 'x') + "\" " + std::to_string(handle) + ">");
    };
    std::string three = large(10) + large(11) + large(12);
    CHECK(attack.survives(three));
    CHECK(attack.survives(three + event("<R 11>") + large(13)));
    CHECK(attack.is_told(three + large(13), "too many bytes asserted"));
    std::string small;
    for (int i = 100; i < 2'000; ++i)
        small += event("<A x " + std::to_string(i) + ">");
    CHECK(attack.is_told(small, "too many bytes asserted"));
}

TEST_CASE("bounds: a stranger may say little, until something has been given to it") {
    std::string large = assertion("\"" + std::string(100'000, 'x') + "\"");
    std::string many;
    for (int i = 10; i < 20; ++i)
        many += event("<A \"" + std::string(60'000, 'x') + "\" " + std::to_string(i) + ">");
    Attack attack;
    CHECK(attack.survives(large));
    CHECK(attack.survives(many));
    attack.options.stranger = true;
    CHECK(attack.is_told(large, "packet too large"));
    CHECK(attack.is_told(large.substr(0, 90'000), "packet too large"));
    CHECK(attack.is_told(many, "too many bytes asserted"));
    RelayPeer other(attack.world);
    other.send(assertion("<for-you #:[0 7]>"));
    CHECK(attack.survives("[[0 <A <Observe <group <rec for-you> {0: <bind <_>>}> #:[0 5]> 9>]]" +
                          many + large));
}

TEST_CASE("bounds: syncs that a peer does not answer") {
    Attack attack;
    attack.options.oid_limit = 1'000;
    RelayPeer deaf(attack.world, attack.options);
    deaf.send(assertion("<entity #:[0 5]>"));
    RelayPeer asking(attack.world);
    asking.send(assertion("<Observe <group <rec entity> {0: <bind <_>>}> #:[0 6]>"));
    const std::string found = asking.receive();
    const size_t at = found.find("#:[0, ") + 6;
    const std::string entity = found.substr(at, found.find(']', at) - at);
    std::string syncs;
    for (int i = 0; i < 900; ++i)
        syncs += "[[" + entity + " <S #:[0 " + std::to_string(100 + i) + "]>]]";
    asking.send(syncs);
    CHECK_FALSE(deaf.closed());
    asking.send(syncs);
    CHECK(deaf.closed());
    CHECK(deaf.reason() == "too slow");
    CHECK(deaf.receive().find("too many syncs unanswered") != std::string::npos);
    CHECK(asking.is_served(3));
}

TEST_CASE("bounds: caveats") {
    auto narrowed = [](size_t count) {
        return assertion("#:[1 0 " + repeat("<reject <lit 1>>", count) + "]");
    };
    CHECK(Attack().survives(narrowed(dataspace::Caveats::max_caveats)));
    CHECK(Attack().is_told(narrowed(dataspace::Caveats::max_caveats + 1), "more than 64 caveats"));
    auto large = [](size_t size) {
        return assertion("#:[1 0 <reject <lit \"" + std::string(size, 'x') + "\">>]");
    };
    CHECK(Attack().survives(large(dataspace::Caveats::max_size - 40)));
    CHECK(Attack().is_told(large(dataspace::Caveats::max_size), "more than 16384 bytes"));
    auto deep = [](size_t levels) {
        return assertion("#:[1 0 <reject " + repeat("<not ", levels - 1) + "<_>" +
                         repeat(">", levels) + "]");
    };
    CHECK(Attack().survives(deep(dataspace::Caveats::max_nesting)));
    CHECK(Attack().is_told(deep(dataspace::Caveats::max_nesting + 1), "nest more than 32 deep"));
    CHECK(Attack().is_told(assertion("#:[1 0 <rewrite <_> <ref 0>>]"), "UnboundRef"));
    CHECK(Attack().is_told(assertion("#:[1 0 <reject <not <bind <_>>>>]"), "BindingUnderNegation"));
}

TEST_CASE("bounds: patterns") {
    auto observe = [](const std::string& pattern) {
        return assertion("<Observe " + pattern + " #:[0 5]>");
    };
    auto wide = [&](size_t count) {
        std::string entries;
        for (size_t i = 0; i < count; ++i)
            entries += std::to_string(i) + ": <_> ";
        return observe("<group <arr> {" + entries + "}>");
    };
    CHECK(Attack().survives(wide(Pattern::max_nodes - 1)));
    CHECK(Attack().is_told(wide(Pattern::max_nodes), "too many nodes"));
    CHECK(Attack().survives(observe("<group <arr> {65535: <_>}>")));
    CHECK(Attack().is_told(observe("<group <arr> {65536: <_>}>"), "an index too large"));
    // What is no pattern is a value like any other.
    CHECK(Attack().survives(observe("<group <arr> {-1: <_>}>")));
}

namespace {

// One that is told more than it reads, 1000 bytes at a time. What it finds when it reads at last.
std::string what_a_slow_one_reads(RelayOptions options) {
    RelayWorld world;
    RelayPeer slow(world, std::move(options));
    RelayPeer witness(world);
    slow.send("[[0 <A <Observe <group <rec x> {0: <bind <_>>}> #:[0 5]> 1>]]\n");
    const std::string body = "[[0 <M <x \"" + std::string(1'000, 'x') + "\">>]]";
    for (int i = 0; i < 600 && !slow.closed(); ++i)
        witness.send(body);
    while (!slow.closed())
        world.loop->run_once(true);
    CHECK(slow.reason() == "too slow");
    CHECK(witness.is_served(7));
    return slow.receive();
}

} // namespace

TEST_CASE("bounds: what waits unsent") {
    RelayOptions options;
    options.max_unsent = 100'000;
    const std::string answer = what_a_slow_one_reads(options);
    CHECK(answer.ends_with("]]\n<error \"too slow\" \"too many bytes unsent\">\n"));
    options.max_unsent = 0;
    options.max_stall = 1'000'000;
    const std::string later = what_a_slow_one_reads(options);
    CHECK(later.ends_with("]]\n<error \"too slow\" \"no progress\">\n"));
}

namespace {

RelayOptions named(const char* name) {
    RelayOptions options;
    options.name = name;
    return options;
}

// Its owner gives the sender the dataspace, narrowed by a rule.
struct Gate {
    RelayWorld world;
    RelayPeer owner{world, named("owner")};
    RelayPeer sender{world, named("sender")};

    explicit Gate(const std::string& rule) {
        sender.send("[[0 <A <Observe <group <rec gate> {0: <bind <_>>}> #:[0 1]> 1>]]");
        owner.send("[[0 <A <gate #:[1 0 " + rule + "]> 1>]]");
        CHECK(sender.receive().find("<A [#:[0, 1]] ") != std::string::npos);
    }
    // What is said when the sender sends it, asserted and as a message.
    std::string said(const std::string& value) {
        const size_t before = world.count();
        sender.send("[[1 <A " + value + " 2>]]");
        sender.send("[[1 <M " + value + ">]]");
        CHECK(world.count() == before);
        CHECK(owner.is_served(7));
        CHECK(sender.is_served(7));
        return world.said.size() == 1 ? world.said[0] : "";
    }
};

} // namespace

TEST_CASE("bounds: what caveats of others make too much of is dropped, and said once") {
    const std::string sent = "relay sender: what it sent was dropped: caveats would ";
    const std::string often = "<rewrite <bind <_>> <arr [" + repeat("<ref 0> ", 1'000) + "]>>";
    CHECK(Gate(often).said('"' + std::string(2'000, 'x') + '"').starts_with(sent + "make it "));
    const std::string nested =
        "<rewrite <bind <_>> " + repeat("<arr [", 30) + "<ref 0>" + repeat("]>", 30) + ">";
    const size_t deep = preserves::max_depth - 3;
    for (size_t levels : {deep, deep - 29}) {
        const std::string value = repeat("[", levels) + repeat("]", levels);
        CHECK(Gate(nested).said(value).starts_with(sent + "nest it deeper"));
    }
    Gate fits(nested);
    fits.sender.send("[[1 <A " + repeat("[", deep - 30) + repeat("]", deep - 30) + " 2>]]");
    CHECK(fits.world.said.empty());
    CHECK(fits.world.count() == 3);
    const std::string looks = "<reject <not <and [" + repeat("<not <arr []>> ", 900) + "]>>>";
    CHECK(Gate(looks).said("[" + repeat("1 ", 5'000) + "]").starts_with(sent + "look at it"));
    const std::string narrow = repeat("<reject <lit 1>> ", 40);
    CHECK(Gate("<rewrite <bind <_>> <attenuate <ref 0> [" + narrow + "]>>")
              .said("#:[1 0 " + narrow + "]")
              .starts_with(sent + "put more than 64 caveats"));
    // What is merely rejected is nobody's business.
    Gate plain("<reject <_>>");
    CHECK(plain.said("1").empty());
    CHECK(plain.world.said.empty());
}

TEST_CASE("bounds: a pattern that caveats of others made too large is said") {
    Gate gate("<rewrite <rec o [<bind <_>> <bind <_>>]> <rec Observe [<ref 0> <ref 1>]>>");
    gate.sender.send("[[1 <A <o <group <arr> {65536: <_>}> #:[0 9]> 2>]]");
    gate.sender.send("[[1 <A <o <group <arr> {65537: <_>}> #:[0 9]> 3>]]");
    CHECK(gate.world.said ==
          std::vector<std::string>{"relay sender: what it observes is not told: the pattern has "
                                   "too many nodes, an index too large, or nests too deeply"});
    CHECK(gate.sender.is_served(7));
    // As deep as a packet can carry it, it has a name.
    const size_t levels = preserves::max_depth - 7;
    gate.sender.send("[[0 <A <Observe <group <dict> {" + repeat("[", levels) + repeat("]", levels) +
                     ": <_>}> #:[0 9]> 4>]]");
    CHECK(gate.sender.is_served(7));
    CHECK(gate.world.said.size() == 1);
}

TEST_CASE("bounds: what a pattern captures beyond them is said of its observer alone") {
    const std::string often = repeat("<bind ", 100) + "<_>" + repeat(">", 100);
    const std::string observe = assertion("<Observe <group <rec x> {0: " + often + "}> #:[0 5]>");
    const std::string large = "<x \"" + std::string(1'000'000, 'x') + "\">";
    for (const std::string& what : {event("<M " + large + ">"), assertion(large)}) {
        for (bool later : {false, true}) {
            if (later && what[5] == 'M') continue;
            RelayWorld world;
            RelayPeer watcher(world, named("watcher"));
            RelayPeer sender(world, named("sender"));
            if (!later) watcher.send(observe);
            sender.send(what);
            if (later) watcher.send(observe);
            if (!later) sender.send(event("<M " + large + ">"));
            CHECK(world.said == std::vector<std::string>{
                                    "relay watcher: what it observes was dropped: its pattern "
                                    "captures more, or deeper nested, than a packet can carry"});
            INFO(sender.reason());
            CHECK(sender.is_served(7));
            CHECK(watcher.is_served(7));
        }
    }
}

TEST_CASE("a large packet in small pieces is read once") {
    for (bool text : {false, true}) {
        std::string value =
            repeat(text ? "<x \"y\" [#t 1.5]>" : "\xb4\xb3\x01x\x80\xb0\x01\x07\x84", 500'000);
        std::string packet = text ? "[" + value + "]" : "\xb5" + value + "\x84";
        PacketReader reader;
        std::string buffer;
        for (size_t at = 0; at < packet.size(); at += 500) {
            buffer += packet.substr(at, 500);
            auto state =
                reader.next({reinterpret_cast<const uint8_t*>(buffer.data()), buffer.size()});
            bool whole = buffer.size() == packet.size();
            REQUIRE(state ==
                    (whole ? PacketReader::State::packet : PacketReader::State::need_more));
        }
        CHECK(reader.bytes_read() < packet.size() + 10'000);
    }
}
