#include "init/protocol/listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <unordered_map>

#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"

namespace muster::protocol {

using dataspace::CapRef;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

namespace {

constexpr int backlog = 128;
// Between two attempts to listen: it grows, since the one before may just be going.
constexpr uint64_t first_retry = 100 * millisecond;
constexpr uint64_t longest_retry = 10 * second;
constexpr uint64_t accept_pause = second; // when there are no descriptors left

Result<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        return Error{path + ": not a usable path for a socket"};
    path.copy(address.sun_path, path.size());
    return address;
}

// Whether somebody accepts connections there.
bool answers(const sockaddr_un& address) {
    Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    auto* raw = reinterpret_cast<const sockaddr*>(&address);
    // EAGAIN: somebody does, and has too many waiting.
    return connect(probe.get(), raw, sizeof address) == 0 || errno == EAGAIN;
}

Result<Fd> listen_on(const std::string& path, mode_t mode) {
    Result<sockaddr_un> address = address_of(path);
    if (!address) return address.error();
    Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return system_error("socket", errno);
    auto* raw = reinterpret_cast<const sockaddr*>(&*address);
    // Nobody may connect before the mode is right: the socket is made without any permission.
    mode_t old_mask = umask(0777);
    int bound = bind(fd.get(), raw, sizeof *address);
    if (bound != 0 && errno == EADDRINUSE) {
        if (answers(*address)) {
            umask(old_mask);
            return Error{path + ": somebody else listens there"};
        }
        unlink(path.c_str());
        bound = bind(fd.get(), raw, sizeof *address);
    }
    int error_number = errno;
    umask(old_mask);
    if (bound != 0) return system_error("bind " + path, error_number);
    if (chmod(path.c_str(), mode) != 0) return system_error("chmod " + path, errno);
    if (listen(fd.get(), backlog) != 0) return system_error("listen " + path, errno);
    return fd;
}

} // namespace

struct UnixListener::State {
    dataspace::Engine& engine;
    EventLoop& loop;
    std::string path;
    ListenerOptions options;
    Fd fd;
    Watch watch;
    Timer pause;
    uint64_t next_peer = 1;
    std::unordered_map<uint64_t, Connection> connections;

    void accept_one();
};

void UnixListener::State::accept_one() {
    Fd peer(accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer) {
        bool passing = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
        if (passing) return;
        if (options.report) options.report("accept " + path + ": " + strerror(errno));
        watch.want(0); // who waits there would be reported again at once
        pause = loop.after(accept_pause, [this] { watch.want(EPOLLIN); });
        return;
    }
    uint64_t number = next_peer++;
    RelayOptions relay;
    relay.name = options.name + " client " + std::to_string(number);
    relay.initial_export = options.export_;
    relay.max_unsent = options.max_unsent;
    relay.max_stall = options.max_stall;
    relay.on_closed = [this, number, name = relay.name](const std::string& reason) {
        if (!reason.empty() && options.report) options.report(name + ": " + reason);
        // Not now: it is the connection that calls.
        loop.defer([this, number] { connections.erase(number); });
    };
    connections[number] = Connection::start(engine, loop, std::move(peer), Fd(), std::move(relay));
}

UnixListener::UnixListener(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<UnixListener>> UnixListener::listen(dataspace::Engine& engine,
                                                           EventLoop& loop, const std::string& path,
                                                           ListenerOptions options) {
    Result<Fd> fd = listen_on(path, options.mode);
    if (!fd) return fd.error();
    auto state = std::unique_ptr<State>(
        new State{engine, loop, path, std::move(options), *std::move(fd), {}, {}, 1, {}});
    State* raw = state.get();
    auto watch = loop.watch(state->fd.get(), EPOLLIN, [raw](uint32_t) { raw->accept_one(); });
    if (!watch) return watch.error();
    state->watch = *std::move(watch);
    return std::unique_ptr<UnixListener>(new UnixListener(std::move(state)));
}

UnixListener::~UnixListener() {
    state_->watch.cancel();
    unlink(state_->path.c_str());
    // Connections report their end to the state, which must outlive that.
    std::shared_ptr<State> state = std::move(state_);
    state->options.report = nullptr;
    auto connections = std::move(state->connections);
    state->connections.clear();
    connections.clear();
    state->loop.defer([state] {});
}

namespace {

// One relay-listener service.
struct ListenerService final : Counted {
    std::unique_ptr<UnixListener> listener;
    Timer retry;
    dataspace::Handle state = 0;
    dataspace::Handle ready = 0;
    dataspace::KeepAlive keep;
    uint64_t delay = first_retry;
    bool reported = false;
};

void try_to_listen(Turn& turn, EventLoop& loop, const CapRef& config, const Value& name,
                   const ListenerOptions& options, const Ref<ListenerService>& service) {
    auto say = [&](std::string_view word) {
        return turn.assert_(config,
                            preserves::record("service-state", {name, preserves::symbol(word)}));
    };
    std::string path(*name.view().at(0).at(0).as_string());
    auto listener = UnixListener::listen(turn.engine(), loop, path, options);
    if (listener) {
        service->listener = *std::move(listener);
        dataspace::Handle started = say("started");
        turn.retract(std::exchange(service->state, started));
        service->ready = say("ready");
        return;
    }
    if (!service->reported && options.report) options.report(listener.error().message);
    service->reported = true;
    if (!service->state) service->state = say("failed");
    Ref<dataspace::Facet> facet(&turn.current());
    service->retry =
        loop.after(std::exchange(service->delay, std::min(service->delay * 2, longest_retry)),
                   [facet, &loop, config, name, options, service, &engine = turn.engine()] {
                       engine.external(facet, [&loop, config, name, options, service](Turn& later) {
                           try_to_listen(later, loop, config, name, options, service);
                       });
                   });
}

} // namespace

void serve_relay_listeners(Turn& turn, EventLoop& loop, const CapRef& config,
                           ListenerOptions defaults) {
    Value pattern =
        pat::record("run-service",
                    {pat::bind(pat::record("relay-listener", {pat::record("unix", {pat::discard()}),
                                                              pat::discard()}))});
    during(turn, config, pattern, [&loop, config, defaults](Turn& inner, View seen) {
        Value name(seen.at(0));
        CapRef target = dataspace::cap_of(seen.at(0).at(1));
        if (!target || !seen.at(0).at(0).at(0).as_string()) return;
        auto service = make_ref<ListenerService>();
        service->keep = dataspace::KeepAlive(Ref<dataspace::Facet>(&inner.current()));
        ListenerOptions options = defaults;
        options.export_ = target;
        inner.on_stop([service](Turn&) {
            service->retry.cancel();
            service->listener.reset();
            service->keep = {};
        });
        try_to_listen(inner, loop, config, name, options, service);
    });
}

} // namespace muster::protocol
