#include "init/protocol/listener.h"

#include <sys/socket.h>

#include <cerrno>
#include <unordered_map>

#include "init/preserves/text_writer.h"
#include "init/protocol/sockets.h"

namespace muster::protocol {

namespace {

constexpr uint64_t accept_pause = second; // when there are no descriptors left
// How long a peer that is turned away may take to close, having been told.
constexpr uint64_t farewell = 2 * second;
// How many may take that long at a time; more are told and closed at once.
constexpr size_t max_farewells = 64;
constexpr char no_http[] = "HTTP/1.1 503 Service Unavailable\r\n"
                           "Content-Length: 0\r\nConnection: close\r\n\r\n";

// A method of HTTP begins like this, and no packet does.
bool begins_http(char byte) { return byte >= 'A' && byte <= 'Z'; }

} // namespace

struct Listener::State {
    // A peer that has not spoken yet, or was turned away.
    struct Stranger {
        Fd fd;
        Watch watch;
        Timer timer;
    };

    dataspace::Engine& engine;
    EventLoop& loop;
    ListenerOptions options;
    Fd fd;
    Watch watch;
    Timer pause;
    uint64_t next_peer = 1;
    std::unordered_map<uint64_t, Stranger> strangers; // not spoken yet
    std::unordered_map<uint64_t, Stranger> refused;   // turned away
    std::unordered_map<uint64_t, Connection> connections;

    std::string name_of(uint64_t peer) const {
        return options.name + " client " + std::to_string(peer);
    }
    void report(const std::string& line) const {
        if (options.report) options.report(line);
    }
    void accept_one();
    void await_first_byte(uint64_t number, Fd peer);
    void first_byte(uint64_t number);
    void turn_away(uint64_t number, Fd peer, std::string_view words);
    void admit(uint64_t number, Fd peer);
};

void Listener::State::accept_one() {
    Fd peer(accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer) {
        bool passing = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
        if (passing) return;
        report("accept " + options.name + ": " + strerror(errno));
        watch.want(0); // who waits there would be reported again at once
        pause = loop.after(accept_pause, [this] { watch.want(EPOLLIN); });
        return;
    }
    uint64_t number = next_peer++;
    if (options.tcp) {
        prepare_tcp(peer.get());
        await_first_byte(number, std::move(peer));
    } else {
        admit(number, std::move(peer));
    }
}

void Listener::State::await_first_byte(uint64_t number, Fd peer) {
    auto first = loop.watch(peer.get(), EPOLLIN, [this, number](uint32_t) { first_byte(number); });
    if (!first) {
        report(name_of(number) + ": " + first.error().message);
        return;
    }
    strangers[number] = {std::move(peer), *std::move(first), {}};
}

void Listener::State::first_byte(uint64_t number) {
    Stranger stranger = std::move(strangers[number]);
    strangers.erase(number);
    stranger.watch.cancel();
    char byte;
    if (recv(stranger.fd.get(), &byte, 1, MSG_PEEK) != 1) return; // it went without a word
    if (!begins_http(byte)) {
        admit(number, std::move(stranger.fd));
        return;
    }
    report("refuse " + options.name + ": speaks HTTP, which is not served here");
    turn_away(number, std::move(stranger.fd), no_http);
}

// Says `words`, then waits a while for the peer to close: what it sends meanwhile is read, since
// closing a socket with unread data would take back what was said.
void Listener::State::turn_away(uint64_t number, Fd peer, std::string_view words) {
    (void)send(peer.get(), words.data(), words.size(), MSG_NOSIGNAL);
    if (refused.size() >= max_farewells) return;
    shutdown(peer.get(), SHUT_WR);
    auto rest = loop.watch(peer.get(), EPOLLIN, [this, number](uint32_t) {
        char buffer[4096];
        ssize_t count = recv(refused[number].fd.get(), buffer, sizeof buffer, 0);
        if (count == 0 || (count < 0 && errno != EAGAIN)) refused.erase(number);
    });
    if (!rest) return;
    Timer timer = loop.after(farewell, [this, number] { refused.erase(number); });
    refused[number] = {std::move(peer), *std::move(rest), std::move(timer)};
}

void Listener::State::admit(uint64_t number, Fd peer) {
    Result<RelayOptions> admitted = options.admit(peer.get());
    if (!admitted) {
        report("refuse " + options.name + ": " + admitted.error().message);
        auto problem = preserves::record(
            "error", {preserves::string(admitted.error().message), preserves::boolean(false)});
        turn_away(number, std::move(peer), preserves::to_text(problem) + "\n");
        return;
    }
    RelayOptions relay = *std::move(admitted);
    if (relay.name.empty()) relay.name = name_of(number);
    relay.on_closed = [this, number, name = relay.name,
                       also = std::move(relay.on_closed)](const std::string& reason) {
        if (also) also(reason);
        if (!reason.empty()) report(name + ": " + reason);
        // Not now: it is the connection that calls.
        loop.defer([this, number] { connections.erase(number); });
    };
    connections[number] = Connection::start(engine, loop, std::move(peer), Fd(), std::move(relay));
}

Listener::Listener(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Listener>> Listener::start(dataspace::Engine& engine, EventLoop& loop, Fd fd,
                                                  ListenerOptions options) {
    auto state = std::unique_ptr<State>(
        new State{engine, loop, std::move(options), std::move(fd), {}, {}, 1, {}, {}, {}});
    State* raw = state.get();
    auto watch = loop.watch(state->fd.get(), EPOLLIN, [raw](uint32_t) { raw->accept_one(); });
    if (!watch) {
        if (state->options.at_end) state->options.at_end();
        return watch.error();
    }
    state->watch = *std::move(watch);
    return std::unique_ptr<Listener>(new Listener(std::move(state)));
}

Listener::~Listener() {
    state_->watch.cancel();
    state_->pause.cancel();
    if (state_->options.at_end) state_->options.at_end();
    state_->strangers.clear();
    state_->refused.clear();
    // Connections report their end to the state, which must outlive that.
    std::shared_ptr<State> state = std::move(state_);
    state->options.report = nullptr;
    auto connections = std::move(state->connections);
    state->connections.clear();
    connections.clear();
    state->loop.defer([state] {});
}

} // namespace muster::protocol
