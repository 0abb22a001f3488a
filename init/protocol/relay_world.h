// For tests of relays: an engine with a dataspace, and peers that are bare descriptors.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "init/dataspace/dataspace.h"
#include "init/protocol/relay.h"

namespace muster::protocol {

struct RelayWorld {
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    dataspace::CapRef space = dataspace::spawn_dataspace(engine, "space");
    std::vector<std::string> said; // of what was dropped beyond a bound

    RelayWorld() {
        signal(SIGPIPE, SIG_IGN);
        engine.set_on_failure([](const dataspace::Actor&, const Error&) {});
        engine.set_on_exceeded([this](const dataspace::Actor& actor, dataspace::Bound bound) {
            said.push_back(actor.name() + ": " + to_string(bound));
        });
        loop->set_after_round([this] { return engine.run(); });
        rounds();
    }
    // Some rounds of the loop, which end what small packets begin.
    void rounds(int count = 8) {
        while (--count >= 0)
            loop->run_once(false);
    }
    size_t count() const { return dataspace::assertion_count(*space); }
};

// One end of a connection with the dataspace.
class RelayPeer {
  public:
    explicit RelayPeer(RelayWorld& world, RelayOptions options = {}) : world_(world) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
        if (options.name.empty()) options.name = "peer";
        if (!options.initial_export) options.initial_export = world.space;
        options.on_closed = [this](const std::string& reason) {
            closed_ = true;
            reason_ = reason;
        };
        fd_ = Fd(ends[1]);
        fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
        connection_ =
            Connection::start(world.engine, *world.loop, Fd(ends[0]), Fd(), std::move(options));
        world.rounds();
    }

    bool closed() const { return closed_; }
    const std::string& reason() const { return reason_; }
    int fd() const { return fd_.get(); }
    void hang_up() { fd_.reset(); }

    // How much of `bytes` the socket took at once.
    size_t offer(std::string_view bytes) {
        ssize_t count = write(fd_.get(), bytes.data(), bytes.size());
        return count > 0 ? static_cast<size_t>(count) : 0;
    }
    // All of it, while the relay takes it. False if it does not.
    bool send(std::string_view bytes, size_t piece = 1 << 20) {
        for (int idle = 0; !bytes.empty() && !closed_ && idle < 1'000;) {
            size_t taken = offer(bytes.substr(0, piece));
            bytes.remove_prefix(taken);
            idle = taken ? 0 : idle + 1;
            world_.loop->run_once(false);
        }
        world_.rounds();
        return bytes.empty();
    }
    // What is there now, at most so much.
    std::string receive(size_t most = static_cast<size_t>(-1)) {
        std::string all;
        char buffer[16384];
        while (all.size() < most) {
            ssize_t count = read(fd_.get(), buffer, std::min(sizeof buffer, most - all.size()));
            if (count <= 0) break;
            all.append(buffer, static_cast<size_t>(count));
        }
        return all;
    }
    // Whether it is served: it asks, and is answered at its oid NUMBER.
    bool is_served(int number) {
        send("[[0 <S #:[0 " + std::to_string(number) + "]>]]");
        return receive().find("[[" + std::to_string(number) + ", <M #t>]]") != std::string::npos;
    }

  private:
    RelayWorld& world_;
    Fd fd_;
    bool closed_ = false;
    std::string reason_;
    Connection connection_;
};

} // namespace muster::protocol
