#include "init/protocol/packet.h"

#include "init/preserves/packed.h"
#include "init/preserves/text_reader.h"

namespace muster::protocol {

using preserves::Bytes;
using preserves::Scan;
using preserves::TextReader;
using preserves::View;

namespace {

// What is read again from its beginning for each piece that comes.
constexpr size_t small_packet = 1'024;

} // namespace

PacketReader::State PacketReader::next(Bytes input) {
    // White space belongs to the text syntax, but a line feed may stand between packets of any.
    size_t skipped = 0;
    while (skipped < input.size() && (input[skipped] == ' ' || input[skipped] == '\t' ||
                                      input[skipped] == '\r' || input[skipped] == '\n'))
        ++skipped;
    Bytes rest = input.subspan(skipped);
    consumed_ = 0;
    if (rest.empty()) {
        consumed_ = skipped;
        return State::need_more;
    }
    text_ = rest[0] < 0x80;
    State state = State::need_more;
    // Most packets are whole when they are seen first.
    const bool begun = end_.begun();
    if (!begun || rest.size() <= small_packet || end_.find(rest, text_)) {
        bytes_read_ += rest.size();
        state = text_ ? next_text(rest) : next_binary(rest);
    }
    if (state != State::need_more)
        end_.restart();
    else if (!begun && rest.size() > small_packet)
        end_.find(rest, text_);
    consumed_ += skipped;
    return state;
}

PacketReader::State PacketReader::next_binary(Bytes input) {
    Scan scan = preserves::scan(input);
    if (scan.state == Scan::State::need_more) return State::need_more;
    if (scan.state == Scan::State::malformed) {
        problem_ = scan.problem;
        return State::malformed;
    }
    consumed_ = scan.size;
    has_embedded_ = scan.has_embedded;
    if (scan.canonical && !scan.has_annotations) {
        view_ = View(input.first(scan.size), false);
        return State::packet;
    }
    Result<std::vector<uint8_t>> annotated =
        preserves::decode_packed_annotated(input.first(scan.size));
    if (!annotated) {
        problem_ = annotated.error().message;
        return State::malformed;
    }
    buffer_ = preserves::strip_annotations(*annotated);
    view_ = View(buffer_, false);
    return State::packet;
}

PacketReader::State PacketReader::next_text(Bytes input) {
    TextReader reader({reinterpret_cast<const char*>(input.data()), input.size()}, {}, false);
    switch (reader.next_bytes(buffer_)) {
    case TextReader::State::value:
        break;
    case TextReader::State::malformed:
        problem_ = reader.problem() + " (line " + std::to_string(reader.problem_location().line) +
                   ", column " + std::to_string(reader.problem_location().column) + ")";
        return State::malformed;
    case TextReader::State::end:
    case TextReader::State::need_more:
        return State::need_more;
    }
    consumed_ = reader.offset();
    Scan scan = preserves::scan(buffer_);
    has_embedded_ = scan.has_embedded;
    view_ = View(buffer_, false);
    return State::packet;
}

} // namespace muster::protocol
