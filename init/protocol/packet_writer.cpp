#include "init/protocol/packet_writer.h"

#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"

namespace muster::protocol {

using preserves::View;

namespace {

constexpr size_t longest_number = 11;

// Minimal, as all integers. Returns where it ends.
uint8_t* write(uint64_t number, uint8_t* out) {
    *out++ = preserves::tag::integer;
    if (number < 0x80) {
        *out = number != 0; // how many bytes
        out[1] = static_cast<uint8_t>(number);
        return out + 1 + *out;
    }
    const size_t size = static_cast<size_t>(64 - __builtin_clzll(number)) / 8 + 1;
    *out++ = static_cast<uint8_t>(size);
    for (size_t i = size; i-- > 0;)
        *out++ = i >= 8 ? 0 : static_cast<uint8_t>(number >> 8 * i);
    return out;
}

// `[oid <LABEL`, of 5 bytes and the number. Returns where it ends.
uint8_t* write_head(uint64_t oid, char label, uint8_t* out) {
    *out++ = preserves::tag::sequence;
    out = write(oid, out);
    *out++ = preserves::tag::record;
    *out++ = preserves::tag::symbol;
    *out++ = 1;
    *out++ = static_cast<uint8_t>(label);
    return out;
}

} // namespace

void PacketWriter::text(std::string_view characters) {
    packet_.append(characters.data(), characters.size());
}

void PacketWriter::put(View value) {
    if (text_) {
        std::string written;
        preserves::write_text(value, written, &codec_);
        text(written);
    } else if (!value.may_embed()) {
        packet_.append(value.bytes());
    } else {
        std::vector<uint8_t> written;
        preserves::encode_packed(value, &codec_, written);
        packet_.append(written);
    }
}

void PacketWriter::open_event(uint64_t oid, char label) {
    const bool first = events_++ == 0;
    if (text_) {
        text(first ? "[[" : ", [");
        put(preserves::integer(static_cast<int64_t>(oid)));
        const char begin[] = {',', ' ', '<', label};
        text({begin, sizeof begin});
        return;
    }
    uint8_t* const start = packet_.room(6 + longest_number);
    uint8_t* out = start;
    if (first) *out++ = preserves::tag::sequence;
    out = write_head(oid, label, out);
    packet_.take(static_cast<size_t>(out - start));
}

void PacketWriter::put(uint64_t number) {
    uint8_t* const start = packet_.room(longest_number);
    packet_.take(static_cast<size_t>(write(number, start) - start));
}

void PacketWriter::field(View value) {
    if (text_) text(" ");
    put(value);
}

void PacketWriter::field(uint64_t handle) {
    if (text_)
        field(preserves::integer(static_cast<int64_t>(handle)));
    else
        put(handle);
}

void PacketWriter::close_event() {
    static constexpr uint8_t ends[] = {preserves::tag::end, preserves::tag::end};
    if (text_)
        text(">]");
    else
        packet_.append(ends, sizeof ends);
}

void PacketWriter::finish() {
    if (text_)
        text("]\n");
    else
        packet_.push_back(preserves::tag::end);
    events_ = 0;
}

void PacketWriter::message(uint64_t oid, View body) {
    namespace tag = preserves::tag;
    if (text_ || body.may_embed()) {
        open_event(oid, 'M');
        field(body);
        close_event();
        finish();
        return;
    }
    const preserves::Bytes bytes = body.bytes();
    uint8_t* const start = packet_.room(9 + longest_number + bytes.size());
    uint8_t* out = start;
    *out++ = tag::sequence;
    out = write_head(oid, 'M', out);
    copy_bytes(out, bytes.data(), bytes.size());
    out += bytes.size();
    *out++ = tag::end;
    *out++ = tag::end;
    *out++ = tag::end;
    packet_.take(static_cast<size_t>(out - start));
}

void PacketWriter::error(std::string_view message, View detail) {
    events_ = 0;
    put(preserves::record("error", {preserves::string(message), detail}));
    if (text_) text("\n");
}

} // namespace muster::protocol
