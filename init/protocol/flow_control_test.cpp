// Who produces more than others take is held back, on a relay listener; on the bus it is whoever
// does not take it who goes. Nobody else notices, and memory stays bounded either way.
#include <sys/resource.h>

#include <memory>
#include <string>

#include "init/base/catch.h"
#include "init/protocol/relay_world.h"

using namespace muster;
using namespace muster::protocol;

namespace {

constexpr std::string_view observe =
    "[[0 <A <Observe <group <rec x> {0: <bind <_>> 1: <bind <_>>}> #:[0 1]> 1>]]\n";
const std::string padding = "\"" + std::string(300, 'p') + "\"";
// More than the buffers of all sockets that a test has.
constexpr size_t far_too_many = 8'000;

// Sends <x 0>, <x 1> … as fast as they are taken.
class Producer {
  public:
    explicit Producer(RelayWorld& world, RelayOptions options = {}) : peer(world, options) {}

    // False if nothing more is taken, or all is sent.
    bool produce(size_t up_to) {
        while (next_ < up_to && unsent_.size() < 65'536)
            unsent_ += "[[0 <M <x " + std::to_string(next_++) + " " + padding + ">>]]\n";
        size_t taken = peer.offer(unsent_);
        unsent_.erase(0, taken);
        return taken > 0;
    }
    size_t sent() const { return next_; }
    bool done() const { return unsent_.empty(); }

    RelayPeer peer;

  private:
    std::string unsent_;
    size_t next_ = 0;
};

// Sees <x 0>, <x 1> …, in this order and each once.
class Consumer {
  public:
    explicit Consumer(RelayWorld& world, RelayOptions options = {}) : peer(world, options) {
        peer.send(observe);
    }

    // Reads so many bytes at most; the number of whole messages up to now.
    size_t consume(size_t bytes) {
        unread_ += peer.receive(bytes);
        size_t at = 0;
        for (size_t end; (end = unread_.find('\n', at)) != std::string::npos; at = end + 1) {
            std::string expected = "[[1, <M [" + std::to_string(seen_++) + ", " + padding + "]>]]";
            in_order_ = in_order_ && unread_.compare(at, end - at, expected) == 0;
        }
        unread_.erase(0, at);
        return seen_;
    }
    bool in_order() const { return in_order_; }

    RelayPeer peer;

  private:
    std::string unread_;
    size_t seen_ = 0;
    bool in_order_ = true;
};

int64_t worst_debt(RelayWorld& world) {
    int64_t worst = 0;
    for (const dataspace::Account* account : world.engine.accounts().all())
        worst = std::max(worst, account->debt());
    return worst;
}

// Runs until the producer is held back. How much it could send.
size_t flood(RelayWorld& world, Producer& producer) {
    for (int idle = 0; idle < 50 && producer.sent() < far_too_many;) {
        idle = producer.produce(far_too_many) ? 0 : idle + 1;
        world.loop->run_once(false);
        CHECK(worst_debt(world) <= dataspace::default_credit + 2);
    }
    return producer.sent();
}

} // namespace

TEST_CASE("flow control: a producer is held back until its consumer reads; nothing is lost") {
    RelayWorld world;
    Producer producer(world);
    Consumer consumer(world);
    RelayPeer other(world);
    size_t held_at = flood(world, producer);
    REQUIRE(held_at < far_too_many);
    CHECK(other.is_served(1));
    // A little is read: about as much can follow.
    for (int i = 0; i < 20; ++i) {
        consumer.consume(10'000);
        world.rounds();
        producer.produce(far_too_many);
        CHECK(worst_debt(world) <= dataspace::default_credit + 2);
        CHECK(other.is_served(2 + i));
    }
    CHECK(producer.sent() < far_too_many);
    size_t seen = 0;
    for (int idle = 0; idle < 100 && seen < far_too_many; ++idle) {
        size_t before = seen;
        producer.produce(far_too_many);
        world.loop->run_once(false);
        seen = consumer.consume(1 << 20);
        if (seen != before) idle = 0;
    }
    CHECK(seen == far_too_many);
    CHECK(consumer.in_order());
    CHECK(producer.done());
    CHECK(worst_debt(world) == 0);
}

TEST_CASE("flow control: a consumer that goes lets its producer go on") {
    RelayWorld world;
    Producer producer(world);
    auto consumer = std::make_unique<Consumer>(world);
    REQUIRE(flood(world, producer) < far_too_many);
    consumer->peer.hang_up();
    CHECK(flood(world, producer) == far_too_many);
    CHECK(worst_debt(world) == 0);
}

TEST_CASE("flow control: a message for a thousand observers is followed by few others") {
    RelayWorld world;
    Producer producer(world);
    constexpr size_t peers = 10, each = 100, messages = 5'000;
    std::vector<std::unique_ptr<RelayPeer>> consumers;
    for (size_t i = 0; i < peers; ++i) {
        consumers.push_back(std::make_unique<RelayPeer>(world));
        for (size_t n = 1; n <= each; ++n) {
            std::string number = std::to_string(n);
            consumers.back()->send("[[0 <A <Observe <group <rec x> {0: <bind <_>>}> #:[0 " +
                                   number + "]> " + number + ">]]");
        }
    }
    RelayPeer other(world);
    int64_t worst = 0;
    for (int idle = 0; idle < 50 && producer.sent() < messages;) {
        idle = producer.produce(messages) ? 0 : idle + 1;
        world.loop->run_once(false);
        worst = std::max(worst, worst_debt(world));
    }
    CHECK(producer.sent() < messages);
    // As many messages as may be owed are on their way, and all that comes of them.
    CHECK(worst <= static_cast<int64_t>((dataspace::default_credit + 2) * (peers * each + 1)));
    CHECK(other.is_served(1));
    // Who reads gets it all.
    size_t lines = 0;
    for (int i = 0; i < 5; ++i) {
        for (auto& consumer : consumers) {
            std::string all = consumer->receive();
            lines += static_cast<size_t>(std::count(all.begin(), all.end(), '\n'));
        }
        world.rounds();
    }
    CHECK(lines > 0);
    CHECK(other.is_served(2));
}

TEST_CASE("flow control: on the bus, who does not read goes, and the producer is not held back") {
    RelayWorld world;
    RelayOptions bus;
    bus.max_unsent = 200'000;
    Producer producer(world, bus);
    Consumer sleeper(world, bus);
    Consumer reader(world, bus);
    RelayPeer other(world, bus);
    for (int i = 0; i < 5'000 && !sleeper.peer.closed(); ++i) {
        producer.produce(far_too_many);
        world.loop->run_once(false);
        reader.consume(1 << 20);
    }
    CHECK(sleeper.peer.reason() == "too slow");
    CHECK(other.is_served(1));
    size_t seen = 0;
    for (int idle = 0; idle < 100 && seen < far_too_many; ++idle) {
        size_t before = seen;
        producer.produce(far_too_many);
        world.loop->run_once(false);
        seen = reader.consume(1 << 20);
        if (seen != before) idle = 0;
    }
    CHECK(seen == far_too_many);
    CHECK(reader.in_order());
    CHECK_FALSE(producer.peer.closed());
    CHECK(worst_debt(world) == 0);
}

TEST_CASE("flow control: on the bus, a thousand packets that are never finished") {
    rlimit files;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = files.rlim_max;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &files) == 0);
    RelayWorld world;
    RelayOptions bus;
    bus.max_stall = 50 * millisecond;
    RelayPeer other(world, bus);
    std::vector<std::unique_ptr<RelayPeer>> stopped;
    for (int i = 0; i < 1'000; ++i) {
        stopped.push_back(std::make_unique<RelayPeer>(world, bus));
        stopped.back()->offer("[[0 <A <held> 1>]] [[0 <A <x \"half of");
    }
    world.rounds();
    CHECK(other.is_served(1));
    for (auto& each : stopped) {
        while (!each->closed())
            world.loop->run_once(true);
        CHECK(each->reason() == "too slow");
        CHECK(each->receive().find("<error \"too slow\" \"an unfinished packet\">") !=
              std::string::npos);
    }
    world.rounds();
    CHECK(world.count() == 0);
    CHECK(other.is_served(2));
}

TEST_CASE("flow control: who takes long over a packet, but goes on, is not too slow") {
    RelayWorld world;
    RelayOptions bus;
    bus.max_stall = 10 * second;
    RelayPeer peer(world, bus);
    std::string packet = "[[0 <A <x " + std::string(3'000, 'y') + "> 1>]]";
    CHECK(peer.send(packet, 1));
    CHECK(world.count() == 1);
    CHECK(peer.is_served(1));
}

TEST_CASE("flow control: who is held back in the middle of a packet is not too slow") {
    RelayWorld world;
    RelayOptions bus;
    bus.max_stall = second;
    RelayPeer producer(world, bus);
    Consumer consumer(world); // does not read
    producer.send("[[0 <M <x \"" + std::string(2 << 20, 'y') + "\" 1>>]]\n[[0 <M <x \"half of");
    REQUIRE(worst_debt(world) > dataspace::default_credit);
    producer.offer(" it and more");
    world.rounds();
    RelayPeer slow(world, bus);
    slow.offer("[[0 <A <x \"half of");
    while (!slow.closed())
        world.loop->run_once(true);
    CHECK_FALSE(producer.closed());
}
