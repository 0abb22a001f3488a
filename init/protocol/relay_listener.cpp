#include "init/protocol/relay_listener.h"

#include <sys/stat.h>

#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/gatekeeper.h"
#include "init/protocol/listener_service.h"
#include "init/protocol/sockets.h"

namespace muster::protocol {

using dataspace::CapRef;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

namespace {

bool is_socket(const std::string& path) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

class RelayListener {
  public:
    RelayListener(View address, CapRef target, const RelayListeners& options)
        : address_(address), target_(std::move(target)), options_(options),
          bus_(options.bus && target_ == options.bus && address.is_record("unix", 1)) {}

    ListenerService service(const CapRef& config) const {
        ListenerService service;
        service.config = config;
        service.name = preserves::record("relay-listener", {address_, dataspace::embed(target_)});
        service.report = options_.report;
        service.open = [self = *this](ListenerOptions& listener) { return self.open(listener); };
        service.admit = [target = target_](int) {
            RelayOptions relay;
            relay.initial_export = target;
            relay.stranger = is_gatekeeper(target);
            return relay;
        };
        if (bus_) service.admit = options_.admit_to_bus;
        return service;
    }

  private:
    Result<Fd> open(ListenerOptions& listener) const {
        View address = address_;
        if (auto path = address.at(0).as_string(); path && address.is_record("unix", 1)) {
            listener.name = bus_ ? "bus" : *path;
            std::string file(*path);
            listener.at_end = [file] { unlink(file.c_str()); };
            std::optional<mode_t> mode;
            if (bus_) mode = options_.bus_mode;
            // Without its file nobody finds a socket.
            return kept(listener, file, is_socket(file), [&] { return listen_unix(file, mode); });
        }
        auto host = address.at(0).as_string();
        auto port = address.at(1).as_int();
        if (host && port && address.is_record("tcp", 2)) {
            listener.name = "tcp " + std::string(*host) + " " + std::to_string(*port);
            listener.tcp = true;
            if (options_.bus && target_ == options_.bus && options_.report)
                options_.report(listener.name +
                                ": serves $config: who connects commands this system");
            return kept(listener, listener.name, true,
                        [&] { return listen_tcp(std::string(*host), *port); });
        }
        return Error{"relay-listener " + preserves::to_text(address) +
                     ": expected <unix \"path\"> or <tcp \"host\" port>"};
    }

    // What was kept of this address and is USABLE, or a new one, which is kept from now on.
    template <typename Listen>
    Result<Fd> kept(ListenerOptions& listener, const std::string& address, bool usable,
                    Listen listen) const {
        const FdKeeper& keeper = options_.keeper;
        if (!keeper) return listen();
        const std::string name = kept_socket_name("relay", address);
        listener.at_end = [drop = keeper.drop, name, also = std::move(listener.at_end)] {
            if (also) also();
            drop(name);
        };
        if (Fd before = keeper.take(name)) {
            if (usable) return before;
            keeper.drop(name);
        }
        Result<Fd> fresh = listen();
        // Without it who connects then is refused.
        if (fresh) (void)keeper.store(name, fresh->get());
        return fresh;
    }

    Value address_;
    CapRef target_;
    RelayListeners options_;
    bool bus_;
};

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
               run_listener(inner, loop,
                            RelayListener(seen.at(0), target, *shared).service(config));
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
