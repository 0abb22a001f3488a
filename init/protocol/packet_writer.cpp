#include "init/protocol/packet_writer.h"

#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"

namespace muster::protocol {

using preserves::Bytes;
using preserves::View;

void PacketWriter::raw(std::string_view binary, std::string_view text) {
    std::string_view bytes = text_ ? text : binary;
    packet_.insert(packet_.end(), bytes.begin(), bytes.end());
}

void PacketWriter::put(View value) {
    if (!text_) {
        preserves::encode_packed(value, &codec_, packet_);
        return;
    }
    std::string text;
    preserves::write_text(value, text, &codec_);
    packet_.insert(packet_.end(), text.begin(), text.end());
}

void PacketWriter::open_event(uint64_t oid, char label) {
    if (events_++ == 0) {
        packet_.clear();
        raw("\xb5", "[");
    } else {
        raw("", ", ");
    }
    raw("\xb5", "[");
    put(preserves::integer(static_cast<int64_t>(oid)));
    raw("\xb4\xb3\x01", ", <");
    raw({&label, 1}, {&label, 1});
}

void PacketWriter::field(View value) {
    raw("", " ");
    put(value);
}

void PacketWriter::field(uint64_t handle) {
    field(preserves::integer(static_cast<int64_t>(handle)));
}

void PacketWriter::close_event() { raw("\x84\x84", ">]"); }

Bytes PacketWriter::finish() {
    raw("\x84", "]\n");
    events_ = 0;
    return packet_;
}

Bytes PacketWriter::error(std::string_view message, View detail) {
    packet_.clear();
    events_ = 0;
    put(preserves::record("error", {preserves::string(message), detail}));
    raw("", "\n");
    return packet_;
}

} // namespace muster::protocol
