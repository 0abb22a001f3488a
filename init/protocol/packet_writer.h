// Writes packets in either syntax (reference 2.1, 2.4): Turns event by event, and errors.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "init/base/byte_buffer.h"
#include "init/preserves/packed.h"

namespace muster::protocol {

class PacketWriter {
  public:
    // `codec` translates the capabilities in what is written; it must outlive this.
    PacketWriter(preserves::EmbeddedCodec& codec, bool text) : codec_(codec), text_(text) {}

    // REQUIRES: no packet is open.
    void set_text(bool text) { text_ = text; }

    // How many events the packet has that is open; 0: none is.
    size_t events() const { return events_; }
    // Opens `[oid <LABEL`, and the packet if none is open.
    void open_event(uint64_t oid, char label);
    void field(preserves::View value);
    void field(uint64_t handle);
    void close_event();
    // Ends the packet. The bytes last until the next call.
    preserves::Bytes finish();

    // Gives up the packet that is open. `<error MESSAGE DETAIL>`, a packet of its own, instead.
    preserves::Bytes error(std::string_view message, preserves::View detail);

  private:
    void put(preserves::View value);
    void put(uint64_t number);
    void text(std::string_view characters);

    preserves::EmbeddedCodec& codec_;
    bool text_;
    size_t events_ = 0;
    ByteBuffer packet_;
};

} // namespace muster::protocol
