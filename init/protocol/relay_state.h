// A relay from within: shared by relay.cpp (its life), relay_input.cpp (what the peer says) and
// relay_output.cpp (what the peer is told).
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "init/base/pointer_table.h"
#include "init/protocol/membrane.h"
#include "init/protocol/packet.h"
#include "init/protocol/packet_writer.h"
#include "init/protocol/relay.h"
#include "init/protocol/send_queue.h"

namespace muster::protocol {

using dataspace::Account;
using dataspace::Cap;
using dataspace::CapRef;
using dataspace::Entity;
using dataspace::Handle;
using dataspace::Loan;
using dataspace::Turn;
using preserves::Value;
using preserves::View;

// The state of a connection, shared with its proxies and with the callbacks that wait for it.
class Relay final : public Counted, private dataspace::Committer {
  public:
    using Oid = Membrane::Oid;

    ~Relay() override { forget_inbound(); }
    Relay(dataspace::Engine& engine, EventLoop& loop, Fd input, Fd output, RelayOptions options)
        : engine_(engine), loop_(loop), input_(std::move(input)), output_(std::move(output)),
          options_(std::move(options)), account_(engine_.accounts().open(options_.name)),
          membrane_([this](Oid oid) { return make_proxy(oid); }, options_.oid_limit),
          writer_(outgoing_.open(), membrane_, options_.text_output), stranger_(options_.stranger) {
    }

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
    // In turns of others: a packet of its own. False if that cannot be.
    bool send_message(const Ref<Account>& account, Oid oid, const Value& body);
    // From the entities that answer syncs.
    void answer_sync(Turn& turn, Oid oid, const Pins& pins);
    // From the entity that a sync of ours is answered at.
    void sync_answered(const Pins& pins);
    const Membrane& membrane() const { return membrane_; }

  private:
    // An assertion of the peer.
    struct Inbound {
        Value name; // the handle that the peer gave it
        Handle handle = 0;
        // There may be millions of us: both in one word.
        uint64_t target : 40 = 0; // an oid, pinned
        uint64_t cost : 24 = 0;   // of `held_`, in steps of 16 bytes
        uint64_t table_hash() const { return name.hash(); }
    };

    CapRef make_proxy(Oid oid);
    void begin_reading(Turn& turn);
    void on_input();
    void resume();
    void process(preserves::Bytes fresh);
    bool skip_ignored(preserves::Bytes& rest);
    bool process_packets(preserves::Bytes& rest);
    void forget_inbound();
    void unpin_references(std::unordered_map<Handle, Pins>& all, Handle handle);
    void handle_packet(Turn& turn, View packet);
    size_t take_plain_packet(preserves::Bytes input);
    bool handle_event(Turn& turn, View event);
    bool handle_assert(Turn& turn, const CapRef& target, Oid oid, View event);
    bool handle_retract(Turn& turn, View event);
    bool handle_message(Turn& turn, const CapRef& target, View event);
    bool handle_sync(Turn& turn, const CapRef& target, View event);
    bool refuse(Turn& turn, std::string problem);
    Result<Value> take_value(View wire, Pins& pins);
    bool is_stranger();

    // Opens an event in this turn's packet, which leaves when the turn commits.
    void open_event(Turn& turn, Oid oid, char label);
    void before_commit(Turn& turn) override { send_packet(turn.account()); }
    void send_packet(const Ref<Account>& account);
    void charge_packet(const Ref<Account>& account, int64_t events);
    void queue_packet(const Ref<Account>& account, int64_t events);
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
    Ref<Account> account_;
    Membrane membrane_;
    SendQueue outgoing_;
    bool flush_scheduled_ = false;
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
    bool stranger_;      // nothing has been given to it yet

    PacketReader reader_;
    std::vector<uint8_t> incoming_; // read and not yet handled
    bool resuming_ = false;
    std::string ignored_until_; // a line of the peer; empty: nothing is ignored

    PointerTable<Inbound> inbound_;
    size_t held_ = 0;             // bytes, by what the peer asserts
    size_t unanswered_syncs_ = 0; // by the peer
    // Pins of the references in assertions, the peer's and those sent to it, that have any.
    std::unordered_map<Handle, Pins> inbound_pins_;
    std::unordered_map<Handle, Pins> outbound_pins_;
};

} // namespace muster::protocol
