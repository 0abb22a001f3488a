#include "init/protocol/relay.h"

#include <fcntl.h>

#include "init/protocol/relay_state.h"

namespace muster::protocol {

namespace {

// Stands for an entity of the peer.
class Proxy final : public Entity {
  public:
    Proxy(Ref<Relay> relay, uint64_t oid) : relay_(std::move(relay)), oid_(oid) {}
    void on_assert(Turn& turn, const Value& value, Handle handle) override {
        relay_->send_assert(turn, oid_, value, handle);
    }
    void on_retract(Turn& turn, Handle handle) override {
        relay_->send_retract(turn, oid_, handle);
    }
    void on_message(Turn& turn, const Value& body) override {
        relay_->send_message(turn, oid_, body);
    }
    bool take_message(const Ref<Account>& account, const Value& body) override {
        return relay_->send_message(account, oid_, body);
    }
    void on_sync(Turn& turn, const CapRef& peer) override { relay_->send_sync(turn, oid_, peer); }

  private:
    Ref<Relay> relay_;
    uint64_t oid_;
};

void make_non_blocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

} // namespace

CapRef Relay::make_proxy(Oid oid) {
    Ref<Entity> entity;
    if (oid == UINT64_MAX)
        entity = make_ref<Entity>();
    else
        entity = make_ref<Proxy>(Ref<Relay>(this), oid);
    return make_ref<Cap>(facet_, std::move(entity));
}

void Relay::start() {
    Ref<Relay> self(this);
    make_non_blocking(input_.get());
    if (output_) make_non_blocking(output_.get());
    Ref<dataspace::Actor> actor = engine_.spawn(
        "relay " + options_.name, [self](Turn& turn) { self->begin_reading(turn); }, account_);
    facet_ = Ref<dataspace::Facet>(&actor->root());
    keep_ = dataspace::KeepAlive(facet_);
}

void Relay::begin_reading(Turn& turn) {
    if (closed_) {
        turn.stop_actor();
        return;
    }
    Ref<Relay> self(this);
    turn.on_exit(
        [self](const Error* error) { self->close(error ? error->message : std::string()); });
    account_->set_on_clear([this] {
        if (closed_ || std::exchange(resuming_, true)) return;
        loop_.next_round([self = Ref<Relay>(this)] { self->resume(); });
    });
    if (options_.initial_export) membrane_.export_initial(options_.initial_export);
    auto watch = loop_.watch(input_.get(), EPOLLIN, [self](uint32_t) { self->on_input(); });
    if (!watch) {
        turn.fail(watch.error().with_context(options_.name));
        return;
    }
    input_watch_ = std::move(*watch);
    if (options_.resume != 0) {
        // The newline ends a packet of which it got a part.
        std::string number = std::to_string(options_.resume);
        std::string call = "\n<resume " + number + ">\n";
        ignored_until_ = "<resumed " + number + ">";
        outgoing_.open().append(call.data(), call.size());
        queue_packet({}, 0);
    }
    if (options_.on_peer) options_.on_peer(turn, membrane_.import_initial());
}

void Relay::close(const std::string& reason) {
    if (std::exchange(closed_, true)) return;
    Ref<Relay> self(this);
    input_watch_.cancel();
    output_watch_.cancel();
    stall_.cancel();
    unfinished_.cancel();
    account_->set_on_clear(nullptr);
    outgoing_.clear();
    input_.reset();
    output_.reset();
    if (!options_.linger) forget();
    forget_inbound();
    inbound_pins_.clear();
    outbound_pins_.clear();
    membrane_.clear();
    auto on_closed = std::move(options_.on_closed);
    options_.on_closed = nullptr;
    options_.on_peer = nullptr;
    options_.initial_export = nullptr;
    if (on_closed) on_closed(reason);
}

void Relay::forget() {
    keep_ = dataspace::KeepAlive();
    if (facet_->alive()) engine_.external(facet_, [](Turn& turn) { turn.stop_actor(); });
}

Connection::Connection() = default;
Connection::Connection(Ref<Relay> relay) : relay_(std::move(relay)) {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&& other) noexcept {
    if (relay_ != other.relay_) end();
    relay_ = std::move(other.relay_);
    return *this;
}
Connection::~Connection() { end(); }

Connection::Counts Connection::counts() const {
    return {relay_->membrane().size(), relay_->membrane().pins()};
}

void Connection::end() {
    if (!relay_) return;
    relay_->close("");
    relay_->forget();
}

Connection Connection::start(dataspace::Engine& engine, EventLoop& loop, Fd input, Fd output,
                             RelayOptions options) {
    auto relay =
        make_ref<Relay>(engine, loop, std::move(input), std::move(output), std::move(options));
    relay->start();
    return Connection(relay);
}

} // namespace muster::protocol
