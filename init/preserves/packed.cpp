#include "init/preserves/packed.h"

#include "init/preserves/utf8.h"

namespace muster::preserves {

namespace {

constexpr size_t max_length = size_t{1} << 31;

// What one pass needs to know about a compound (or annotation, or embedded value) that is open.
struct Level {
    const uint8_t* start;    // its tag
    const uint8_t* previous; // sets and dictionaries: the last element or key before this one
    uint32_t previous_size;
    uint8_t kind;
    bool has_items; // records: the label was there; dictionaries: a key waits for its value
};

// A fixed array first, so that ordinary values cost no allocation.
class Levels {
  public:
    Level& top() { return levels_[count_]; }
    size_t count() const { return count_; }
    void pop() { --count_; }
    void push(const uint8_t* start, uint8_t kind) {
        if (++count_ == few && large_.empty()) {
            large_.resize(max_depth + 1);
            std::memcpy(large_.data(), small_, sizeof small_);
            levels_ = large_.data();
        }
        levels_[count_] = {start, nullptr, 0, kind, false};
    }

  private:
    static constexpr size_t few = 64;
    Level small_[few]; // the first one stands for "outside of everything" and has kind 0
    std::vector<Level> large_;
    Level* levels_ = small_;
    size_t count_ = 0;

  public:
    Levels() { small_[0] = {}; }
    Levels(const Levels&) = delete;
    Levels& operator=(const Levels&) = delete;
};

// Takes what `at` points to as an element or key of a canonical set or dictionary. False if it is
// the same as the one before; `canonical` becomes false if it does not come after that one.
bool in_order(Level& level, const uint8_t* start, const uint8_t* end, bool& canonical) {
    if (!canonical) return true;
    const Bytes item(start, end);
    if (level.previous != nullptr) {
        const int order = compare_bytes({level.previous, level.previous_size}, item);
        if (order == 0) return false;
        if (order > 0) canonical = false;
    }
    level.previous = start;
    level.previous_size = static_cast<uint32_t>(item.size());
    return true;
}

bool minimal_integer(const uint8_t* p, size_t length) {
    if (length == 0) return true;
    if (length == 1) return p[0] != 0;
    return !(p[0] == 0 && p[1] < 0x80) && !(p[0] == 0xff && p[1] >= 0x80);
}

enum class Length : uint8_t { good, need_more, bad };

// An unsigned LEB128 of at most five bytes.
Length take_long_length(const uint8_t*& p, const uint8_t* end, size_t& length, bool& canonical) {
    length = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (p == end) return Length::need_more;
        const uint8_t byte = *p++;
        length |= static_cast<size_t>(byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (byte == 0 && shift != 0) canonical = false;
            return length > max_length ? Length::bad : Length::good;
        }
    }
    return Length::bad;
}

} // namespace

Scan scan(Bytes input) {
    const uint8_t* const first = input.data();
    const uint8_t* const end = first + input.size();
    const uint8_t* p = first;
    Levels levels;
    Scan result;
    bool canonical = true;
    bool owed = false; // an annotation is complete, its value must follow

    const auto finish = [&](Scan::State state) {
        result.state = state;
        result.size = state == Scan::State::complete ? static_cast<size_t>(p - first) : 0;
        result.canonical = canonical && state == Scan::State::complete;
        return result;
    };
    const auto malformed = [&](const uint8_t* at, const char* problem) {
        result.problem = problem;
        result.at = static_cast<size_t>(at - first);
        return finish(Scan::State::malformed);
    };

    for (;;) {
        if (p == end) return finish(Scan::State::need_more);
        const uint8_t* start = p;
        const uint8_t t = *p++;
        if ((t >= tag::integer && t <= tag::symbol) || t == tag::number) {
            if (p == end) return finish(Scan::State::need_more);
            size_t length = *p;
            if (length < 0x80) {
                ++p;
            } else {
                const Length outcome = take_long_length(p, end, length, canonical);
                if (outcome == Length::bad) return malformed(start, "length too long");
                if (outcome == Length::need_more) return finish(Scan::State::need_more);
            }
            if (t == tag::number && length != 8)
                return malformed(start, "a floating-point number that is not of eight bytes");
            if (t == tag::integer && length > max_integer_bytes)
                return malformed(start, "integer too long");
            if (static_cast<size_t>(end - p) < length) return finish(Scan::State::need_more);
            if (t == tag::integer) {
                if (!minimal_integer(p, length)) canonical = false;
            } else if (t == tag::string || t == tag::symbol) {
                if (!is_utf8(p, length)) return malformed(start, "text that is not UTF-8");
            }
            p += length;
        } else if (t >= tag::record && t <= tag::dictionary) {
            if (levels.count() == max_depth) return malformed(start, "nested too deeply");
            levels.push(start, t);
            owed = false;
            continue;
        } else if (t == tag::end) {
            const Level& level = levels.top();
            if (owed) return malformed(start, "an annotation without a value");
            if (level.kind < tag::record) return malformed(start, "an end without a beginning");
            if (level.kind == tag::record && !level.has_items)
                return malformed(start, "a record without a label");
            if (level.kind == tag::dictionary && level.has_items)
                return malformed(start, "a key without a value");
            start = level.start;
            levels.pop();
        } else if (t == tag::embedded || t == tag::annotated) {
            if (levels.count() == max_depth) return malformed(start, "nested too deeply");
            levels.push(start, t);
            owed = false;
            if (t == tag::embedded) {
                result.has_embedded = true;
            } else {
                result.has_annotations = true;
                canonical = false;
            }
            continue;
        } else if (t != tag::false_ && t != tag::true_) {
            return malformed(start, "an unknown tag");
        }
        owed = false;

        // The item from `start` to `p` is complete, and all embedded values that end with it.
        while (levels.top().kind == tag::embedded) {
            start = levels.top().start;
            levels.pop();
        }
        Level& level = levels.top();
        switch (level.kind) {
        case 0: return finish(Scan::State::complete);
        case tag::record: level.has_items = true; break;
        case tag::set:
            if (!in_order(level, start, p, canonical))
                return malformed(start, "an element twice in a set");
            break;
        case tag::dictionary:
            level.has_items = !level.has_items;
            if (level.has_items && !in_order(level, start, p, canonical))
                return malformed(start, "a key twice in a dictionary");
            break;
        case tag::annotated:
            levels.pop();
            owed = true;
            break;
        default: break;
        }
    }
}

// Copies well-formed bytes into an Encoder, token by token.
class Transcoder {
  public:
    enum class Annotations : uint8_t { drop, keep };
    enum class EmbeddedValues : uint8_t { refuse, raw, decode, encode };

    Transcoder(Encoder& out, Annotations annotations, EmbeddedValues embedded, EmbeddedCodec* codec)
        : out_(out), annotations_(annotations), embedded_(embedded), codec_(codec) {}

    void run(Bytes input) {
        const uint8_t* const end = input.data() + input.size();
        const uint8_t* at = input.data();
        while (at < end && !out_.failed()) at = token(at);
    }

    // Wire forms may nest deeper than what they stand for.
    static void no_limit(Encoder& encoder) { encoder.limit_ = static_cast<size_t>(-1); }

  private:
    const uint8_t* token(const uint8_t* at) {
        const uint8_t t = *at;
        switch (t) {
        case tag::false_:
        case tag::true_: out_.boolean(t == tag::true_); return at + 1;
        case tag::end: out_.end(); return at + 1;
        case tag::annotated:
            if (annotations_ == Annotations::drop) return skip_value(at + 1);
            out_.begin_annotated();
            return at + 1;
        case tag::embedded: return embedded(at);
        case tag::record:
        case tag::sequence:
        case tag::set:
        case tag::dictionary: out_.begin(t); return at + 1;
        default: break;
        }
        const uint8_t* const next = skip_value(at);
        ++at;
        while (*at >= 0x80) ++at; // the length, which is known
        const Bytes content(at + 1, next);
        if (t == tag::integer) {
            out_.integer_bytes(content);
        } else {
            out_.atom(t, content);
        }
        return next;
    }

    const uint8_t* embedded(const uint8_t* at) {
        switch (embedded_) {
        case EmbeddedValues::refuse: out_.fail("an embedded value is not allowed here"); break;
        case EmbeddedValues::raw: out_.begin_raw_embedded(); return at + 1;
        case EmbeddedValues::encode: {
            Embedded* const object = embedded_at(at);
            out_.begin_raw_embedded();
            codec_->encode(*object, out_);
            return at + embedded_size;
        }
        case EmbeddedValues::decode: {
            const uint8_t* const next = skip_value(at + 1);
            decode({at + 1, next});
            return next;
        }
        }
        return at + 1;
    }

    void decode(Bytes wire) {
        const Scan look = scan(wire);
        Result<Ref<Embedded>> object(Error{"an embedded value within an embedded value"});
        if (look.canonical && !look.has_embedded) {
            object = codec_->decode(View(wire, false));
        } else if (!look.has_embedded) {
            Result<Value> form = decode_packed(wire, nullptr);
            if (form) {
                object = codec_->decode(*form);
            } else {
                object = form.error();
            }
        }
        if (object) {
            out_.embedded(*object);
        } else {
            out_.fail(object.error().message);
        }
    }

    Encoder& out_;
    Annotations annotations_;
    EmbeddedValues embedded_;
    EmbeddedCodec* codec_;
};

Result<Value> decode_packed(Bytes input, const Scan& scanned, EmbeddedCodec* codec) {
    input = input.first(scanned.size);
    if (scanned.canonical && !scanned.has_embedded) return Value::from_canonical(input);
    Encoder encoder;
    Transcoder(encoder, Transcoder::Annotations::drop,
               codec != nullptr ? Transcoder::EmbeddedValues::decode
                                : Transcoder::EmbeddedValues::refuse,
               codec)
        .run(input);
    return encoder.finish();
}

Result<Value> decode_packed(Bytes input, EmbeddedCodec* codec) {
    return decode_packed(input, scan(input), codec);
}

Result<std::vector<uint8_t>> decode_packed_annotated(Bytes input) {
    Encoder encoder;
    Transcoder(encoder, Transcoder::Annotations::keep, Transcoder::EmbeddedValues::raw, nullptr)
        .run(input.first(scan(input).size));
    return encoder.finish_bytes();
}

std::vector<uint8_t> strip_annotations(Bytes annotated) {
    std::vector<uint8_t> stripped;
    const uint8_t* const end = annotated.data() + annotated.size();
    for (const uint8_t* at = annotated.data(); at < end;) {
        if (*at == tag::annotated) {
            at = skip_value(at + 1);
            continue;
        }
        const bool single = *at >= tag::record || *at == tag::end || *at == tag::embedded;
        const uint8_t* const next = single ? at + 1 : skip_value(at);
        stripped.insert(stripped.end(), at, next);
        at = next;
    }
    return stripped;
}

void encode_packed(View value, EmbeddedCodec* codec, std::vector<uint8_t>& out) {
    const Bytes bytes = value.bytes();
    const uint8_t* const end = bytes.data() + bytes.size();
    if (!value.may_embed() || next_embedded(bytes.data(), end) == end) {
        out.insert(out.end(), bytes.begin(), bytes.end());
        return;
    }
    // Through an Encoder, because wire forms may order elements in another way than addresses do.
    Encoder encoder;
    Transcoder::no_limit(encoder);
    Transcoder(encoder, Transcoder::Annotations::keep, Transcoder::EmbeddedValues::encode, codec)
        .run(bytes);
    Result<std::vector<uint8_t>> made = encoder.finish_bytes();
    // Only a codec that does not append one value gets here; the stream stays readable.
    if (!made) made = std::vector<uint8_t>{tag::false_};
    out.insert(out.end(), made->begin(), made->end());
}

} // namespace muster::preserves
