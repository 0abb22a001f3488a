#include "init/protocol/packet_end.h"

#include "init/preserves/text_lexer.h"

namespace muster::protocol {

using preserves::Bytes;
using preserves::TextLexer;
namespace tag = preserves::tag;

namespace {

// No length that is allowed takes more bytes than this.
constexpr size_t max_length_bytes = 5;

} // namespace

bool PacketEnd::find(Bytes input, bool text) {
    found_ = found_ || (text ? find_text(input) : find_binary(input));
    return found_;
}

bool PacketEnd::find_binary(Bytes input) {
    while (owed_ > 0 && at_ < input.size()) {
        const uint8_t kind = input[at_];
        if (kind == tag::false_ || kind == tag::true_) {
            ++at_;
            value_done();
        } else if (kind == tag::end) {
            ++at_;
            if (depth_ == 0) return true;
            --depth_;
            value_done();
        } else if (kind == tag::annotated) {
            ++at_;
            if (depth_ == 0) ++owed_;
        } else if (kind == tag::embedded) {
            ++at_;
        } else if (kind >= tag::record && kind <= tag::dictionary) {
            ++at_;
            if (++depth_ > preserves::max_depth) return true;
        } else if (kind == tag::number || (kind >= tag::integer && kind <= tag::symbol)) {
            size_t length = 0, digits = 0;
            uint8_t digit = 0x80;
            while (digit & 0x80) {
                if (at_ + 1 + digits == input.size()) return false;
                if (digits == max_length_bytes) return true;
                digit = input[at_ + 1 + digits];
                length |= size_t{digit & 0x7fu} << (7 * digits++);
            }
            if (kind == tag::integer && length > preserves::max_integer_bytes) return true;
            at_ += 1 + digits + length;
            value_done();
        } else {
            return true;
        }
    }
    // The last atom may lead beyond the end.
    return owed_ == 0 && at_ <= input.size();
}

bool PacketEnd::find_text(Bytes input) {
    while (at_ < input.size()) {
        if (step_text(input[at_++])) return true;
    }
    return false;
}

bool PacketEnd::step_text(uint8_t byte) {
    switch (in_) {
    case In::string:
    case In::symbol:
        if (escaped_) {
            escaped_ = false;
        } else if (byte == '\\') {
            escaped_ = true;
        } else if (byte == (in_ == In::string ? '"' : '\'')) {
            in_ = In::nothing;
            return value_done();
        }
        return false;
    case In::comment:
        if (byte == '\n' || byte == '\r') in_ = In::nothing;
        return false;
    case In::hash:
        in_ = In::nothing;
        if (byte == ' ' || byte == '\t' || byte == '!') {
            in_ = In::comment;
            return false;
        }
        if (byte == 'x') in_ = In::hex;
        if (byte == 'x' || byte == '\r' || byte == '\n' || byte == ':') return false;
        return step_outside(byte);
    case In::hex: // #x".." or #xd".."
        if (byte == '"') in_ = In::string;
        return byte != '"' && byte != 'd';
    case In::word:
        if (!TextLexer::is_delimiter(static_cast<char>(byte), false)) return false;
        in_ = In::nothing;
        return value_done() || step_outside(byte);
    case In::nothing:
        return step_outside(byte);
    }
    return true;
}

bool PacketEnd::step_outside(uint8_t byte) {
    switch (byte) {
    case '<':
    case '[':
    case '{':
        return ++depth_ > preserves::max_depth;
    case '>':
    case ']':
    case '}':
        if (depth_ == 0) return true;
        --depth_;
        return value_done();
    case '"':
        in_ = In::string;
        return false;
    case '\'':
        in_ = In::symbol;
        return false;
    case '#':
        in_ = In::hash;
        return false;
    case '@':
        if (depth_ == 0) ++owed_;
        return false;
    default:
        // Within compounds words need no look.
        if (depth_ > 0 || TextLexer::is_space(static_cast<char>(byte))) return false;
        in_ = In::word;
        return TextLexer::is_delimiter(static_cast<char>(byte), false);
    }
}

} // namespace muster::protocol
