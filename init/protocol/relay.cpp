#include "init/protocol/relay.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "init/base/pointer_table.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/membrane.h"
#include "init/protocol/packet.h"
#include "init/protocol/packet_writer.h"
#include "init/protocol/send_queue.h"

namespace muster::protocol {

using dataspace::Cap;
using dataspace::CapRef;
using dataspace::Entity;
using dataspace::Handle;
using dataspace::Loan;
using dataspace::Turn;
using preserves::Value;
using preserves::View;

namespace {

constexpr size_t read_size = 65'536;
// What the packets read in one go may leave in the engine's queue before that is worked off: little
// enough to stay in the processor's caches.
constexpr size_t queue_limit = 64;
constexpr size_t bytes_per_event = 512;

} // namespace

// The state of a connection, shared with its proxies and with the callbacks that wait for it.
class Relay final : public Counted, private dataspace::Committer {
  public:
    using Oid = Membrane::Oid;

    ~Relay() override { forget_inbound(); }
    Relay(dataspace::Engine& engine, EventLoop& loop, Fd input, Fd output, RelayOptions options)
        : engine_(engine), loop_(loop), input_(std::move(input)), output_(std::move(output)),
          options_(std::move(options)), account_(engine_.accounts().open(options_.name)),
          membrane_([this](Oid oid) { return make_proxy(oid); }),
          writer_(membrane_, options_.text_output) {}

    void start();
    // Closes without a word to the peer.
    void close(const std::string& reason);
    // Retracts what the peer asserted, if that has not happened.
    void forget();

    // From proxies, in turns of the relay's actor.
    void send_assert(Turn& turn, Oid oid, const Value& value, Handle handle);
    void send_retract(Turn& turn, Oid oid, Handle handle);
    void send_message(Turn& turn, Oid oid, const Value& body);
    void send_sync(Turn& turn, Oid oid, const CapRef& peer);
    // From the entities that answer syncs.
    void answer_sync(Turn& turn, Oid oid, const Pins& pins);
    void release_pins(const Pins& pins) { membrane_.unpin(pins); }
    const Membrane& membrane() const { return membrane_; }

  private:
    // An assertion of the peer.
    struct Inbound {
        Value name; // the handle that the peer gave it
        Handle handle = 0;
        Oid target = 0; // pinned
    };

    CapRef make_proxy(Oid oid);
    void begin_reading(Turn& turn);
    void on_input();
    void resume();
    void process(preserves::Bytes fresh);
    bool process_packets(preserves::Bytes& rest);
    void forget_inbound();
    void unpin_references(std::unordered_map<Handle, Pins>& all, Handle handle);
    void handle_packet(Turn& turn, View packet);
    bool handle_plain_message(Turn& turn, const uint8_t*& at);
    bool take_message(Turn& turn, const CapRef& target, View wire);
    bool handle_event(Turn& turn, View event);
    bool handle_assert(Turn& turn, const CapRef& target, Oid oid, View event);
    bool handle_retract(Turn& turn, View event);
    bool handle_message(Turn& turn, const CapRef& target, View event);
    bool handle_sync(Turn& turn, const CapRef& target, View event);
    bool refuse(Turn& turn, std::string problem);
    Result<Value> take_value(View wire, Pins& pins);

    // Opens an event in this turn's packet, which leaves when the turn commits.
    void open_event(Turn& turn, Oid oid, char label);
    void before_commit(Turn& turn) override;
    void queue_bytes(preserves::Bytes bytes, Loan loan);
    void schedule_flush();
    void flush();
    void fail(const std::string& message, View detail);
    void want_input(bool yes) { input_watch_.want(yes ? uint32_t{EPOLLIN} : 0); }
    int output_fd() const { return output_ ? output_.get() : input_.get(); }

    dataspace::Engine& engine_;
    EventLoop& loop_;
    Fd input_;
    Fd output_; // invalid: the input is a socket and does both
    RelayOptions options_;
    Ref<dataspace::Account> account_;
    Membrane membrane_;
    PacketWriter writer_;
    Ref<dataspace::Facet> facet_;
    dataspace::KeepAlive keep_;
    Watch input_watch_;
    Watch output_watch_;
    Timer stall_;
    Timer unfinished_; // a packet that the peer has begun
    bool closed_ = false;
    bool ended_ = false; // the peer sends no more
    bool deaf_ = false;  // the peer hears no more

    PacketReader reader_;
    std::vector<uint8_t> incoming_; // read and not yet handled
    bool resuming_ = false;

    PointerTable<Inbound> inbound_;
    // Pins of the references in assertions, the peer's and those sent to it, that have any.
    std::unordered_map<Handle, Pins> inbound_pins_;
    std::unordered_map<Handle, Pins> outbound_pins_;

    SendQueue outgoing_;
    bool flush_scheduled_ = false;
};

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
    void on_sync(Turn& turn, const CapRef& peer) override { relay_->send_sync(turn, oid_, peer); }

  private:
    Ref<Relay> relay_;
    uint64_t oid_;
};

// The peer asked for a sync: the answer goes to its oid; until then the oid is pinned.
class SyncAnswer final : public Entity {
  public:
    SyncAnswer(Ref<Relay> relay, uint64_t oid, Pins pins)
        : relay_(std::move(relay)), oid_(oid), pins_(std::move(pins)) {}
    void on_message(Turn& turn, const Value&) override { relay_->answer_sync(turn, oid_, pins_); }

  private:
    Ref<Relay> relay_;
    uint64_t oid_;
    Pins pins_;
};

// We asked the peer for a sync: its answer goes on to who wanted to know.
class SyncQuestion final : public Entity {
  public:
    SyncQuestion(Ref<Relay> relay, CapRef peer)
        : relay_(std::move(relay)), peer_(std::move(peer)) {}
    void set_pins(Pins pins) { pins_ = std::move(pins); }
    void on_message(Turn& turn, const Value& body) override {
        turn.message(peer_, body);
        relay_->release_pins(std::exchange(pins_, {}));
    }

  private:
    Ref<Relay> relay_;
    CapRef peer_;
    Pins pins_;
};

// What names an assertion to the peer: the half of the handle that is unique among the live ones.
uint64_t wire_handle(Handle handle) { return static_cast<uint32_t>(handle); }

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
    if (options_.on_peer) options_.on_peer(turn, membrane_.import_initial());
}

void Relay::on_input() {
    if (closed_) return;
    if (!account_->clear()) {
        want_input(false); // until the debts are paid
        return;
    }
    uint8_t buffer[read_size]; // on the stack: of what is not used no page is touched
    ssize_t count = read(input_.get(), buffer, read_size);
    if (count > 0) {
        unfinished_.cancel();
        process({buffer, static_cast<size_t>(count)});
    } else if (count == 0 || errno == ECONNRESET) {
        // ECONNRESET: it went without reading what it was sent last.
        ended_ = true;
        input_watch_.cancel(); // it would report the end for ever
        process({});
    } else if (errno != EAGAIN && errno != EINTR) {
        close(std::string("read: ") + strerror(errno));
    }
}

void Relay::resume() {
    resuming_ = false;
    if (closed_ || !account_->clear()) return;
    want_input(true);
    process({});
}

// Handles what was left over and what is fresh, as long as the account is clear. What the peer sent
// before it went counts as well, so the end of input is the last thing that is handled.
void Relay::process(preserves::Bytes fresh) {
    Ref<Relay> self(this);
    // What is fresh is handled where it is, and copied only if something of it has to wait.
    const bool copied = !incoming_.empty();
    if (copied) incoming_.insert(incoming_.end(), fresh.begin(), fresh.end());
    preserves::Bytes rest = copied ? preserves::Bytes(incoming_) : fresh;
    const bool waiting = process_packets(rest);
    if (closed_) return;
    if (!copied)
        incoming_.assign(rest.begin(), rest.end());
    else if (rest.empty())
        incoming_ = {}; // a connection at rest costs no buffer
    else
        incoming_.erase(incoming_.begin(), incoming_.end() - static_cast<ptrdiff_t>(rest.size()));
    if (waiting && !incoming_.empty() && options_.max_stall)
        unfinished_ = loop_.after(options_.max_stall, [self] {
            self->fail("too slow", preserves::string("an unfinished packet"));
        });
    if (waiting && ended_)
        close(incoming_.empty() ? "" : "the peer ended in the middle of a packet");
}

// Handles the packets in `rest`, and leaves there what could not be. True if that waits for more
// input, false if it waits for the account or the connection is closed.
bool Relay::process_packets(preserves::Bytes& rest) {
    while (account_->clear()) {
        PacketReader::State state = reader_.next(rest);
        if (state == PacketReader::State::malformed) {
            fail(reader_.problem(), preserves::boolean(false));
            return false;
        }
        const bool whole = state == PacketReader::State::packet;
        if ((whole ? reader_.consumed() : rest.size()) > options_.packet_limit) {
            fail("packet too large",
                 preserves::integer(static_cast<int64_t>(options_.packet_limit)));
            return false;
        }
        rest = rest.subspan(reader_.consumed());
        if (!whole) return true;
        writer_.set_text(reader_.text());
        engine_.run_now(
            facet_, [this](Turn& turn) { handle_packet(turn, reader_.view()); }, account_);
        if (engine_.queued() > queue_limit || !account_->clear()) engine_.run(1'000);
        if (closed_) return false;
    }
    return false;
}

bool Relay::refuse(Turn& turn, std::string problem) {
    turn.fail(Error{}); // said by `on_closed`
    fail(problem, preserves::boolean(false));
    return false;
}

void Relay::handle_packet(Turn& turn, View packet) {
    if (packet.is(preserves::Kind::sequence)) {
        size_t events = 0;
        const uint8_t* at = packet.bytes().data() + 1;
        while (*at != preserves::tag::end) {
            if (++events > max_turn_events) {
                refuse(turn, "too many events in a turn");
                return;
            }
            if (handle_plain_message(turn, at)) continue;
            const uint8_t* const end = preserves::skip_value(at);
            if (turn.failed() || !handle_event(turn, View(preserves::Bytes(at, end), false)))
                return;
            at = end;
        }
        return;
    }
    if (packet.is_record("error", 2)) {
        std::string message = preserves::to_text(packet.at(0));
        turn.stop_actor();
        close("the peer reports an error: " + message);
        return;
    }
    bool nop = packet.as_bool() == false;
    bool extension = packet.is(preserves::Kind::record);
    if (!nop && !extension) refuse(turn, "not a packet: expected a turn, an error or a record");
}

// `[oid <M body>]` as nearly all messages are: in canonical form, with a small oid. If that is what
// begins at `at`, handles it and goes behind it.
bool Relay::handle_plain_message(Turn& turn, const uint8_t*& at) {
    namespace tag = preserves::tag;
    if (at[0] != tag::sequence || at[1] != tag::integer || at[2] > 2) return false;
    const size_t digits = at[2];
    Oid oid = 0;
    for (size_t i = 0; i < digits; ++i)
        oid = oid << 8 | at[3 + i];
    if (digits > 0 && at[3] >= 0x80) return false;
    const uint8_t* action = at + 3 + digits;
    if (action[0] != tag::record || action[1] != tag::symbol || action[2] != 1 || action[3] != 'M')
        return false;
    const uint8_t* const body = action + 4;
    if (*body == tag::end) return false;
    const uint8_t* const end = preserves::skip_value(body);
    if (end[0] != tag::end || end[1] != tag::end) return false; // more fields than needed
    if (!take_message(turn, membrane_.exported(oid), View(preserves::Bytes(body, end), false)))
        return false;
    at = end + 2;
    return true;
}

bool Relay::handle_event(Turn& turn, View event) {
    View first;
    View action;
    if (event.is(preserves::Kind::sequence)) {
        auto item = event.items().begin();
        if (item != std::default_sentinel) {
            first = *item;
            if (++item != std::default_sentinel) action = *item;
        }
    }
    const auto oid = first.as_int();
    if (!oid || !action.is(preserves::Kind::record))
        return refuse(turn, "not an event: expected [oid event]");
    // Oids that are unknown here belong to what is gone: dropped, as upstream does.
    const Oid number = static_cast<Oid>(*oid);
    const CapRef target = membrane_.exported(number);
    if (action.is_record("M", 1)) return handle_message(turn, target, action);
    if (action.is_record("A", 2)) return handle_assert(turn, target, number, action);
    if (action.is_record("R", 1)) return handle_retract(turn, action);
    if (action.is_record("S", 1)) return handle_sync(turn, target, action);
    return refuse(turn, "unknown event: expected A, R, M or S");
}

// A part of the packet as a value of ours; the pins of the references in it go into `pins`.
Result<Value> Relay::take_value(View wire, Pins& pins) {
    if (!reader_.has_embedded()) return Value(wire);
    membrane_.collect_into(&pins);
    Result<Value> value = preserves::decode_packed(wire.bytes(), &membrane_);
    membrane_.collect_into(nullptr);
    return value;
}

bool Relay::handle_assert(Turn& turn, const CapRef& target, Oid oid, View event) {
    View name = event.at(1);
    if (!name.is(preserves::Kind::integer)) return refuse(turn, "a handle must be an integer");
    const uint64_t hash = name.hash();
    auto same = [&](Inbound& each) { return each.name.view() == name; };
    if (inbound_.find(hash, same)) return refuse(turn, "assertion with duplicate handle");
    if (inbound_.size() >= options_.handle_limit) return refuse(turn, "too many live handles");
    Pins pins;
    Result<Value> value = take_value(event.at(0), pins);
    if (!value) return refuse(turn, value.error().message);
    bool exceeded = false; // what is no pattern is data, but limits are told
    if (value->view().is_record("Observe", 2))
        (void)dataspace::Pattern::parse(value->view().at(0), &exceeded).ok();
    if (exceeded) return refuse(turn, "pattern: too many nodes, or an index too large");
    const Handle handle = target ? turn.assert_(target, *value) : 0;
    if (handle == 0) {
        membrane_.unpin(pins); // unknown target, or the caveats filtered it
        return true;
    }
    membrane_.pin({Pin::Side::exported, oid});
    auto inbound = std::make_unique<Inbound>();
    inbound->name = Value(name);
    inbound->handle = handle;
    inbound->target = oid;
    if (!pins.empty()) inbound_pins_.emplace(handle, std::move(pins));
    inbound_.insert(hash, inbound.release());
    return true;
}

bool Relay::handle_retract(Turn& turn, View event) {
    View name = event.at(0);
    const uint64_t hash = name.hash();
    Inbound* found = inbound_.find(hash, [&](Inbound& each) { return each.name.view() == name; });
    if (!found) return true; // filtered when it was asserted
    std::unique_ptr<Inbound> inbound(found);
    inbound_.erase(hash, found);
    turn.retract(inbound->handle);
    membrane_.unpin({Pin::Side::exported, inbound->target});
    unpin_references(inbound_pins_, inbound->handle);
    return true;
}

void Relay::forget_inbound() {
    inbound_.for_each([](Inbound& each) { delete &each; });
    inbound_ = {};
}

bool Relay::handle_message(Turn& turn, const CapRef& target, View event) {
    return take_message(turn, target, event.at(0));
}

bool Relay::take_message(Turn& turn, const CapRef& target, View wire) {
    if (!reader_.has_embedded()) {
        turn.message(target, Value(wire));
        return true;
    }
    Pins pins;
    Result<Value> body = take_value(wire, pins);
    if (!body) return refuse(turn, body.error().message);
    if (!pins.empty() && membrane_.is_transient(pins))
        return refuse(turn, "cannot receive transient reference");
    if (target) turn.message(target, *body);
    membrane_.unpin(pins);
    return true;
}

bool Relay::handle_sync(Turn& turn, const CapRef& target, View event) {
    Pins pins;
    preserves::Bytes bytes = event.at(0).bytes();
    // syndicate-py (0.19.3) embeds it twice: #:#:[0 oid].
    if (bytes[0] == preserves::tag::embedded && bytes[1] == bytes[0]) bytes = bytes.subspan(1);
    Result<Value> peer = take_value(View(bytes, false), pins);
    if (!peer) return refuse(turn, peer.error().message);
    if (!peer->is(preserves::Kind::embedded) || pins.empty())
        return refuse(turn, "a sync needs a reference");
    // Answered at the peer's oid by way of an entity of ours, which frees the pins.
    Oid oid = pins[0].oid;
    if (pins[0].side != Pin::Side::imported)
        return refuse(turn, "a sync needs a reference of the peer");
    CapRef answer = turn.make_cap(make_ref<SyncAnswer>(Ref<Relay>(this), oid, std::move(pins)));
    if (target)
        turn.sync(target, answer);
    else
        turn.message(answer, preserves::boolean(true));
    return true;
}

void Relay::answer_sync(Turn& turn, Oid oid, const Pins& pins) {
    send_message(turn, oid, preserves::boolean(true));
    membrane_.unpin(pins);
}

// Packets grow while a turn runs and leave when it commits.

void Relay::open_event(Turn& turn, Oid oid, char label) {
    if (writer_.events() == 0) turn.before_commit(*this);
    writer_.open_event(oid, label);
}

void Relay::before_commit(Turn& turn) {
    const auto events = static_cast<int64_t>(writer_.events());
    if (events == 0) return; // closed meanwhile
    preserves::Bytes packet = writer_.finish();
    // Large ones count as several, so that credit bounds the memory that unsent packets take.
    const auto size = static_cast<int64_t>(packet.size() / bytes_per_event);
    queue_bytes(packet, Loan(options_.max_unsent ? account_ : turn.account(), events + size));
}

void Relay::send_assert(Turn& turn, Oid oid, const Value& value, Handle handle) {
    if (closed_) return;
    open_event(turn, oid, 'A');
    Pins pins;
    membrane_.collect_into(&pins);
    writer_.field(value);
    membrane_.collect_into(nullptr);
    writer_.field(wire_handle(handle));
    writer_.close_event();
    // The note says whether there was anything to pin: the peer may have let go of the oid.
    const bool pinned = membrane_.pin({Pin::Side::imported, oid});
    turn.note(handle) = pinned ? static_cast<void*>(this) : static_cast<void*>(&membrane_);
    if (!pins.empty()) outbound_pins_.emplace(handle, std::move(pins));
}

void Relay::send_retract(Turn& turn, Oid oid, Handle handle) {
    // Without a note it never reached us: the turn that made it failed.
    const void* note = turn.note(handle);
    if (closed_ || !note) return;
    open_event(turn, oid, 'R');
    writer_.field(wire_handle(handle));
    writer_.close_event();
    if (note == this) membrane_.unpin({Pin::Side::imported, oid});
    unpin_references(outbound_pins_, handle);
}

void Relay::unpin_references(std::unordered_map<Handle, Pins>& all, Handle handle) {
    auto found = all.find(handle);
    if (found == all.end()) return;
    const Pins pins = std::move(found->second);
    all.erase(found);
    membrane_.unpin(pins);
}

void Relay::send_message(Turn& turn, Oid oid, const Value& body) {
    if (closed_) return;
    Pins pins;
    if (body.has_embedded()) {
        // A reference may only travel in a message if an assertion keeps it alive: nothing tells
        // the peer when it may forget it.
        std::vector<uint8_t> probe;
        membrane_.collect_into(&pins);
        preserves::encode_packed(body, &membrane_, probe);
        membrane_.collect_into(nullptr);
        bool transient = membrane_.is_transient(pins);
        if (transient) {
            membrane_.unpin(pins);
            turn.fail(Error{options_.name + ": a message with a transient reference"});
            return;
        }
    }
    open_event(turn, oid, 'M');
    membrane_.collect_into(&pins);
    writer_.field(body);
    membrane_.collect_into(nullptr);
    writer_.close_event();
    membrane_.unpin(pins);
}

void Relay::send_sync(Turn& turn, Oid oid, const CapRef& peer) {
    if (closed_) return;
    auto question = make_ref<SyncQuestion>(Ref<Relay>(this), peer);
    Value reference = dataspace::embed(turn.make_cap(question));
    open_event(turn, oid, 'S');
    Pins pins;
    membrane_.collect_into(&pins);
    writer_.field(reference);
    membrane_.collect_into(nullptr);
    writer_.close_event();
    question->set_pins(std::move(pins));
}

void Relay::queue_bytes(preserves::Bytes bytes, Loan loan) {
    if (closed_ || deaf_) return;
    outgoing_.add(bytes, std::move(loan));
    schedule_flush();
    if (!options_.max_unsent || outgoing_.backlog() <= options_.max_unsent) return;
    loop_.defer([self = Ref<Relay>(this)] {
        self->flush();
        if (self->outgoing_.backlog() > self->options_.max_unsent)
            self->fail("too slow", preserves::string("too many bytes unsent"));
    });
}

// All that is queued in one round of the loop leaves in one write.
void Relay::schedule_flush() {
    if (flush_scheduled_ || output_watch_) return;
    flush_scheduled_ = true;
    loop_.defer([self = Ref<Relay>(this)] {
        self->flush_scheduled_ = false;
        self->flush();
    });
}

void Relay::flush() {
    if (closed_) return;
    Ref<Relay> self(this); // repaying may wake who closes us
    uint64_t before = outgoing_.total_sent();
    Result<bool> all = outgoing_.flush(output_fd());
    if (closed_) return;
    if (!all && !all.error().message.empty()) {
        close(all.error().message);
        return;
    }
    // A peer that is gone may have said something before, which is still to be read.
    deaf_ = deaf_ || !all;
    if (deaf_) outgoing_.clear();
    if (deaf_ || *all) {
        stall_.cancel();
        output_watch_.cancel();
        return;
    }
    bool progress = outgoing_.total_sent() != before;
    if (options_.max_stall && (progress || !stall_.pending())) {
        stall_ = loop_.after(options_.max_stall,
                             [self] { self->fail("too slow", preserves::string("no progress")); });
    }
    if (output_watch_) return;
    // A descriptor can be watched only once: a duplicate waits for room.
    if (!output_) output_ = Fd(fcntl(input_.get(), F_DUPFD_CLOEXEC, 0));
    auto watch = loop_.watch(output_fd(), EPOLLOUT, [self](uint32_t) { self->flush(); });
    if (watch)
        output_watch_ = std::move(*watch);
    else
        close(watch.error().message);
}

// Tells the peer what was wrong, as far as it still listens, and closes.
void Relay::fail(const std::string& message, View detail) {
    if (closed_) return;
    Ref<Relay> self(this);
    outgoing_.cut(writer_.error(message, detail));
    (void)outgoing_.flush(output_fd()).ok();
    close(message);
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
