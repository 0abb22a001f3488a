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
    Levels() { small_[0] = {}; }
    Levels(const Levels&) = delete;
    Levels& operator=(const Levels&) = delete;

    // Stands for "outside of everything" and has kind 0.
    Level* outermost() { return small_; }

    // The level behind `top`, where it is to be written.
    Level* next(Level* top) {
        ++top;
        return top == small_ + few ? grow() : top;
    }

    size_t count(const Level* top) const {
        const Level* const first = large_.empty() ? small_ : large_.data();
        return static_cast<size_t>(top - first);
    }

  private:
    static constexpr size_t few = 64;

    Level* grow() {
        large_.resize(max_depth + 1);
        std::memcpy(large_.data(), small_, sizeof small_);
        return large_.data() + few;
    }

    Level small_[few];
    std::vector<Level> large_;
};

// How an element or key of a set or dictionary stands to the one before: negative is right, zero
// is twice the same.
int order_of_next(Level& level, const uint8_t* start, const uint8_t* end) {
    const Bytes item(start, end);
    int order = -1;
    if (level.previous != nullptr)
        order = compare_bytes({level.previous, level.previous_size}, item);
    level.previous = start;
    level.previous_size = static_cast<uint32_t>(item.size());
    return order;
}

bool minimal_integer(const uint8_t* p, size_t length) {
    if (length == 0) return true;
    if (length == 1) return p[0] != 0;
    return !(p[0] == 0 && p[1] < 0x80) && !(p[0] == 0xff && p[1] >= 0x80);
}

// The outcome of scan for input that has no value.
Scan malformed(size_t at, const char* problem) {
    Scan result;
    result.state = Scan::State::malformed;
    result.problem = problem;
    result.at = at;
    return result;
}

// The second and further bytes of an unsigned LEB128 of at most five bytes, added to `length`. The
// address behind it; null if it is too long or too large, `end` if it is cut off.
const uint8_t* long_length(const uint8_t* p, const uint8_t* end, size_t& length, bool& minimal) {
    length &= 0x7f;
    for (unsigned shift = 7; shift < 35; shift += 7) {
        if (p == end) return end;
        const uint8_t byte = *p++;
        length |= static_cast<size_t>(byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (byte == 0) minimal = false;
            return length > max_length ? nullptr : p;
        }
    }
    return nullptr;
}

// What is wrong with an end here, or null.
const char* unexpected_end(const Level& level, bool owed) {
    if (owed) return "an annotation without a value";
    if (level.kind < tag::record) return "an end without a beginning";
    if (level.kind == tag::record && !level.has_items) return "a record without a label";
    if (level.kind == tag::dictionary && level.has_items) return "a key without a value";
    return nullptr;
}

// With `has_embedded` null, embedded values are not plain.
size_t scan_plain(Bytes input, bool* has_embedded) {
    constexpr size_t deepest = 32;
    const uint8_t* p = input.data();
    const uint8_t* const end = p + input.size();
    size_t depth = 0;
    for (;;) {
        if (end - p < 2) {
            // Only the last byte of the outermost value may be the last one.
            return p != end && *p == tag::end && depth == 1 ? input.size() : 0;
        }
        const uint8_t t = *p;
        if (t == tag::record || t == tag::sequence) {
            if (++depth > deepest || (t == tag::record && p[1] == tag::end)) return 0;
            ++p;
            continue;
        }
        if (t == tag::end) {
            if (depth-- == 0) return 0;
            ++p;
        } else if (t >= tag::integer && t <= tag::symbol) {
            const size_t length = p[1];
            p += 2;
            if (length >= 0x80 || static_cast<size_t>(end - p) < length) return 0;
            if (t == tag::integer ? !minimal_integer(p, length)
                                  : t != tag::bytes && !is_ascii(p, length))
                return 0;
            p += length;
        } else if (t == tag::embedded && has_embedded && p[1] != tag::end &&
                   p[1] != tag::embedded) { // one in another counts as a level
            *has_embedded = true;
            ++p;
            continue;
        } else if (t == tag::false_ || t == tag::true_) {
            ++p;
        } else {
            return 0;
        }
        if (depth == 0) return static_cast<size_t>(p - input.data());
    }
}

} // namespace

size_t scan_plain(Bytes input) { return scan_plain(input, nullptr); }

Scan scan(Bytes input) {
    bool has_embedded = false;
    if (const size_t size = scan_plain(input, &has_embedded)) {
        Scan result;
        result.state = Scan::State::complete;
        result.size = size;
        result.canonical = true;
        result.has_embedded = has_embedded;
        return result;
    }
    const uint8_t* const first = input.data();
    const uint8_t* const end = first + input.size();
    const uint8_t* p = first;
    Levels levels;
    Level* top = levels.outermost();
    Scan result;
    bool canonical = true;
    bool owed = false; // an annotation is complete, its value must follow

    while (p != end) {
        const uint8_t* start = p;
        const uint8_t t = *p++;
        if (t >= tag::integer ? t <= tag::symbol : t == tag::number) {
            if (p == end) return {};
            size_t length = *p++;
            if (length >= 0x80) {
                bool minimal = true;
                p = long_length(p, end, length, minimal);
                if (p == nullptr)
                    return malformed(static_cast<size_t>(start - first), "length too long");
                if (p == end && p[-1] >= 0x80) return {}; // cut off
                if (!minimal) canonical = false;
            }
            const char* problem = nullptr;
            if (t == tag::number) {
                if (length != 8) problem = "a floating-point number that is not of eight bytes";
            } else if (t == tag::integer) {
                if (length > max_integer_bytes) problem = "integer too long";
            }
            if (problem == nullptr && static_cast<size_t>(end - p) < length) return {};
            if (t == tag::integer) {
                if (problem == nullptr && !minimal_integer(p, length)) canonical = false;
            } else if (t == tag::string || t == tag::symbol) {
                if (!is_ascii(p, length) && !is_utf8(p, length)) problem = "text that is not UTF-8";
            }
            if (problem != nullptr) return malformed(static_cast<size_t>(start - first), problem);
            p += length;
        } else if ((t >= tag::record && t <= tag::dictionary) || t == tag::embedded ||
                   t == tag::annotated) {
            if (levels.count(top) == max_depth)
                return malformed(static_cast<size_t>(start - first), "nested too deeply");
            top = levels.next(top);
            *top = {start, nullptr, 0, t, false};
            owed = false;
            if (t == tag::embedded) result.has_embedded = true;
            if (t == tag::annotated) {
                result.has_annotations = true;
                canonical = false;
            }
            continue;
        } else if (t == tag::end) {
            if (const char* const problem = unexpected_end(*top, owed))
                return malformed(static_cast<size_t>(start - first), problem);
            start = top->start;
            --top;
        } else if (t != tag::false_ && t != tag::true_) {
            return malformed(static_cast<size_t>(start - first), "an unknown tag");
        }
        owed = false;

        // The item from `start` to `p` is complete, and all embedded values that end with it.
        while (top->kind == tag::embedded) {
            start = top->start;
            --top;
        }
        const char* twice = nullptr;
        switch (top->kind) {
        case 0:
            result.state = Scan::State::complete;
            result.size = static_cast<size_t>(p - first);
            result.canonical = canonical;
            return result;
        case tag::sequence:
            break;
        case tag::record:
            top->has_items = true;
            break;
        case tag::set:
            twice = "an element twice in a set";
            break;
        case tag::dictionary:
            top->has_items = !top->has_items;
            if (top->has_items) twice = "a key twice in a dictionary";
            break;
        default: // an annotation
            --top;
            owed = true;
        }
        if (twice != nullptr && canonical) {
            const int order = order_of_next(*top, start, p);
            if (order == 0) return malformed(static_cast<size_t>(start - first), twice);
            if (order > 0) canonical = false;
        }
    }
    return {};
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
        while (at < end && !out_.failed())
            at = token(at);
    }

    // Wire forms may nest deeper than what they stand for.
    static void no_limit(Encoder& encoder) { encoder.limit_ = static_cast<size_t>(-1); }

  private:
    const uint8_t* token(const uint8_t* at) {
        const uint8_t t = *at;
        switch (t) {
        case tag::false_:
        case tag::true_:
            out_.boolean(t == tag::true_);
            return at + 1;
        case tag::end:
            out_.end();
            return at + 1;
        case tag::annotated:
            if (annotations_ == Annotations::drop) return skip_value(at + 1);
            out_.begin_annotated();
            return at + 1;
        case tag::embedded:
            return embedded(at);
        case tag::record:
        case tag::sequence:
        case tag::set:
        case tag::dictionary:
            out_.begin(t);
            return at + 1;
        default:
            break;
        }
        const uint8_t* const next = skip_value(at);
        ++at;
        while (*at >= 0x80)
            ++at; // the length, which is known
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
        case EmbeddedValues::refuse:
            out_.fail("an embedded value is not allowed here");
            break;
        case EmbeddedValues::raw:
            out_.begin_raw_embedded();
            return at + 1;
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
