#include "init/preserves/text_reader.h"

#include "init/preserves/decimal.h"
#include "init/preserves/text_lexer.h"
#include "init/preserves/utf8.h"

namespace muster::preserves {

namespace {

constexpr const char* behind_hash =
    "expected one of #t #f #\" #x\" #xd\" #[ #{ #: #!, or # and a space before a comment";

Bytes bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

} // namespace

// A stack of what is open instead of recursion. Items go to `sink_`: to the caller's encoder, to
// `wire_` within an embedded value that a codec translates, to nobody within annotations that are
// dropped.
class TextReader::Parse {
  public:
    Parse(TextReader& reader, Encoder& encoder, bool as_bytes)
        : reader_(reader), options_(reader.options_), encoder_(encoder), sink_(&encoder),
          as_bytes_(as_bytes), keep_(as_bytes && options_.keep_annotations && !options_.locations),
          locations_(as_bytes && options_.locations),
          begin_(reader.text_.data()), lexer_{begin_ + reader.at_, begin_ + reader.text_.size()} {
        no_limit(encoder_); // `push` has the limit; locations come on top of it
        no_limit(wire_);
    }

    State run() {
        skip_space();
        item_ = lexer_.at;
        reader_.here_ = reader_.value_start_ = reader_.locate(offset(item_));
        reader_.at_ = offset(item_);
        if (lexer_.at == lexer_.end) return State::end;
        State state = State::need_more;
        while (state == State::need_more) {
            skip_space();
            if (lexer_.at == lexer_.end) break;
            item_ = lexer_.at;
            const Step step = next_token();
            if (step == Step::go_on) continue;
            if (step == Step::need_more) {
                in_token_ = true;
                break;
            }
            state = step == Step::done ? State::value : State::malformed;
        }
        if (state == State::value) {
            reader_.at_ = offset(lexer_.at);
            reader_.here_ = reader_.locate(reader_.at_);
        } else if (state == State::malformed) {
            reader_.malformed_ = true;
        } else if (reader_.finished_) {
            name_what_is_open();
        }
        return state;
    }

  private:
    enum class Step : uint8_t { go_on, done, need_more, malformed };
    enum class Phase : uint8_t { item, colon, value };
    struct Frame {
        const char* start;
        uint8_t kind;
        Phase phase = Phase::item; // dictionaries: what comes next
        bool has_items = false;
    };

    size_t offset(const char* at) const { return static_cast<size_t>(at - begin_); }
    bool in(uint8_t kind) const { return !frames_.empty() && frames_.back().kind == kind; }

    Step fail(std::string problem, const char* at = nullptr) {
        reader_.problem_ = std::move(problem);
        reader_.problem_at_ = reader_.locate(offset(at != nullptr ? at : item_));
        return Step::malformed;
    }

    Step from_lexer(TextLexer::Outcome outcome) {
        if (outcome == TextLexer::Outcome::malformed)
            return fail(lexer_.problem, lexer_.problem_at);
        return outcome == TextLexer::Outcome::good ? Step::go_on : Step::need_more;
    }

    // White space, and commas between the items of sequences, sets and dictionaries.
    void skip_space() {
        const bool commas = !owed_ && !frames_.empty() && frames_.back().kind >= tag::sequence &&
                            frames_.back().phase == Phase::item;
        while (lexer_.at != lexer_.end &&
               (TextLexer::is_space(*lexer_.at) || (commas && *lexer_.at == ',')))
            ++lexer_.at;
    }

    void name_what_is_open() {
        const char* const open = in_token_ || frames_.empty() ? item_ : frames_.back().start;
        reader_.problem_ = in_token_ ? "the text ends within this: " + end_of_token()
                           : frames_.empty()
                               ? "the text ends where a value must follow"
                               : "the text ends and this is still open: " + expected();
        reader_.problem_at_ = reader_.locate(offset(open));
    }

    // How the word at `item_`, which the text cuts off, would end.
    std::string end_of_token() const {
        const std::string_view word(item_, static_cast<size_t>(lexer_.end - item_));
        if (word[0] == '"' || word[0] == '|' || word[0] == '\'')
            return std::string("expected ") + word[0];
        if (word[0] != '#') return "expected the rest of a character";
        if (word.size() == 1) return behind_hash;
        if (word[1] == '[') return "expected ]";
        if (word[1] == '"' || word[1] == 'x') return "expected \"";
        return "expected the end of the line, and a value";
    }

    // What may come next in what is open.
    std::string expected() const {
        const Frame& frame = frames_.back();
        if (frame.kind == tag::annotated || frame.kind == tag::embedded || owed_ ||
            frame.phase == Phase::value)
            return "expected a value";
        if (frame.phase == Phase::colon) return "expected a colon and a value";
        if (frame.kind == tag::record && !frame.has_items) return "expected a label";
        return std::string("expected ") + closing(frame.kind);
    }

    static char closing(uint8_t kind) {
        return kind == tag::record ? '>' : kind == tag::sequence ? ']' : '}';
    }

    Step unexpected_end(char c) {
        std::string problem = std::string("an unexpected ") + c + ": ";
        if (frames_.empty()) return fail(problem + "nothing is open");
        const Frame& frame = frames_.back();
        if (frame.kind == tag::annotated || frame.kind == tag::embedded)
            return fail(problem + "expected a value");
        const Location opened = reader_.locate(offset(frame.start));
        const char* const opening = frame.kind == tag::record     ? "<"
                                    : frame.kind == tag::sequence ? "["
                                    : frame.kind == tag::set      ? "#{"
                                                                  : "{";
        return fail(problem + "expected " + closing(frame.kind) + " for the " + opening +
                    " opened at " + std::to_string(opened.line) + ":" +
                    std::to_string(opened.column));
    }

    Step next_token() {
        const char c = *lexer_.at;
        if (in(tag::dictionary) && frames_.back().phase == Phase::colon) {
            if (c != ':') return fail("expected a colon behind the key");
            frames_.back().phase = Phase::value;
            ++lexer_.at;
            return Step::go_on;
        }
        switch (c) {
        case '<':
            return open(tag::record, 1);
        case '[':
            return open(tag::sequence, 1);
        case '{':
            return open(tag::dictionary, 1);
        case '>':
        case ']':
        case '}':
            return close(c);
        case '"':
            return text_atom('"');
        case '|':
            if (options_.bar_symbols) return text_atom('|');
            break;
        case '\'':
            if (!options_.bar_symbols) return text_atom('\'');
            break;
        case '#':
            return hash();
        case '@':
            ++lexer_.at;
            return open_annotation();
        case ',':
            return fail("a comma is not allowed here: expected a value (commas stand only between "
                        "the items of […], {…} and #{…})");
        default:
            break;
        }
        return word();
    }

    // Before each value, but not before annotations.
    void starting_value() {
        owed_ = false;
        if (frames_.empty()) reader_.value_start_ = reader_.locate(offset(item_));
        if (!locations_ || sink_ == nullptr) return;
        const Location where = reader_.locate(offset(item_));
        sink_->begin_annotated();
        sink_->begin_sequence();
        sink_->integer(where.line);
        sink_->integer(where.column);
        sink_->end();
    }

    Step push(uint8_t kind) {
        if (frames_.size() >= max_depth) return fail("nested too deeply");
        frames_.push_back({item_, kind});
        return Step::go_on;
    }

    Step open(uint8_t kind, size_t size) {
        starting_value();
        lexer_.at += size;
        if (sink_ != nullptr) {
            if (kind == tag::record) sink_->begin_record();
            if (kind == tag::sequence) sink_->begin_sequence();
            if (kind == tag::set) sink_->begin_set();
            if (kind == tag::dictionary) sink_->begin_dictionary();
        }
        return push(kind);
    }

    Step close(char c) {
        if (owed_) return fail("an annotation without a value: expected a value");
        const uint8_t kind = frames_.empty() ? uint8_t{0} : frames_.back().kind;
        const bool fits = c == '>'   ? kind == tag::record
                          : c == ']' ? kind == tag::sequence
                                     : kind == tag::set || kind == tag::dictionary;
        if (!fits) return unexpected_end(c);
        if (frames_.back().phase != Phase::item)
            return fail("a key without a value: " + expected());
        if (kind == tag::record && !frames_.back().has_items)
            return fail("a record without a label: expected <label field …>");
        if (sink_ != nullptr) sink_->end();
        item_ = frames_.back().start; // what the encoder finds wrong concerns all of it
        frames_.pop_back();
        ++lexer_.at;
        return item_done();
    }

    // Behind each complete item: what it completes in turn.
    Step item_done() {
        for (;;) {
            if (sink_ != nullptr && sink_->failed()) return fail(take_error(*sink_));
            if (frames_.empty()) return Step::done;
            Frame& frame = frames_.back();
            frame.has_items = true;
            switch (frame.kind) {
            case tag::dictionary:
                frame.phase = frame.phase == Phase::item ? Phase::colon : Phase::item;
                return Step::go_on;
            case tag::annotated:
                frames_.pop_back();
                if (muted_at_ == frames_.size() + 1) {
                    muted_at_ = 0;
                    sink_ = in_wire_ ? &wire_ : &encoder_;
                }
                owed_ = true;
                return Step::go_on;
            case tag::embedded: {
                item_ = frame.start;
                frames_.pop_back();
                if (sink_ == &wire_)
                    if (const Step step = translate(); step != Step::go_on) return step;
                break;
            }
            default:
                return Step::go_on;
            }
        }
    }

    static std::string take_error(Encoder& encoder) {
        Result<std::vector<uint8_t>> failed = encoder.finish_bytes();
        return failed.error().message;
    }

    Step translate() {
        sink_ = &encoder_;
        in_wire_ = false;
        Result<Value> wire = wire_.finish();
        if (!wire) return fail(wire.error().message);
        const Result<Ref<Embedded>> object = options_.codec->decode(*wire);
        if (!object) return fail(object.error().message);
        encoder_.embedded(*object);
        return Step::go_on;
    }

    Step open_embedded() {
        starting_value();
        lexer_.at += 2;
        if (sink_ != nullptr) {
            if (as_bytes_) {
                sink_->begin_raw_embedded();
            } else if (options_.codec == nullptr) {
                return fail("an embedded value is not allowed here");
            } else if (in_wire_) {
                return fail("an embedded value within an embedded value");
            } else {
                in_wire_ = true;
                sink_ = &wire_;
            }
        }
        return push(tag::embedded);
    }

    Step open_annotation() {
        owed_ = false;
        if (sink_ != nullptr && keep_) {
            sink_->begin_annotated();
        } else if (sink_ != nullptr) {
            sink_ = nullptr;
            muted_at_ = frames_.size() + 1;
        }
        return push(tag::annotated);
    }

    // An annotation that is complete already: a comment or the name of an interpreter.
    Step line_annotation(size_t prefix, bool interpreter) {
        const char* const start = lexer_.at + prefix;
        const char* stop = start;
        while (stop != lexer_.end && *stop != '\n' && *stop != '\r')
            ++stop;
        if (stop == lexer_.end) return Step::need_more; // its value must follow anyway
        const std::string_view line(start, static_cast<size_t>(stop - start));
        if (!is_utf8(line)) return fail("a comment that is not UTF-8");
        if (sink_ != nullptr && keep_) {
            sink_->begin_annotated();
            if (interpreter) {
                sink_->begin_record();
                sink_->symbol("interpreter");
            }
            sink_->string(line);
            if (interpreter) sink_->end();
        }
        lexer_.at = stop;
        owed_ = true;
        return Step::go_on;
    }

    Step hash() {
        if (lexer_.end - lexer_.at < 2) return Step::need_more;
        switch (lexer_.at[1]) {
        case 't':
        case 'f':
            return boolean();
        case '{':
            return open(tag::set, 2);
        case ':':
            return open_embedded();
        case '"':
        case '[':
        case 'x':
            return binary_atom();
        case '!':
            return line_annotation(2, true);
        case ' ':
        case '\t':
            return line_annotation(2, false);
        case '\n':
        case '\r':
            return line_annotation(1, false);
        default:
            return fail(std::string("an unknown character behind #: ") + behind_hash,
                        lexer_.at + 1);
        }
    }

    Step boolean() {
        const char* const behind = lexer_.at + 2;
        if (behind == lexer_.end && !reader_.finished_) return Step::need_more;
        if (behind != lexer_.end && !TextLexer::is_delimiter(*behind, options_.bar_symbols))
            return fail("an unexpected character behind #t or #f: expected white space or a "
                        "delimiter",
                        behind);
        const bool value = lexer_.at[1] == 't';
        lexer_.at = behind;
        starting_value();
        if (sink_ != nullptr) sink_->boolean(value);
        return item_done();
    }

    Step text_atom(char quote) {
        std::string_view content;
        ++lexer_.at;
        const Step step = from_lexer(lexer_.quoted(quote, content, scratch_));
        if (step != Step::go_on) return step;
        starting_value();
        if (sink_ == nullptr) {
            if (!is_utf8(content)) return fail("text that is not UTF-8");
        } else if (quote == '"') {
            sink_->string(content);
        } else {
            sink_->symbol(content);
        }
        return item_done();
    }

    // #".."  #[..]  #x".."  #xd".."
    Step binary_atom() {
        const char* at = lexer_.at + 1;
        const char form = *at++;
        bool number = false;
        if (form == 'x') {
            if (at != lexer_.end && *at == 'd') {
                number = true;
                ++at;
            }
            if (at == lexer_.end) return Step::need_more;
            if (*at++ != '"') return fail("expected \" behind #x or #xd", at - 1);
        }
        lexer_.at = at;
        const Step step = from_lexer(form == '"'   ? lexer_.byte_string(scratch_)
                                     : form == '[' ? lexer_.base64(scratch_)
                                                   : lexer_.hex(scratch_));
        if (step != Step::go_on) return step;
        if (number && scratch_.size() != 8)
            return fail("a floating-point number of another size: expected 16 hexadecimal digits");
        starting_value();
        if (sink_ == nullptr) return item_done();
        if (number) {
            uint64_t bits = 0;
            for (const char c : scratch_)
                bits = bits << 8 | static_cast<uint8_t>(c);
            double value;
            std::memcpy(&value, &bits, sizeof value);
            sink_->number(value);
        } else {
            sink_->bytes(bytes_of(scratch_));
        }
        return item_done();
    }

    Step word() {
        std::string_view content;
        const Step step = from_lexer(lexer_.word(options_.bar_symbols, content));
        if (step != Step::go_on) return step;
        if (lexer_.at == lexer_.end && !reader_.finished_) return Step::need_more;
        starting_value();
        switch (classify_word(content)) {
        case Word::symbol:
            if (sink_ != nullptr) sink_->symbol(content);
            break;
        case Word::integer:
            if (!integer(content)) return fail("integer too long");
            break;
        case Word::number: {
            double value;
            if (!number_from_text(content, value)) return fail("number too long");
            if (sink_ != nullptr) sink_->number(value);
            break;
        }
        }
        return item_done();
    }

    bool integer(std::string_view text) {
        if (text.size() <= 18) { // fits in 64 bits
            const bool sign = text[0] == '-' || text[0] == '+';
            int64_t value = 0;
            for (const char c : text.substr(sign ? 1 : 0))
                value = value * 10 + (c - '0');
            if (sink_ != nullptr) sink_->integer(text[0] == '-' ? -value : value);
            return true;
        }
        std::vector<uint8_t> digits;
        if (!integer_from_text(text, digits)) return false;
        if (sink_ != nullptr) sink_->integer_bytes(digits);
        return true;
    }

    TextReader& reader_;
    const TextOptions& options_;
    Encoder& encoder_;
    Encoder wire_;
    Encoder* sink_;
    bool as_bytes_;
    bool keep_;
    bool locations_;
    bool in_wire_ = false;
    bool owed_ = false;     // an annotation is complete, its value must follow
    bool in_token_ = false; // the text ends within a word, not between two
    size_t muted_at_ = 0;   // 1 + index of the frame of the annotation that is dropped
    const char* begin_;
    TextLexer lexer_;
    const char* item_ = nullptr; // the first character of the current word
    std::vector<Frame> frames_;
    std::string scratch_;
};

TextReader::TextReader(std::string_view text, TextOptions options, bool finished)
    : text_(text), options_(options), finished_(finished) {}

// Usually called with growing offsets, so each character is counted once.
Location TextReader::locate(size_t offset) {
    if (offset < located_) {
        located_ = 0;
        located_at_ = {};
    }
    for (; located_ < offset; ++located_) {
        const char c = text_[located_];
        if (c == '\n') {
            ++located_at_.line;
            located_at_.column = 1;
        } else if ((static_cast<uint8_t>(c) & 0xc0) != 0x80) {
            ++located_at_.column;
        }
    }
    return located_at_;
}

TextReader::State TextReader::read(Encoder& encoder, bool as_bytes) {
    if (malformed_) return State::malformed;
    return Parse(*this, encoder, as_bytes).run();
}

TextReader::State TextReader::next(Value& out) {
    Encoder encoder;
    const State state = read(encoder, false);
    if (state == State::value) {
        Result<Value> made = encoder.finish();
        if (made) out = std::move(*made);
    }
    return state;
}

TextReader::State TextReader::next_bytes(std::vector<uint8_t>& out) {
    Encoder encoder;
    const State state = read(encoder, true);
    if (state == State::value) {
        Result<std::vector<uint8_t>> made = encoder.finish_bytes();
        if (made) out = std::move(*made);
    }
    return state;
}

Result<Value> parse_text(std::string_view text, EmbeddedCodec* codec) {
    TextOptions options;
    options.codec = codec;
    TextReader reader(text, options);
    Value value;
    TextReader::State state = reader.next(value);
    if (state == TextReader::State::value) {
        Value second;
        const Location rest = reader.location();
        state = reader.next(second);
        if (state == TextReader::State::end) return value;
        if (state != TextReader::State::malformed) {
            return Error{"line " + std::to_string(rest.line) + ", column " +
                         std::to_string(rest.column) + ": more text behind the value"};
        }
    }
    if (state == TextReader::State::end) return Error{"no value in the text"};
    const Location where = reader.problem_location();
    return Error{"line " + std::to_string(where.line) + ", column " + std::to_string(where.column) +
                 ": " + reader.problem()};
}

} // namespace muster::preserves
