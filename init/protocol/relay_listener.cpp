#include "init/protocol/relay_listener.h"

#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/sockets.h"

namespace muster::protocol {

using dataspace::CapRef;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

namespace {

// Between two attempts to listen: it grows, since the one before may just be going.
constexpr uint64_t first_retry = 100 * millisecond;
constexpr uint64_t longest_retry = 10 * second;

class ListenerService final : public Counted {
  public:
    ListenerService(EventLoop& loop, CapRef config, View address, CapRef target,
                    const RelayListeners& options)
        : loop_(loop), config_(std::move(config)), address_(address), target_(std::move(target)),
          options_(options) {}

    void try_to_listen(Turn& turn);
    void stop() {
        retry_.cancel();
        listener_.reset();
        keep_ = {};
    }
    void keep(Turn& turn) { keep_ = dataspace::KeepAlive(Ref<dataspace::Facet>(&turn.current())); }

  private:
    dataspace::Handle say(Turn& turn, std::string_view state) {
        Value name = preserves::record("relay-listener", {address_, dataspace::embed(target_)});
        return turn.assert_(config_,
                            preserves::record("service-state", {name, preserves::symbol(state)}));
    }
    Result<> listen(dataspace::Engine& engine);
    Result<Fd> open(ListenerOptions& listener);

    EventLoop& loop_;
    CapRef config_;
    Value address_;
    CapRef target_;
    const RelayListeners options_;
    std::unique_ptr<Listener> listener_;
    Timer retry_;
    dataspace::Handle state_ = 0;
    dataspace::KeepAlive keep_;
    uint64_t delay_ = first_retry;
    bool reported_ = false;
};

Result<Fd> ListenerService::open(ListenerOptions& listener) {
    View address = address_;
    bool bus = options_.bus && target_ == options_.bus;
    listener.admit = [target = target_](int) {
        RelayOptions relay;
        relay.initial_export = target;
        return relay;
    };
    if (auto path = address.at(0).as_string(); path && address.is_record("unix", 1)) {
        listener.name = bus ? "bus" : *path;
        listener.remove = *path;
        if (!bus) return listen_unix(std::string(*path));
        listener.admit = options_.admit_to_bus;
        return listen_unix(std::string(*path), options_.bus_mode);
    }
    auto host = address.at(0).as_string();
    auto port = address.at(1).as_int();
    if (host && port && address.is_record("tcp", 2)) {
        listener.name = "tcp " + std::string(*host) + " " + std::to_string(*port);
        listener.tcp = true;
        if (bus && options_.report)
            options_.report(listener.name + ": serves $config: who connects commands this system");
        return listen_tcp(std::string(*host), *port);
    }
    return Error{"relay-listener " + preserves::to_text(address) +
                 ": expected <unix \"path\"> or <tcp \"host\" port>"};
}

Result<> ListenerService::listen(dataspace::Engine& engine) {
    ListenerOptions listener;
    Result<Fd> fd = open(listener);
    if (!fd) return fd.error();
    listener.report = options_.report;
    auto started = Listener::start(engine, loop_, *std::move(fd), std::move(listener));
    if (!started) return started.error();
    listener_ = *std::move(started);
    return {};
}

void ListenerService::try_to_listen(Turn& turn) {
    Result<> listening = listen(turn.engine());
    if (listening) {
        dataspace::Handle started = say(turn, "started");
        turn.retract(std::exchange(state_, started));
        say(turn, "ready");
        return;
    }
    if (!std::exchange(reported_, true) && options_.report)
        options_.report(listening.error().message);
    if (!state_) state_ = say(turn, "failed");
    Ref<dataspace::Facet> facet(&turn.current());
    Ref<ListenerService> self(this);
    retry_ = loop_.after(std::exchange(delay_, std::min(delay_ * 2, longest_retry)),
                         [self, facet, &engine = turn.engine()] {
                             engine.external(facet, [self](Turn& t) { self->try_to_listen(t); });
                         });
}

} // namespace

void serve_relay_listeners(Turn& turn, EventLoop& loop, const CapRef& config,
                           RelayListeners options) {
    auto listener = [](std::initializer_list<View> fields) {
        return pat::record("run-service", {pat::record("relay-listener", fields)});
    };
    auto shared = std::make_shared<RelayListeners>(std::move(options));
    // By its two fields: what has a third one besides is the same service.
    during(turn, config, listener({pat::bind(), pat::bind()}),
           [&loop, config, shared](Turn& inner, View seen) {
               CapRef target = dataspace::cap_of(seen.at(1));
               if (!target) return;
               auto service = make_ref<ListenerService>(loop, config, seen.at(0), target, *shared);
               service->keep(inner);
               inner.on_stop([service](Turn&) { service->stop(); });
               service->try_to_listen(inner);
           });
    observe(turn, config, listener({pat::bind(), pat::discard(), pat::discard()}),
            [shared](Turn&, View seen) {
                if (shared->report)
                    shared->report("relay-listener " + preserves::to_text(seen.at(0)) +
                                   ": HTTP is not served: its third field is ignored");
            },
            {});
}

} // namespace muster::protocol
