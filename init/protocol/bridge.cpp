#include "init/protocol/bridge.h"

#include <unistd.h>

#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/listener_service.h"
#include "init/protocol/sockets.h"

namespace muster::protocol {

using dataspace::CapRef;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

namespace {

// What the other machine may leave unread, and for how long: longer than a network may be silent.
constexpr size_t max_unsent = 16 * 1024 * 1024; // bytes
constexpr uint64_t max_stall = 60 * second;

} // namespace

void serve_bridges(Turn& turn, EventLoop& loop, const CapRef& config,
                   std::function<void(const std::string&)> report) {
    Value pattern = pat::record("run-service", {pat::record("bridge", {pat::bind(), pat::bind()})});
    during(turn, config, pattern, [&loop, config, report](Turn& inner, View seen) {
        Value path(seen.at(0));
        CapRef target = dataspace::cap_of(seen.at(1));
        if (!target) return;
        ListenerService service;
        service.config = config;
        service.name = preserves::record("bridge", {path, dataspace::embed(target)});
        service.report = report;
        service.open = [path](ListenerOptions& listener) -> Result<Fd> {
            auto text = path.view().as_string();
            if (!text) return Error{"bridge " + preserves::to_text(path) + ": expected \"PATH\""};
            listener.name = "bridge " + std::string(*text);
            std::string file(*text);
            listener.at_end = [file] { unlink(file.c_str()); };
            return listen_unix(file, 0600);
        };
        service.admit = [config, path, target](int) {
            RelayOptions relay;
            relay.initial_export = target;
            relay.max_unsent = max_unsent;
            relay.max_stall = max_stall;
            relay.on_peer = [config, path](Turn& peer_turn, const CapRef& peer) {
                Value other = preserves::record("bridge-peer", {path, dataspace::embed(peer)});
                peer_turn.assert_(config, other);
            };
            return relay;
        };
        run_listener(inner, loop, std::move(service));
    });
}

} // namespace muster::protocol
