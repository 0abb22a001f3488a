#include "init/protocol/listener_service.h"

#include <algorithm>

namespace muster::protocol {

using dataspace::Turn;

namespace {

// Between two attempts to listen: it grows, since the one before may just be going.
constexpr uint64_t first_retry = 100 * millisecond;
constexpr uint64_t longest_retry = 10 * second;

class Runner final : public Counted {
  public:
    Runner(Turn& turn, EventLoop& loop, ListenerService service)
        : loop_(loop), service_(std::move(service)), facet_(&turn.current()), keep_(facet_) {}

    void stop() {
        retry_.cancel();
        listener_.reset();
        facet_ = nullptr;
        keep_ = {};
    }

    void try_to_listen(Turn& turn) {
        Result<> listening = listen(turn.engine());
        if (listening) {
            dataspace::Handle started = say(turn, "started");
            turn.retract(std::exchange(state_, started));
            say(turn, "ready");
            return;
        }
        if (!std::exchange(reported_, true) && service_.report)
            service_.report(listening.error().message);
        if (!state_) state_ = say(turn, "failed");
        Ref<Runner> self(this);
        retry_ = loop_.after(std::exchange(delay_, std::min(delay_ * 2, longest_retry)),
                             [self, &engine = turn.engine()] {
                                 engine.external(self->facet_,
                                                 [self](Turn& t) { self->try_to_listen(t); });
                             });
    }

  private:
    dataspace::Handle say(Turn& turn, std::string_view state) {
        return turn.assert_(
            service_.config,
            preserves::record("service-state", {service_.name, preserves::symbol(state)}));
    }

    Result<> listen(dataspace::Engine& engine) {
        ListenerOptions options;
        Result<Fd> fd = service_.open(options);
        if (!fd) return fd.error();
        options.admit = service_.admit;
        options.report = service_.report;
        auto started = Listener::start(engine, loop_, *std::move(fd), std::move(options));
        if (!started) return started.error();
        listener_ = *std::move(started);
        return {};
    }

    EventLoop& loop_;
    ListenerService service_;
    Ref<dataspace::Facet> facet_;
    dataspace::KeepAlive keep_;
    std::unique_ptr<Listener> listener_;
    Timer retry_;
    dataspace::Handle state_ = 0;
    uint64_t delay_ = first_retry;
    bool reported_ = false;
};

} // namespace

void run_listener(Turn& turn, EventLoop& loop, ListenerService service) {
    auto runner = make_ref<Runner>(turn, loop, std::move(service));
    turn.on_stop([runner](Turn&) { runner->stop(); });
    runner->try_to_listen(turn);
}

} // namespace muster::protocol
