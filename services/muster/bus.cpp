#include "services/muster/bus.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdio>

#include "init/base/event_loop.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/sockets.h"
#include "services/muster/notation.h"

namespace muster::command {

using protocol::Client;
using protocol::Reference;
namespace pat = dataspace::pattern;

namespace {

Ref<Reference> reference_of(View value) {
    return Ref<Reference>(static_cast<Reference*>(value.as_embedded()));
}

} // namespace

Result<Fd> connect_to_bus(const std::string& path, const std::string& what) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return Error{path + ": too long for a socket"};
    path.copy(address.sun_path, path.size());
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) return system_error("socket", errno);
    // Nobody may be there to accept, and others may wait already, as many as can.
    timeval limit{.tv_sec = Bus::silence / second, .tv_usec = 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
        if (errno == EAGAIN) return Error{what + " " + path + " does not answer"};
        // Of what is there and is no socket the kernel says the same as of one without a listener.
        int error = errno;
        struct stat about {};
        if (error == ECONNREFUSED && ::stat(path.c_str(), &about) == 0 && !S_ISSOCK(about.st_mode))
            error = ENOTSOCK;
        return system_error("cannot reach " + what + " " + path, error);
    }
    limit = {};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return socket;
}

Result<std::unique_ptr<Bus>> Bus::connect(const std::string& path, bool repeat, uint64_t absence,
                                          uint64_t patience) {
    // Who expects another second stage knows that one will come.
    const uint64_t longest_restart = (repeat ? 30 : 3) * second;
    const uint64_t start = monotonic_now();
    Result<Fd> socket = connect_to_bus(path);
    // Whoever takes a socket's name over removes it first; who ends for good removes it too.
    auto being_started = [&] {
        const int error = socket.error().number;
        const uint64_t limit = error == ECONNREFUSED ? longest_restart
                               : error == ENOENT     ? absence
                                                     : 0;
        return monotonic_now() - start < limit;
    };
    for (bool said = false; !socket && being_started();) {
        if (!said && monotonic_now() - start >= silence) {
            said = true;
            std::fprintf(stderr, "muster: nobody listens at the system bus %s; waiting\n",
                         path.c_str());
        }
        poll(nullptr, 0, 2);
        socket = connect_to_bus(path);
    }
    if (!socket) return socket.error();
    std::unique_ptr<Bus> bus(new Bus(*std::move(socket)));
    bus->loss_expected_ = repeat;
    bus->config_ = bus->client_.root();
    Bus* raw = bus.get();
    Client::Handler handler;
    handler.asserted = [raw](const Value& seen, Client::Handle) {
        auto name = seen.view().at(0).as_symbol();
        Ref<Reference> capability = reference_of(seen.view().at(1));
        if (name && capability) raw->capabilities_[std::string(*name)] = capability;
    };
    bus->client_.observe(bus->config_, pat::record("capability", {pat::bind(), pat::bind()}),
                         std::move(handler));
    const uint64_t connected = monotonic_now();
    Result<bool> settled = bus->settle_until(connected + silence);
    if (settled && !*settled && patience > silence) {
        std::fprintf(stderr, "muster: the system bus %s does not answer; waiting\n", path.c_str());
        settled = bus->settle_until(connected + patience);
    }
    if (!settled) return settled.error();
    if (!*settled) return Error{"the system bus " + path + " does not answer"};
    return bus;
}

namespace {

// A blocking socket to it.
Result<Fd> connect_to(View transport, uint64_t deadline) {
    Result<Fd> socket = protocol::begin_connect(transport);
    if (!socket && socket.error().message.empty())
        return Error{preserves::to_text(transport) + ": not a transport that is known"};
    if (!socket) return socket.error();
    pollfd poll_for{.fd = socket->get(), .events = POLLOUT, .revents = 0};
    for (int ready = 0; ready <= 0;) {
        uint64_t now = monotonic_now();
        if (deadline && now >= deadline)
            return Error{preserves::to_text(transport) + ": no connection in time"};
        uint64_t left = deadline ? (deadline - now) / millisecond + 1 : 1'000'000;
        ready = poll(&poll_for, 1, static_cast<int>(std::min<uint64_t>(left, 1'000'000)));
    }
    Result<> done = protocol::connected(socket->get(), transport);
    if (!done) return done.error();
    fcntl(socket->get(), F_SETFL, fcntl(socket->get(), F_GETFL) & ~O_NONBLOCK);
    return socket;
}

} // namespace

Result<std::unique_ptr<Bus>> Bus::resolve(const std::string& path, View route, uint64_t deadline) {
    std::unique_ptr<Bus> bus;
    Error last;
    for (View transport : route.at(0).items()) {
        Result<Fd> socket = connect_to(transport, deadline);
        if (socket) {
            bus.reset(new Bus(*std::move(socket)));
            bus->config_ = bus->client_.root();
            break;
        }
        last = socket.error();
    }
    if (!bus && route.at(0).count() > 0) return last;
    if (!bus) {
        auto system = connect(path);
        if (!system) return system.error();
        bus = *std::move(system);
        bus->config_ = bus->capability("gatekeeper");
        if (!bus->config_) return Error{"the system bus grants no gatekeeper"};
    }
    for (size_t i = 1; i < route.count(); ++i) {
        Result<> followed = bus->follow(route.at(i), deadline);
        if (!followed) return followed.error();
    }
    bus->capabilities_ = {{"config", bus->config_}};
    return bus;
}

Result<> Bus::follow(View step, uint64_t deadline) {
    struct Answer {
        Value value;
        Client::Handle handle = 0;
    };
    auto answer = std::make_shared<Answer>();
    Client::Handler handler;
    handler.asserted = [answer](const Value& seen, Client::Handle handle) {
        if (!answer->value.valid()) *answer = {seen, handle};
    };
    handler.retracted = [this, answer](Client::Handle handle) {
        if (handle == answer->handle) withdrawn_ = true;
    };
    Value observer = preserves::embedded(client_.export_entity(std::move(handler)));
    client_.assert_(config_, preserves::record("resolve", {step, observer}));
    Result<bool> done = run_until([&] { return answer->value.valid(); }, deadline);
    if (!done) return done.error();
    if (!*done) return Error{"nothing is bound for it"};
    View said = answer->value.view();
    if (said.is_record("rejected", 1) || said.is_record("error", 1))
        return Error{"rejected: " + preserves::to_text(said.at(0))};
    config_ = reference_of(said.at(0));
    bool accepted = said.is_record("accepted", 1) || said.is_record("ok", 1);
    if (!accepted || !config_)
        return Error{"the gatekeeper's answer is none: " + preserves::to_text(said)};
    return {};
}

Ref<Reference> Bus::capability(const std::string& name) const {
    if (name == (is_root() ? "config" : "status")) return config_;
    auto found = capabilities_.find(name);
    return found == capabilities_.end() ? Ref<Reference>() : found->second;
}

Result<bool> Bus::run_until(const std::function<bool()>& done, uint64_t deadline) {
    for (;;) {
        if (Result<> flushed = flush(); !flushed) return flushed.error();
        if (done()) return true;
        if (deadline) {
            uint64_t now = monotonic_now();
            if (now >= deadline) return false;
            pollfd poll_for{.fd = client_.input_fd(), .events = POLLIN, .revents = 0};
            uint64_t left = (deadline - now) / millisecond + 1;
            int ready = poll(&poll_for, 1, static_cast<int>(std::min<uint64_t>(left, 1'000'000)));
            if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
        }
        if (Result<> received = receive(); !received) return received.error();
        if (withdrawn_) return Error{"what was resolved has been withdrawn"};
    }
}

Result<> Bus::flush() {
    Result<bool> flushed = client_.flush();
    if (flushed) return {};
    // Why it takes no more may be what it said last.
    pollfd poll_for{.fd = client_.input_fd(), .events = POLLIN, .revents = 0};
    while (poll(&poll_for, 1, 0) == 1)
        if (Result<> received = receive(); !received) return received.error();
    return loss(flushed.error());
}

Result<> Bus::receive() {
    Result<bool> alive = client_.receive();
    if (!alive) return loss(alive.error());
    if (!*alive) return loss(Error{Client::closed});
    return {};
}

// What the peer itself reports as an error is no loss.
Error Bus::loss(Error error) {
    const std::string& text = error.message;
    lost_ = text.starts_with("read: ") || text.starts_with("write: ") || text == Client::closed;
    return lost_ && loss_expected_ ? Error{} : error;
}

Result<> Bus::settle() {
    Result<bool> done = settle_until(0);
    if (!done) return done.error();
    return {};
}

Result<bool> Bus::settle_until(uint64_t deadline) {
    // Once for what was sent, once more for what the supervisor said about it.
    for (int round = 0; round < 2; ++round) {
        auto synced = std::make_shared<bool>(false); // the answer may come after the deadline
        client_.sync(config_, [synced] { *synced = true; });
        Result<bool> done = run_until([&] { return *synced; }, deadline);
        if (!done || !*done) return done;
    }
    return true;
}

Result<std::vector<Value>> Bus::query(const std::vector<std::string>& spaces,
                                      const Value& pattern) {
    std::map<std::string, Value> found;
    auto follower = Follower::start(*this, spaces, pattern,
                                    {.appeared =
                                         [&](View value) {
                                             auto bytes = value.bytes();
                                             found.emplace(std::string(bytes.begin(), bytes.end()),
                                                           Value(value));
                                         },
                                     // What was replaced meanwhile.
                                     .gone =
                                         [&](View value) {
                                             auto bytes = value.bytes();
                                             found.erase(std::string(bytes.begin(), bytes.end()));
                                         },
                                     .message = {}});
    size_t answers = 0;
    size_t asked = 0;
    for (const std::string& space : spaces) {
        Ref<Reference> target = capability(space);
        if (!target) continue;
        ++asked;
        client_.sync(target, [&answers] { ++answers; });
    }
    Result<bool> done = run_until([&] { return answers == asked; });
    follower->stop(*this);
    if (!done) return done.error();
    std::vector<Value> values;
    for (const auto& [bytes, value] : found)
        values.push_back(value);
    return values;
}

Ref<Follower> Follower::start(Bus& bus, const std::vector<std::string>& spaces,
                              const Value& pattern, Events events) {
    auto follower = make_ref<Follower>();
    Result<dataspace::Pattern> filter = dataspace::Pattern::parse(pattern);
    if (!filter) return follower;
    auto wanted = std::make_shared<dataspace::Pattern>(*std::move(filter));
    follower->events_ = std::move(events);
    Value whole = pat::bind(harmless(pattern));
    bus.client().begin();
    for (size_t i = 0; i < spaces.size(); ++i) {
        Ref<Reference> space = bus.capability(spaces[i]);
        if (!space) continue;
        Client::Handler handler;
        handler.asserted = [follower, wanted, i](const Value& seen, Client::Handle handle) {
            View value = seen.view().at(0);
            if (!wanted->matches(value)) return;
            follower->by_handle_[{i, handle}] = Value(value);
            auto bytes = value.bytes();
            if (follower->copies_[std::string(bytes.begin(), bytes.end())]++ == 0 &&
                follower->events_.appeared)
                follower->events_.appeared(value);
        };
        handler.retracted = [follower, i](Client::Handle handle) {
            auto found = follower->by_handle_.find({i, handle});
            if (found == follower->by_handle_.end()) return;
            Value value = std::move(found->second);
            follower->by_handle_.erase(found);
            auto copies =
                follower->copies_.find(std::string(value.bytes().begin(), value.bytes().end()));
            if (--copies->second > 0) return;
            follower->copies_.erase(copies);
            if (follower->events_.gone) follower->events_.gone(value);
        };
        handler.message = [follower, wanted](const Value& seen) {
            View value = seen.view().at(0);
            if (wanted->matches(value) && follower->events_.message)
                follower->events_.message(value);
        };
        follower->observations_.push_back(bus.client().observe(space, whole, std::move(handler)));
    }
    bus.client().commit();
    return follower;
}

void Follower::stop(Bus& bus) {
    events_ = {};
    bus.client().begin();
    for (Client::Handle handle : observations_)
        bus.client().retract(handle);
    bus.client().commit();
    observations_.clear();
}

} // namespace muster::command
