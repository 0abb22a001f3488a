// Any bytes from a peer, in pieces over a real socket, at a relay with two dataspaces, a gatekeeper
// and an actor behind it. Whatever the peer does: it is answered in packets, and only it suffers; a
// second connection is served all the time, and of the first one nothing stays.
#include "init/protocol/relay.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_reader.h"
#include "init/protocol/gatekeeper.h"
#include "init/protocol/packet.h"

using namespace muster;
using namespace muster::protocol;
using dataspace::CapRef;
using dataspace::Turn;
using preserves::View;
namespace pat = muster::dataspace::pattern;

namespace {

constexpr size_t turns_a_round = 500;
constexpr int max_rounds = 40;
constexpr std::string_view bound = "<ref {oid: \"syndicate\" key: #\"\"}>";

void require(bool holds) {
    if (!holds) std::abort();
}

// One end of a connection, as a bare descriptor; the other end is a relay's.
class Peer {
  public:
    Peer(dataspace::Engine& engine, EventLoop& loop, RelayOptions options) {
        int ends[2];
        require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        fd_ = Fd(ends[1]);
        options.on_closed = [this](const std::string&) { ++closed_; };
        connection_ = Connection::start(engine, loop, Fd(ends[0]), Fd(), std::move(options));
    }
    ~Peer() {
        connection_ = Connection();
        require(closed_ == 1);
    }

    bool closed() const { return closed_ > 0; }
    void send(std::string_view bytes) {
        require(write(fd_.get(), bytes.data(), bytes.size()) ==
                    static_cast<ssize_t>(bytes.size()) ||
                closed());
    }
    void shut() { shutdown(fd_.get(), SHUT_WR); }

    // All that came; what is whole in it must be packets.
    std::string receive() {
        std::string fresh;
        char buffer[16384];
        for (ssize_t count; (count = read(fd_.get(), buffer, sizeof buffer)) > 0;)
            fresh.append(buffer, static_cast<size_t>(count));
        unread_ += fresh;
        PacketReader reader;
        for (;;) {
            auto state =
                reader.next({reinterpret_cast<const uint8_t*>(unread_.data()), unread_.size()});
            require(state != PacketReader::State::malformed);
            if (state == PacketReader::State::need_more) return fresh;
            View packet = reader.view();
            require(packet.is(preserves::Kind::sequence) || packet.is_record("error", 2));
            unread_.erase(0, reader.consumed());
        }
    }

  private:
    Fd fd_;
    int closed_ = 0;
    std::string unread_;
    Connection connection_;
};

struct World {
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    CapRef space = dataspace::spawn_dataspace(engine, "space");
    CapRef other = dataspace::spawn_dataspace(engine, "other");
    CapRef gatekeeper;
    Ref<dataspace::Facet> host;
    dataspace::KeepAlive keep;
    bool busy = false; // something goes round in circles

    World() {
        signal(SIGPIPE, SIG_IGN);
        engine.set_on_failure([](const dataspace::Actor&, const Error&) {});
        loop->set_after_round([this] { return busy = engine.run(turns_a_round); });
        engine.spawn("host", [this](Turn& turn) {
            host = Ref<dataspace::Facet>(&turn.current());
            keep = dataspace::KeepAlive(host);
            turn.assert_(space, preserves::record("hand", {dataspace::embed(other)}));
            gatekeeper = spawn_gatekeeper(turn, space, Answers::accepted);
            turn.assert_(space, preserves::record("bind", {*preserves::parse_text(bound),
                                                           dataspace::embed(other),
                                                           preserves::boolean(false)}));
            // Speaks to what it is given, and passes it on.
            during(turn, space, pat::record("use", {pat::bind()}), [this](Turn& t, View captures) {
                CapRef cap = dataspace::cap_of(captures.at(0));
                if (!cap) return;
                t.assert_(cap, preserves::record("hand", {dataspace::embed(space)}));
                t.message(cap, preserves::symbol("hello"));
                t.assert_(other, preserves::record("given", {captures.at(0)}));
                t.sync(cap,
                       [this](Turn& later) { later.message(other, preserves::symbol("synced")); });
            });
        });
        rounds();
    }
    ~World() {
        // Dataspaces that observe each other hold each other until they end.
        keep = {};
        if (host->alive()) engine.external(host, [](Turn& turn) { turn.stop_actor(); });
        rounds();
    }

    void rounds() {
        int left = max_rounds;
        do {
            loop->run_once(false);
        } while (--left > max_rounds - 4 || (busy && left > 0));
    }
    RelayOptions options(const char* name, CapRef initial) const {
        RelayOptions options;
        options.name = name;
        options.initial_export = std::move(initial);
        options.max_unsent = 1 << 20;
        return options;
    }
};

} // namespace

// The first byte says how the rest is cut into pieces, and whether it is a gatekeeper that the peer
// speaks to.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
    size_t piece = data[0] % 4 == 0 ? size : 1 + data[0] % 128 * 4u;
    World world;
    size_t before = dataspace::assertion_count(*world.space);
    Peer witness(world.engine, *world.loop, world.options("witness", world.other));
    {
        CapRef initial = data[0] & 0x80 ? world.gatekeeper : world.space;
        Peer peer(world.engine, *world.loop, world.options("peer", std::move(initial)));
        world.rounds();
        while (!input.empty() && !peer.closed()) {
            std::string_view part = input.substr(0, piece);
            input.remove_prefix(part.size());
            peer.send(part);
            world.rounds();
            peer.receive();
        }
        peer.shut();
        world.rounds();
        peer.receive();
        witness.send("[[0 <S #:[0 1]>]]");
        world.rounds();
        if (!world.busy) require(witness.receive().find("[[1, <M #t>]]") != std::string::npos);
    }
    world.rounds();
    require(!witness.closed());
    if (!world.busy) {
        require(dataspace::assertion_count(*world.space) == before);
        require(dataspace::assertion_count(*world.other) == 0);
    }
    return 0;
}
