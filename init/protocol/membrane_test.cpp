// Membranes of two relays that face each other, and of one whose peer speaks raw packets: when both
// sides have let go, nothing is left in them.
#include "init/protocol/membrane.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include <random>
#include <string>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_reader.h"
#include "init/protocol/relay.h"

using namespace muster;
using namespace muster::protocol;
using dataspace::CapRef;
using dataspace::Turn;
using preserves::View;
namespace pat = muster::dataspace::pattern;

namespace {

constexpr int exchanges = 100'000;

// A side has a dataspace, which the other side knows as its oid 0, and an actor that speaks there.
struct Side {
    Connection connection;
    CapRef space;
    CapRef other; // the dataspace of the other side, through the relay
    Ref<dataspace::Facet> facet;
    dataspace::KeepAlive keep;
    std::vector<CapRef> own; // entities that live as long as the test
    std::vector<dataspace::Handle> handles;
};

struct World {
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    std::string trouble;
    size_t syncs_asked = 0;
    size_t syncs_answered = 0;
    size_t heard = 0;
    Side sides[2];

    World() {
        signal(SIGPIPE, SIG_IGN);
        engine.set_on_failure([this](const dataspace::Actor& actor, const Error& error) {
            trouble += actor.name() + ": " + error.message + "\n";
        });
        loop->set_after_round([this] { return engine.run(); });
    }

    void join() {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        for (int i = 0; i < 2; ++i) {
            Side& side = sides[i];
            side.space = dataspace::spawn_dataspace(engine, "space");
            RelayOptions options;
            options.name = "side " + std::to_string(i);
            options.initial_export = side.space;
            options.on_peer = [&side](Turn&, const CapRef& peer) { side.other = peer; };
            options.on_closed = [this](const std::string& why) { trouble += "closed: " + why; };
            side.connection =
                Connection::start(engine, *loop, Fd(ends[i]), Fd(), std::move(options));
            auto actor = engine.spawn("speaker", [this, &side](Turn& turn) {
                side.keep = dataspace::KeepAlive(Ref<dataspace::Facet>(&turn.current()));
                for (int n = 0; n < 8; ++n)
                    side.own.push_back(turn.make_cap(make_ref<dataspace::Entity>()));
                observe(turn, side.space);
            });
            side.facet = Ref<dataspace::Facet>(&actor->root());
        }
        rounds();
        REQUIRE(sides[0].other);
        REQUIRE(sides[1].other);
    }

    // Whoever is told of a capability asserts something there that carries the same one back.
    void observe(Turn& turn, const CapRef& space) {
        Value both = pat::record("offer", {pat::bind(), pat::bind()});
        during(turn, space, both, [this](Turn& inner, View captures) {
            ++heard;
            CapRef given = dataspace::cap_of(captures.at(1));
            inner.assert_(given, preserves::record("thanks", {captures.at(1), captures.at(0)}));
        });
        dataspace::on_message(turn, space, both, [this](Turn& inner, View captures) {
            ++heard;
            inner.message(dataspace::cap_of(captures.at(1)), preserves::symbol("hello"));
        });
    }

    void in(Side& side, const dataspace::TurnAction& action) {
        engine.external(side.facet, action);
    }

    void rounds() {
        for (int quiet = 0; quiet < 5; ++quiet) {
            size_t before = heard + syncs_answered;
            loop->run_once(false);
            if (heard + syncs_answered != before) quiet = 0;
        }
    }
};

CapRef narrowed(const CapRef& cap, int number) {
    std::string text = "[<reject <lit " + std::to_string(number) + ">>]";
    auto caveats = dataspace::Caveats::join(cap->caveats(), *preserves::parse_text(text));
    REQUIRE(caveats);
    return cap->attenuate(*caveats);
}

} // namespace

TEST_CASE("membranes of two relays are as at first when both sides have let go") {
    World world;
    world.join();
    auto check_nothing_is_left = [&] {
        for (Side& side : world.sides) {
            REQUIRE(side.connection.counts().capabilities == 2);
            REQUIRE(side.connection.counts().pins == 2);
            for (const CapRef& cap : side.own)
                REQUIRE(cap->references() == 1);
        }
    };
    check_nothing_is_left();
    std::mt19937 random(20);
    int number = 0;
    auto exchange = [&](Turn& turn, Side& side) {
        ++number;
        CapRef cap = side.own[random() % side.own.size()];
        auto offer = [&](const CapRef& what) {
            return preserves::record("offer", {preserves::integer(number), embed(what)});
        };
        auto keep = [&](const CapRef& what) {
            side.handles.push_back(turn.assert_(side.other, offer(what)));
        };
        switch (random() % 7) {
        case 0:
        case 1:
            return keep(cap);
        case 2:
            return keep(narrowed(cap, number));
        case 3: // a message may carry only what an assertion keeps alive
            keep(cap);
            return turn.message(side.other, offer(cap));
        case 4:
            return keep(side.other);
        case 5:
            return keep(narrowed(side.other, number));
        case 6:
            ++world.syncs_asked;
            return turn.sync(side.other, [&world](Turn&) { ++world.syncs_answered; });
        }
    };
    auto let_go = [&](Side& side, size_t left) {
        world.in(side, [&side, left](Turn& turn) {
            for (; side.handles.size() > left; side.handles.pop_back())
                turn.retract(side.handles.back());
        });
    };
    while (number < exchanges && world.trouble.empty()) {
        for (int batch = 0; batch < 20; ++batch) {
            Side& side = world.sides[random() % 2];
            world.in(side, [&](Turn& turn) {
                for (int i = 0; i < 50; ++i)
                    exchange(turn, side);
            });
            if (random() % 2) let_go(side, side.handles.size() / 2);
            world.rounds();
        }
        let_go(world.sides[0], 0);
        let_go(world.sides[1], 0);
        world.rounds();
        REQUIRE(world.trouble == "");
        REQUIRE(world.syncs_answered == world.syncs_asked);
        check_nothing_is_left();
    }
    CHECK(world.heard > exchanges * 3 / 4);
}

TEST_CASE("a membrane forgets what its peer narrowed, asserted, sent and synced") {
    World world;
    Side& side = world.sides[0];
    side.space = dataspace::spawn_dataspace(world.engine, "space");
    world.engine.spawn("speaker", [&](Turn& turn) {
        side.keep = dataspace::KeepAlive(Ref<dataspace::Facet>(&turn.current()));
        world.observe(turn, side.space);
    });
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    Fd peer(ends[1]);
    fcntl(peer.get(), F_SETFL, O_NONBLOCK);
    RelayOptions options;
    options.name = "raw";
    options.initial_export = side.space;
    options.on_closed = [&](const std::string& why) { world.trouble += "closed: " + why; };
    side.connection =
        Connection::start(world.engine, *world.loop, Fd(ends[0]), Fd(), std::move(options));
    world.rounds();
    std::string unread(65'536, ' ');
    auto send = [&](const std::string& packets) {
        for (size_t sent = 0; sent < packets.size();) {
            ssize_t count = write(peer.get(), packets.data() + sent, packets.size() - sent);
            if (count > 0) sent += static_cast<size_t>(count);
            world.loop->run_once(false);
            while (read(peer.get(), unread.data(), unread.size()) > 0) {
            }
        }
        world.rounds();
    };
    std::mt19937 random(21);
    for (int done = 0; done < exchanges / 4 && world.trouble.empty();) {
        std::string packets;
        std::vector<int> handles;
        for (int i = 0; i < 1000; ++i) {
            std::string n = std::to_string(++done);
            std::string mine = "#:[0 " + std::to_string(random() % 50 + 1) + "]";
            // The same attenuation now and then, and ever new ones.
            std::string caveat = "<reject <lit " + std::to_string(random() % 2 ? done : 7) + ">>";
            std::string yours = "#:[1 0 " + caveat + "]";
            std::string handle = " " + n + ">]";
            switch (random() % 6) {
            case 0:
                packets += "[[0 <A <offer " + n + " " + mine + ">" + handle + "]";
                handles.push_back(done);
                break;
            case 1:
                packets += "[[0 <A <offer " + n + " " + yours + ">" + handle + "]";
                handles.push_back(done);
                break;
            case 2: // asserted, sent, and gone in one turn
                packets += "[[0 <A <offer " + n + " " + mine + ">" + handle + "[0 <M <offer 0 " +
                           mine + ">>][0 <R " + n + ">]]";
                break;
            case 3:
                packets += "[[0 <M <offer 0 " + yours + ">>]]";
                break;
            case 4:
                packets += "[[0 <S #:[0 99]>]]";
                break;
            case 5: // to what is not there; and a retraction too many
                packets += "[[77 <A <offer " + n + " " + mine + ">" + handle + "[0 <R " + n + ">]]";
                break;
            }
        }
        send(packets);
        packets = "";
        for (int handle : handles)
            packets += "[[0 <R " + std::to_string(handle) + ">]]";
        send(packets);
        REQUIRE(world.trouble == "");
        REQUIRE(side.connection.counts().capabilities == 1);
        REQUIRE(side.connection.counts().pins == 1);
    }
    CHECK(world.heard > exchanges / 8);
}
