// Writes packets in either syntax (reference 2.1, 2.4): Turns event by event, and errors.
#pragma once

#include <cstdint>
#include <string_view>

#include "init/base/byte_buffer.h"
#include "init/preserves/packed.h"

namespace muster::protocol {

class PacketWriter {
  public:
    // Writes at the end of `out`. `codec` translates the capabilities in what is written. Both must
    // outlive this.
    PacketWriter(ByteBuffer& out, preserves::EmbeddedCodec& codec, bool text)
        : packet_(out), codec_(codec), text_(text) {}

    // REQUIRES: no packet is open.
    void set_text(bool text) { text_ = text; }

    // How many events the packet has that is open; 0: none is.
    size_t events() const { return events_; }
    // Opens `[oid <LABEL`, and the packet if none is open.
    void open_event(uint64_t oid, char label);
    void field(preserves::View value);
    void field(uint64_t handle);
    void close_event();
    // Ends the packet.
    void finish();

    // `[[oid <M body>]]`, as most packets are by far: the same as by the above, at once. REQUIRES:
    // no packet is open.
    void message(uint64_t oid, preserves::View body);

    // `<error MESSAGE DETAIL>`, a packet of its own. If one was open, what is written of it must be
    // gone from the buffer.
    void error(std::string_view message, preserves::View detail);

  private:
    void put(preserves::View value);
    void put(uint64_t number);
    void text(std::string_view characters);

    ByteBuffer& packet_;
    preserves::EmbeddedCodec& codec_;
    bool text_;
    size_t events_ = 0;
};

} // namespace muster::protocol
