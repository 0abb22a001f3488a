#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/relay_state.h"

namespace muster::protocol {

namespace {

constexpr size_t read_size = 65'536;
// What the packets read in one go may leave in the engine's queue before that is worked off: little
// enough to stay in the processor's caches.
constexpr size_t queue_limit = 64;
// What an assertion takes besides its own bytes, at least.
constexpr size_t assertion_cost = 64;
constexpr size_t cost_step = 16;

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

} // namespace

void Relay::on_input() {
    if (closed_) return;
    if (!account_->clear()) {
        want_input(false);    // until the debts are paid
        unfinished_.cancel(); // it is us who do not go on
        return;
    }
    uint8_t buffer[read_size]; // on the stack: of what is not used no page is touched
    // The beginning of a packet that is here already goes before the rest of it.
    const size_t begun = incoming_.size() <= read_size / 4 ? incoming_.size() : 0;
    std::copy_n(incoming_.begin(), begun, buffer);
    ssize_t count = read(input_.get(), buffer + begun, read_size - begun);
    if (count > 0) {
        unfinished_.cancel();
        if (begun > 0) incoming_.clear();
        process({buffer, begun + static_cast<size_t>(count)});
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
    const bool waiting = skip_ignored(rest) || process_packets(rest);
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
    if (!waiting || !ended_) return;
    // It may have closed only its own direction and wait for the answer to what it said last.
    engine_.run(1'000);
    flush();
    close(incoming_.empty() ? "" : "the peer ended in the middle of a packet");
}

// Takes from `rest` what was meant for the relay before us. True if the line that ends it is still
// to come.
bool Relay::skip_ignored(preserves::Bytes& rest) {
    while (!ignored_until_.empty()) {
        const auto* end = static_cast<const uint8_t*>(std::memchr(rest.data(), '\n', rest.size()));
        if (end == nullptr) {
            // Of a line that is longer than the one we wait for only its end matters.
            if (rest.size() > options_.packet_limit) rest = rest.last(1);
            return true;
        }
        const auto size = static_cast<size_t>(end - rest.data());
        std::string_view line(reinterpret_cast<const char*>(rest.data()), size);
        if (line == ignored_until_) ignored_until_.clear();
        rest = rest.subspan(size + 1);
    }
    return false;
}

// Handles the packets in `rest`, and leaves there what could not be. True if that waits for more
// input, false if it waits for the account or the connection is closed.
bool Relay::process_packets(preserves::Bytes& rest) {
    while (account_->clear()) {
        if (size_t taken = take_plain_packet(rest)) {
            rest = rest.subspan(taken);
            if (engine_.queued() > queue_limit) engine_.run(1'000);
            if (closed_) return false;
            continue;
        }
        PacketReader::State state = reader_.next(rest);
        if (state == PacketReader::State::malformed) {
            fail(reader_.problem(), preserves::boolean(false));
            return false;
        }
        const bool whole = state == PacketReader::State::packet;
        const size_t limit = is_stranger() ? std::min(max_stranger_packet, options_.packet_limit)
                                           : options_.packet_limit;
        if ((whole ? reader_.consumed() : rest.size()) > limit) {
            fail("packet too large", preserves::integer(static_cast<int64_t>(limit)));
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

bool Relay::is_stranger() {
    stranger_ = stranger_ && membrane_.is_initial();
    return stranger_;
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
            const uint8_t* const end = preserves::skip_value(at);
            if (!handle_event(turn, View(preserves::Bytes(at, end), false))) return;
            at = end;
        }
        return;
    }
    // With anything else in its first field it is an extension.
    if (packet.is_record("error", 2) && packet.at(0).is(preserves::Kind::string)) {
        std::string message = preserves::to_text(packet.at(0));
        turn.stop_actor();
        close("the peer reports an error: " + message);
        return;
    }
    bool nop = packet.as_bool() == false;
    bool extension = packet.is(preserves::Kind::record);
    if (!nop && !extension) refuse(turn, "not a packet: expected a turn, an error or a record");
}

// `[[oid <M body>]]` with a small oid and without references, as most packets are by far. If the
// input begins with one, it is handled, and its size is the result; else 0.
size_t Relay::take_plain_packet(preserves::Bytes input) {
    namespace tag = preserves::tag;
    constexpr size_t least = 16; // more than what is looked at before the body
    if (input.size() < least || reader_.begun()) return 0;
    const uint8_t* at = input.data();
    if (at[0] != tag::sequence || at[1] != tag::sequence || at[2] != tag::integer || at[3] > 2)
        return 0;
    const size_t digits = at[3];
    if (digits > 0 && (at[4] >= 0x80 || (at[4] == 0 && digits == 1))) return 0;
    Oid oid = 0;
    for (size_t i = 0; i < digits; ++i)
        oid = oid << 8 | at[4 + i];
    at += 4 + digits;
    if (at[0] != tag::record || at[1] != tag::symbol || at[2] != 1 || at[3] != 'M') return 0;
    const size_t before = static_cast<size_t>(at + 4 - input.data());
    const size_t size = preserves::scan_plain(input.subspan(before));
    if (size == 0 || size > options_.packet_limit || input.size() - before - size < 3) return 0;
    const uint8_t* const end = input.data() + before + size;
    if (end[0] != tag::end || end[1] != tag::end || end[2] != tag::end) return 0;
    writer_.set_text(false);
    const CapRef target = membrane_.exported(oid);
    Value body = Value::from_canonical(input.subspan(before, size));
    if (!engine_.pass_on(target, std::move(body), account_))
        engine_.run_now(
            facet_, [&](Turn& turn) { turn.message(target, body); }, account_);
    return before + size + 3;
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
    const size_t steps = (value->view().bytes().size() + assertion_cost) / cost_step;
    if (held_ + steps * cost_step > (is_stranger() ? max_stranger_bytes : options_.held_limit))
        return refuse(turn, "too many bytes asserted");
    const Handle handle = target ? turn.assert_(target, *value) : 0;
    if (handle == 0) {
        membrane_.unpin(pins); // unknown target, or the caveats filtered it
        return true;
    }
    membrane_.pin({Pin::Side::exported, oid});
    auto inbound = std::make_unique<Inbound>();
    inbound->name = Value(name);
    inbound->handle = handle;
    inbound->target = oid & ((uint64_t{1} << 40) - 1);
    inbound->cost = steps & ((uint64_t{1} << 24) - 1);
    held_ += steps * cost_step;
    if (!pins.empty()) inbound_pins_.emplace(handle, std::move(pins));
    inbound_.insert(hash, inbound.release());
    return true;
}

bool Relay::handle_retract(Turn& turn, View event) {
    View name = event.at(0);
    if (!name.is(preserves::Kind::integer)) return refuse(turn, "a handle must be an integer");
    const uint64_t hash = name.hash();
    Inbound* found = inbound_.find(hash, [&](Inbound& each) { return each.name.view() == name; });
    if (!found) return true; // filtered when it was asserted
    std::unique_ptr<Inbound> inbound(found);
    inbound_.erase(hash, found);
    held_ -= inbound->cost * cost_step;
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
    Pins pins;
    Result<Value> body = take_value(event.at(0), pins);
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

} // namespace muster::protocol
