#include "init/preserves/text_writer.h"

#include <algorithm>

#include "init/preserves/decimal.h"
#include "init/preserves/symbol_characters.h"

namespace muster::preserves {

namespace {

bool is_bare(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), is_bare_ascii) &&
           classify_word(text) == Word::symbol;
}

std::string_view text_of(Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void append_quoted(std::string_view text, char quote, std::string& out) {
    out += quote;
    for (const char c : text) {
        switch (c) {
        case '\\':
            out += "\\\\";
            break;
        case '\b':
            out += "\\b";
            break;
        case '\f':
            out += "\\f";
            break;
        case '\n':
            out += "\\n";
            break;
        case '\r':
            out += "\\r";
            break;
        case '\t':
            out += "\\t";
            break;
        default:
            if (c == quote) {
                out += '\\';
                out += c;
            } else if (static_cast<uint8_t>(c) < 0x20) {
                out += "\\u00";
                const auto byte = static_cast<uint8_t>(c);
                append_hex({&byte, 1}, out);
            } else {
                out += c;
            }
        }
    }
    out += quote;
}

void append_byte_string(Bytes bytes, std::string& out) {
    const bool printable =
        std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b >= 32 && b <= 126; });
    out += '#';
    if (printable) return append_quoted(text_of(bytes), '"', out);
    out += "x\"";
    append_hex(bytes, out);
    out += '"';
}

// Goes through the bytes once, with a stack of what is open.
class Writer {
  public:
    enum class EmbeddedValues : uint8_t { capabilities, raw };

    Writer(std::string& out, EmbeddedValues embedded, bool bar_symbols)
        : out_(out), embedded_(embedded), quote_(bar_symbols ? '|' : '\'') {}

    void run(Bytes bytes) {
        const uint8_t* const end = bytes.data() + bytes.size();
        for (const uint8_t* at = bytes.data(); at < end;)
            at = token(at);
    }

  private:
    struct Frame {
        uint8_t kind;
        size_t items = 0;
    };

    void open(uint8_t kind, std::string_view text) {
        starting_item();
        out_ += text;
        frames_.push_back({kind});
    }

    void close(std::string_view text) {
        out_ += text;
        frames_.pop_back();
        item_done();
    }

    void starting_item() {
        if (std::exchange(owed_, false) || frames_.empty() || frames_.back().items == 0) return;
        const Frame& frame = frames_.back();
        if (frame.kind == tag::record) {
            out_ += ' ';
        } else if (frame.kind == tag::dictionary && frame.items % 2 != 0) {
            out_ += ": ";
        } else {
            out_ += ", ";
        }
    }

    void item_done() {
        if (frames_.empty()) return;
        ++frames_.back().items;
        if (frames_.back().kind != tag::annotated) return;
        frames_.pop_back();
        out_ += ' ';
        owed_ = true;
    }

    const uint8_t* token(const uint8_t* at) {
        switch (*at) {
        case tag::record:
            open(tag::record, "<");
            return at + 1;
        case tag::sequence:
            open(tag::sequence, "[");
            return at + 1;
        case tag::set:
            open(tag::set, "#{");
            return at + 1;
        case tag::dictionary:
            open(tag::dictionary, "{");
            return at + 1;
        case tag::annotated:
            open(tag::annotated, "@");
            return at + 1;
        case tag::end:
            end();
            return at + 1;
        case tag::embedded:
            starting_item();
            out_ += "#:";
            owed_ = true;
            if (embedded_ == EmbeddedValues::raw) return at + 1;
            owed_ = false;
            capability(*embedded_at(at));
            item_done();
            return at + embedded_size;
        default:
            break;
        }
        const uint8_t* const next = skip_value(at);
        starting_item();
        atom(View({at, next}, false));
        item_done();
        return next;
    }

    void end() {
        switch (frames_.back().kind) {
        case tag::record:
            return close(">");
        case tag::sequence:
            return close("]");
        default:
            return close("}");
        }
    }

    void atom(View view) {
        switch (view.kind()) {
        case Kind::boolean:
            out_ += *view.as_bool() ? "#t" : "#f";
            break;
        case Kind::number:
            append_number(*view.as_number(), out_);
            break;
        case Kind::integer:
            append_integer(view.integer_bytes(), out_);
            break;
        case Kind::string:
            append_quoted(*view.as_string(), '"', out_);
            break;
        case Kind::bytes:
            append_byte_string(*view.as_bytes(), out_);
            break;
        case Kind::symbol: {
            const std::string_view text = *view.as_symbol();
            if (is_bare(text)) {
                out_ += text;
            } else {
                append_quoted(text, quote_, out_);
            }
            break;
        }
        default:
            break; // compounds and embedded values are no atoms
        }
    }

    void capability(const Embedded& object) {
        const auto address = reinterpret_cast<uintptr_t>(&object);
        uint8_t bytes[sizeof address];
        for (size_t i = 0; i < sizeof address; ++i)
            bytes[i] = static_cast<uint8_t>(address >> (8 * (sizeof address - 1 - i)));
        out_ += "[0x";
        append_hex(bytes, out_);
        out_ += ']';
    }

    std::string& out_;
    EmbeddedValues embedded_;
    char quote_;
    bool owed_ = false; // the next item is the value behind an annotation or "#:"
    std::vector<Frame> frames_;
};

} // namespace

void write_text(View value, std::string& out, EmbeddedCodec* codec) {
    if (codec == nullptr || !value.may_embed()) {
        Writer(out, Writer::EmbeddedValues::capabilities, false).run(value.bytes());
        return;
    }
    // By way of the binary form, where sets are in the order of what the peer sees.
    std::vector<uint8_t> wire;
    encode_packed(value, codec, wire);
    Writer(out, Writer::EmbeddedValues::raw, false).run(wire);
}

std::string to_text(View value, EmbeddedCodec* codec) {
    std::string out;
    write_text(value, out, codec);
    return out;
}

std::string annotated_to_text(Bytes annotated, bool bar_symbols) {
    std::string out;
    Writer(out, Writer::EmbeddedValues::raw, bar_symbols).run(annotated);
    return out;
}

} // namespace muster::preserves
