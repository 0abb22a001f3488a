// Random conversations of clients with a dataspace through relays, against a model of what each
// must see when all is quiet.
#include "init/protocol/client.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include <map>
#include <random>
#include <set>
#include <string>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/relay.h"

using namespace muster;
using namespace muster::protocol;
using preserves::Value;
using preserves::View;
namespace pat = muster::dataspace::pattern;

namespace {

// One end of the conversation: asserts <x A B>, observes some of them, offers entities to the
// others by <hand #:entity>, and greets whatever entity it is offered by <hello NAME>.
struct Party {
    Connection connection;
    std::unique_ptr<Client> client;
    int name = 0;
    std::multimap<std::string, Client::Handle> facts; // <x …>, by text
    struct Observation {
        Client::Handle handle;
        Value pattern; // of the captures A and B
        std::map<Client::Handle, std::string> present;
    };
    std::map<int, Observation> observations;
    std::map<Client::Handle, Client::Handle> greetings; // by the offer's handle
    struct Offer {
        Client::Handle handle;
        std::map<Client::Handle, std::string> greeted;
    };
    std::map<int, Offer> offers;
    bool broken = false;
};

struct World {
    std::mt19937 random;
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    dataspace::CapRef space = dataspace::spawn_dataspace(engine, "space");
    std::vector<std::string> closed;
    Party parties[3];
    int next = 0;

    explicit World(unsigned seed) : random(seed) {
        signal(SIGPIPE, SIG_IGN);
        loop->set_after_round([this] { return engine.run(); });
        for (Party& party : parties) {
            party.name = next++;
            int ends[2];
            REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
            fcntl(ends[1], F_SETFL, O_NONBLOCK);
            RelayOptions options;
            options.name = "party";
            options.initial_export = space;
            options.on_closed = [this](const std::string& why) { closed.push_back(why); };
            party.connection =
                Connection::start(engine, *loop, Fd(ends[0]), Fd(), std::move(options));
            party.client = std::make_unique<Client>(Fd(ends[1]), Fd());
            greet_what_is_offered(party);
        }
    }

    size_t pick(size_t below) { return random() % below; }

    void greet_what_is_offered(Party& party) {
        Client::Handler handler;
        handler.asserted = [this, &party](const Value& seen, Client::Handle handle) {
            Ref<Reference> given(static_cast<Reference*>(seen.view().at(0).as_embedded()));
            // One of its own comes back as such.
            if (!given || given->side == Reference::Side::ours) return;
            Value hello = preserves::record("hello", {preserves::integer(party.name)});
            party.greetings[handle] = party.client->assert_(given, hello);
        };
        handler.retracted = [&party](Client::Handle handle) {
            auto found = party.greetings.find(handle);
            if (found == party.greetings.end()) return;
            party.client->retract(found->second);
            party.greetings.erase(found);
        };
        party.client->observe(party.client->root(), pat::record("hand", {pat::bind()}), handler);
    }

    template <typename Present>
    static Client::Handler recorder(Party& party, Present present) {
        Client::Handler handler;
        handler.asserted = [&party, present](const Value& seen, Client::Handle handle) {
            auto* known = present();
            bool fresh = known && known->emplace(handle, preserves::to_text(seen)).second;
            party.broken = party.broken || (known && !fresh);
        };
        handler.retracted = [&party, present](Client::Handle handle) {
            auto* known = present();
            party.broken = party.broken || (known && known->erase(handle) != 1);
        };
        return handler;
    }

    void step(Party& party) {
        Client& client = *party.client;
        switch (pick(8)) {
        case 0:
        case 1: {
            Value fact =
                preserves::record("x", {preserves::integer(static_cast<int64_t>(pick(3))),
                                        preserves::integer(static_cast<int64_t>(pick(3)))});
            party.facts.emplace(preserves::to_text(fact), client.assert_(client.root(), fact));
            break;
        }
        case 2:
            if (party.facts.empty()) break;
            client.retract(party.facts.begin()->second);
            party.facts.erase(party.facts.begin());
            break;
        case 3: {
            int id = next++;
            Value pattern = pick(2)
                                ? pat::record("x", {pat::bind(), pat::bind()})
                                : pat::record("x", {pat::bind(pat::literal(preserves::integer(1))),
                                                    pat::bind()});
            auto present = [&party, id]() {
                auto found = party.observations.find(id);
                return found == party.observations.end() ? nullptr : &found->second.present;
            };
            party.observations[id].pattern = pattern;
            party.observations[id].handle =
                client.observe(client.root(), pattern, recorder(party, present));
            break;
        }
        case 4:
            if (party.observations.empty()) break;
            client.retract(party.observations.begin()->second.handle);
            party.observations.erase(party.observations.begin());
            break;
        case 5: {
            int id = next++;
            auto greeted = [&party, id]() {
                auto found = party.offers.find(id);
                return found == party.offers.end() ? nullptr : &found->second.greeted;
            };
            Value entity = preserves::embedded(client.export_entity(recorder(party, greeted)));
            Value offer = preserves::record("hand", {entity});
            party.offers[id].handle = client.assert_(client.root(), offer);
            if (pick(2)) client.message(client.root(), offer); // it is held: no transient one
            break;
        }
        case 6:
            if (party.offers.empty()) break;
            client.retract(party.offers.begin()->second.handle);
            party.offers.erase(party.offers.begin());
            break;
        default:
            pass(party);
        }
    }

    void pass(Party& party) {
        REQUIRE(party.client->flush());
        loop->run_once(false);
        Result<bool> alive = party.client->receive();
        REQUIRE(alive);
        REQUIRE(*alive);
    }

    void quiet() {
        for (Party& party : parties) {
            for (int round = 0; round < 2; ++round) {
                bool synced = false;
                party.client->sync(party.client->root(), [&] { synced = true; });
                for (int i = 0; i < 10'000 && !synced; ++i)
                    for (Party& each : parties)
                        pass(each);
                REQUIRE(synced);
            }
        }
    }

    void check() {
        REQUIRE(closed.empty());
        std::multiset<std::string> greetings;
        for (const Party& party : parties) {
            REQUIRE_FALSE(party.broken);
            for (const auto& [id, observation] : party.observations) {
                Result<dataspace::Pattern> pattern = dataspace::Pattern::parse(observation.pattern);
                REQUIRE(pattern);
                std::set<std::string> expected;
                for (const Party& other : parties)
                    for (const auto& [fact, handle] : other.facts) {
                        bool one = fact[3] == '1' || pattern->constants.empty();
                        if (one) expected.insert({'[', fact[3], ',', ' ', fact[5], ']'});
                    }
                std::set<std::string> seen;
                for (const auto& [handle, captures] : observation.present)
                    seen.insert(captures);
                REQUIRE(seen.size() == observation.present.size());
                REQUIRE(seen == expected);
            }
            for (const auto& [id, offer] : party.offers)
                REQUIRE(offer.greeted.size() == 2);
        }
    }
};

} // namespace

TEST_CASE("clients that talk at random see what is there, and nothing else") {
    for (unsigned seed = 1; seed <= 8; ++seed) {
        INFO("seed " << seed);
        World world(seed);
        for (int round = 0; round < 6; ++round) {
            for (int i = 0; i < 60; ++i) {
                Party& party = world.parties[world.pick(3)];
                party.client->begin();
                for (size_t steps = 1 + world.pick(3); steps > 0; --steps)
                    world.step(party);
                party.client->commit();
            }
            world.quiet();
            world.check();
        }
    }
}

TEST_CASE("a peer that is gone is an error, and no signal that ends the process") {
    static int signals = 0;
    struct sigaction before {};
    struct sigaction count {};
    count.sa_handler = [](int) { ++signals; };
    sigaction(SIGPIPE, &count, &before);
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    Client client(Fd{ends[0]}, Fd{});
    client.message(client.root(), preserves::symbol("first"));
    REQUIRE(client.flush());
    ::close(ends[1]); // and it has not read all that came
    client.message(client.root(), preserves::symbol("second"));
    Result<bool> flushed = client.flush();
    REQUIRE_FALSE(flushed);
    CHECK(flushed.error().message == Client::closed);
    Result<bool> alive = client.receive();
    CHECK((alive && !*alive));
    sigaction(SIGPIPE, &before, nullptr);
    CHECK(signals == 0);
}
