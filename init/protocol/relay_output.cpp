#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>

#include "init/preserves/encoder.h"
#include "init/protocol/relay_state.h"

namespace muster::protocol {

namespace {

// Packets of this size count as one event more for each.
constexpr size_t bytes_per_event = 512;

// We asked the peer for a sync: its answer goes on to who wanted to know.
class SyncQuestion final : public Entity {
  public:
    SyncQuestion(Ref<Relay> relay, CapRef peer)
        : relay_(std::move(relay)), peer_(std::move(peer)) {}
    void set_pins(Pins pins) { pins_ = std::move(pins); }
    void on_message(Turn& turn, const Value& body) override {
        turn.message(peer_, body);
        if (!pins_.empty()) relay_->sync_answered(std::exchange(pins_, {}));
    }

  private:
    Ref<Relay> relay_;
    CapRef peer_;
    Pins pins_;
};

// Doubles what a socket takes, which the kernel does to the size that it is given.
void make_room(int fd) {
    int size = 0;
    socklen_t length = sizeof size;
    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length) == 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, length);
}

// What names an assertion to the peer: the half of the handle that is unique among the live ones.
uint64_t wire_handle(Handle handle) { return static_cast<uint32_t>(handle); }

} // namespace

void Relay::open_event(Turn& turn, Oid oid, char label) {
    if (writer_.events() == 0) turn.before_commit(*this);
    writer_.open_event(oid, label);
}

void Relay::send_packet(const Ref<Account>& account) {
    const auto events = static_cast<int64_t>(writer_.events());
    if (events == 0) return; // closed meanwhile
    writer_.finish();
    charge_packet(account, events);
}

void Relay::charge_packet(const Ref<Account>& account, int64_t events) {
    // Large ones count as several, so that credit bounds the memory that unsent packets take.
    const auto size = static_cast<int64_t>(outgoing_.open_size() / bytes_per_event);
    queue_packet(options_.max_unsent ? account_ : account, events + size);
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

bool Relay::send_message(const Ref<Account>& account, Oid oid, const Value& body) {
    if (closed_ || body.has_embedded() || writer_.events() != 0) return false;
    writer_.message(oid, body);
    charge_packet(account, 1);
    return true;
}

void Relay::send_sync(Turn& turn, Oid oid, const CapRef& peer) {
    if (closed_) return;
    if (unanswered_syncs_ >= std::min(max_unanswered_syncs, options_.oid_limit)) {
        loop_.defer([self = Ref<Relay>(this)] {
            self->fail("too slow", preserves::string("too many syncs unanswered"));
        });
        return;
    }
    ++unanswered_syncs_;
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

void Relay::sync_answered(const Pins& pins) {
    --unanswered_syncs_;
    membrane_.unpin(pins);
}

void Relay::queue_packet(const Ref<Account>& account, int64_t events) {
    if (closed_ || deaf_) {
        outgoing_.drop_open();
        return;
    }
    outgoing_.add(account, events);
    if (!flush_scheduled_ && !output_watch_) schedule_flush();
    if (!options_.max_unsent || outgoing_.backlog() <= options_.max_unsent) return;
    loop_.defer([self = Ref<Relay>(this)] {
        self->flush();
        if (self->outgoing_.backlog() > self->options_.max_unsent)
            self->fail("too slow", preserves::string("too many bytes unsent"));
    });
}

// All that is queued in one round of the loop leaves in one write.
void Relay::schedule_flush() {
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

// Tells the peer what was wrong, as far as it still listens, and closes. Who does not read finds it
// behind what was there to read.
void Relay::fail(const std::string& message, View detail) {
    if (closed_) return;
    Ref<Relay> self(this);
    outgoing_.cut();
    writer_.error(message, detail);
    outgoing_.add({}, 0);
    if (Result<bool> all = outgoing_.flush(output_fd()); all && !*all) {
        make_room(output_fd());
        (void)outgoing_.flush(output_fd()).ok();
    }
    close(message);
}

} // namespace muster::protocol
