// A small peer: for programs that talk to a dataspace without having an engine of their own
// (`muster`, `netlink`). Same protocol as relay.h, binary syntax unless told otherwise.
//
// The client writes packets into a buffer: `begin`/`commit` make one Turn of what is said in
// between, so that the other side handles it as one. `flush` writes, `receive` reads and calls the
// handlers of what was exported. Capabilities in received values are Reference objects; to send a
// capability of ours embed what `export_entity` gave.
//
// The client never blocks on its own: `receive` reads once from a descriptor that may block or
// not, as the caller set it.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "init/base/fd.h"
#include "init/base/result.h"
#include "init/preserves/packed.h"
#include "init/protocol/packet.h"

namespace muster::protocol {

// A capability: the peer's, or one to an entity of ours.
class Reference final : public preserves::Embedded {
  public:
    enum class Side : uint8_t { ours, theirs };
    Reference(Side s, uint64_t o) : side(s), oid(o) {}
    const Side side;
    const uint64_t oid;
};

class Client final : private preserves::EmbeddedCodec {
  public:
    using Handle = uint64_t;
    using Oid = uint64_t;
    // What happens to an entity of ours. Each may be empty.
    struct Handler {
        std::function<void(const preserves::Value& value, Handle handle)> asserted;
        std::function<void(Handle handle)> retracted;
        std::function<void(const preserves::Value& body)> message;
    };

    // `input` and `output` may be the same socket: then `output` is empty.
    Client(Fd input, Fd output) : input_(std::move(input)), output_(std::move(output)) {}

    // An entity of ours; the first one is oid 0, which the peer may know without being told.
    Ref<Reference> export_entity(Handler handler);
    // The peer's oid 0.
    Ref<Reference> root();

    // Without `begin`, each of these is a Turn of its own.
    void begin();
    void commit();
    Handle assert_(const Ref<Reference>& target, preserves::View value);
    void retract(Handle handle);
    void message(const Ref<Reference>& target, preserves::View body);
    // Calls `done` when the peer has handled everything sent before.
    void sync(const Ref<Reference>& target, std::function<void()> done);
    // Shorthand: asserts <Observe PATTERN #:entity>.
    Handle observe(const Ref<Reference>& dataspace, preserves::View pattern, Handler handler);

    // Writes what is buffered. True if all of it left (else the descriptor is full). A socket that
    // nobody reads is an error as others are, and no signal.
    // ERRORS: the connection is broken; the other side closed it (`closed`).
    static constexpr const char* closed = "the other side closed the connection";
    Result<bool> flush();
    bool unsent() const { return sent_ < outgoing_.size(); }
    // Reads once and handles the packets that are complete. False at the end of the stream.
    // ERRORS: the connection is broken, the peer reports an error or breaks the protocol.
    Result<bool> receive();

    int input_fd() const { return input_.get(); }
    int output_fd() const { return output_ ? output_.get() : input_.get(); }

    // From now on: text, one packet a line, and the peer may be replaced by another one that says
    // `<resume EPOCH>` (design 6). It is answered; then nothing is left of what was said and heard
    // but the entities exported before this call, and `resumed` is called, to say everything anew.
    // A line that is no packet, as the one that the old peer could not finish, goes to `ignored`.
    void set_resumable(std::function<void()> resumed,
                       std::function<void(std::string_view line)> ignored);

  private:
    Result<Ref<preserves::Embedded>> decode(preserves::View wire) override;
    void encode(preserves::Embedded& object, preserves::Encoder& out) override;

    void open_event(Oid oid, char label);
    void close_event();
    void put(preserves::View value);
    void put_text(std::string_view text);
    Result<> receive_lines();
    void resume(preserves::View epoch);
    Result<> handle_packet(preserves::View packet);
    Result<> handle_event(preserves::View event);

    Fd input_;
    Fd output_;
    std::unordered_map<Oid, Handler> entities_;
    std::unordered_map<Oid, Ref<Reference>> remotes_;
    std::unordered_map<Handle, Oid> targets_; // of our live assertions
    Oid next_oid_ = 0;
    Handle next_handle_ = 1;
    int depth_ = 0; // of begin
    bool packet_open_ = false;
    std::vector<uint8_t> outgoing_;
    size_t sent_ = 0;
    std::vector<uint8_t> incoming_;
    PacketReader reader_;
    bool text_ = false;
    Oid lasting_ = 0; // entities below it outlast a resumption
    std::function<void()> resumed_;
    std::function<void(std::string_view)> ignored_;
};

} // namespace muster::protocol
