#include "init/preserves/value.h"

#include <sys/random.h>

#include <algorithm>
#include <ctime>
#include <new>
#include <vector>

#include "init/preserves/encoder.h"

namespace muster::preserves {

namespace {

bool is_atom_with_length(uint8_t t) {
    return (t >= tag::integer && t <= tag::symbol) || t == tag::number;
}

size_t take_long_length(const uint8_t*& at) {
    size_t length = 0;
    for (unsigned shift = 0;; shift += 7) {
        const uint8_t byte = *at++;
        length |= static_cast<size_t>(byte & 0x7f) << shift;
        if (byte < 0x80) return length;
    }
}

// A length (LEB128) of well-formed bytes. Inline even where size counts: every look at a value
// comes here.
[[gnu::always_inline]] inline size_t take_length(const uint8_t*& at) {
    return *at < 0x80 ? *at++ : take_long_length(at);
}

size_t length_size(size_t length) {
    size_t size = 1;
    while (length >>= 7)
        ++size;
    return size;
}

uint8_t* put_length(uint8_t* out, size_t length) {
    while (length >= 0x80) {
        *out++ = static_cast<uint8_t>(length | 0x80);
        length >>= 7;
    }
    *out++ = static_cast<uint8_t>(length);
    return out;
}

uint8_t* put_bytes(uint8_t* out, const void* bytes, size_t size) {
    if (size != 0) std::memcpy(out, bytes, size);
    return out + size;
}

uint8_t* put_atom(uint8_t* out, uint8_t kind, const void* content, size_t size) {
    *out++ = kind;
    return put_bytes(put_length(out, size), content, size);
}

uint64_t load64(const uint8_t* p) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    return word;
}

uint64_t load32(const uint8_t* p) {
    uint32_t word;
    std::memcpy(&word, p, 4);
    return word;
}

__extension__ typedef unsigned __int128 Wide;

uint64_t mix(uint64_t a, uint64_t b) {
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

struct Seed {
    uint64_t a = 0;
    uint64_t b = 0;

    Seed() {
        // Early in the boot the pool may not be ready: rather a worse seed than a wait
        // (getrandom(2): GRND_INSECURE, since Linux 5.6).
        constexpr unsigned insecure = 4;
        uint64_t words[2] = {0, 0};
        if (::getrandom(words, sizeof words, insecure) != sizeof words &&
            ::getrandom(words, sizeof words, GRND_NONBLOCK) != sizeof words) {
            timespec now;
            ::clock_gettime(CLOCK_MONOTONIC, &now);
            words[0] ^= static_cast<uint64_t>(now.tv_nsec) * 0x9e3779b97f4a7c15u;
            words[1] ^= reinterpret_cast<uintptr_t>(&now);
        }
        a = words[0];
        b = words[1] | 1;
    }
};

} // namespace

// The form is that of wyhash (https://github.com/wangyi-fudan/wyhash, public domain): products of
// the input with secrets, folded.
uint64_t hash_bytes(Bytes bytes) {
    static const Seed seed;
    constexpr uint64_t secret = 0xa0761d6478bd642fu;
    const uint8_t* p = bytes.data();
    size_t left = bytes.size();
    uint64_t state = seed.a;
    while (left > 16) {
        state = mix(load64(p) ^ seed.b, load64(p + 8) ^ state);
        p += 16;
        left -= 16;
    }
    uint64_t a = 0;
    uint64_t b = 0;
    if (left >= 8) {
        a = load64(p);
        b = load64(p + left - 8);
    } else if (left >= 4) {
        a = load32(p);
        b = load32(p + left - 4);
    } else if (left > 0) {
        a = static_cast<uint64_t>(p[0]) << 16 | static_cast<uint64_t>(p[left / 2]) << 8 |
            p[left - 1];
    }
    return mix(secret ^ bytes.size() ^ seed.b, mix(a ^ seed.b, b ^ state ^ secret));
}

const uint8_t* skip_value(const uint8_t* at) {
    size_t depth = 0;
    size_t needed = 1; // values, at depth 0
    do {
        const uint8_t t = *at++;
        if (is_atom_with_length(t)) {
            const uint8_t* content = at; // a copy, so that `at` may stay in a register
            const size_t length = take_length(content);
            at = content + length;
        } else if (t >= tag::record) {
            ++depth;
            continue;
        } else if (t == tag::embedded) {
            continue;
        } else if (t == tag::annotated) {
            if (depth == 0) ++needed;
            continue;
        } else if (t == tag::end) {
            --depth;
        }
        if (depth == 0) --needed;
    } while (needed != 0);
    return at;
}

const uint8_t* next_embedded(const uint8_t* at, const uint8_t* end) {
    while (at < end) {
        const uint8_t t = *at;
        if (t == tag::embedded) return at;
        ++at;
        if (is_atom_with_length(t)) {
            const size_t length = take_length(at);
            at += length;
        }
    }
    return end;
}

// Makes the two kinds of Value around a function that fills in the bytes.
struct ValueBuilder {
    template <typename Fill>
    static Value build(size_t size, bool embedded, Fill fill) {
        Value value;
        build_in(value, size, embedded, fill);
        return value;
    }

    // REQUIRES: `value` is empty.
    template <typename Fill>
    static void build_in(Value& value, size_t size, bool embedded, Fill fill) {
        if (size <= Value::inline_max && !embedded) {
            fill(value.raw_);
            value.raw_[Value::last] = static_cast<uint8_t>(size);
            return;
        }
        auto* block = static_cast<Value::Block*>(::operator new(sizeof(Value::Block) + size));
        block->references = 1;
        block->size = static_cast<uint32_t>(size) & 0x7fff'ffff;
        block->embedded = embedded;
        block->hash = 0;
        fill(block->bytes());
        if (embedded)
            for_each_embedded(View({block->bytes(), size}, true),
                              [](Embedded& object) { object.retain(); });
        value.set_block(block);
    }
};

static bool embeds(View view) {
    const Bytes bytes = view.bytes();
    const uint8_t* const end = bytes.data() + bytes.size();
    return view.may_embed() && next_embedded(bytes.data(), end) != end;
}

Value::Value(View view) {
    if (!view.valid()) return;
    const Bytes bytes = view.bytes();
    ValueBuilder::build_in(*this, bytes.size(), embeds(view),
                           [&](uint8_t* out) { copy_bytes(out, bytes.data(), bytes.size()); });
}

void Value::drop() {
    Block* b = block();
    if (--b->references != 0) return;
    if (b->embedded)
        for_each_embedded(View({b->bytes(), b->size}, true),
                          [](Embedded& object) { object.release(); });
    ::operator delete(b); // not by size: clang 14 needs an option for that
}

uint64_t View::hash() const { return hash_bytes(bytes()); }

uint64_t Value::block_hash() const {
    Block* b = block();
    if (b->hash == 0) b->hash = hash_bytes({b->bytes(), b->size});
    return b->hash;
}

std::optional<bool> View::as_bool() const {
    if (!is(Kind::boolean)) return std::nullopt;
    return data_[0] == tag::true_;
}

static Bytes content(const uint8_t* at) {
    ++at;
    const size_t length = take_length(at);
    return {at, length};
}

static std::string_view text_of(Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<int64_t> View::as_int() const {
    if (!is(Kind::integer)) return std::nullopt;
    const Bytes digits = integer_bytes();
    if (digits.size() > 8) return std::nullopt;
    uint64_t value = !digits.empty() && digits[0] >= 0x80 ? ~uint64_t{0} : 0;
    for (const uint8_t byte : digits)
        value = value << 8 | byte;
    return static_cast<int64_t>(value);
}

std::optional<double> View::as_number() const {
    if (!is(Kind::number)) return std::nullopt;
    uint64_t bits = 0;
    for (size_t i = 2; i < 10; ++i)
        bits = bits << 8 | data_[i];
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

std::optional<std::string_view> View::as_string() const {
    if (!is(Kind::string)) return std::nullopt;
    return text_of(content(data_));
}

std::optional<std::string_view> View::as_symbol() const {
    if (!is(Kind::symbol)) return std::nullopt;
    return text_of(content(data_));
}

std::optional<std::string_view> View::as_text() const {
    if (!is(Kind::symbol) && !is(Kind::string)) return std::nullopt;
    return text_of(content(data_));
}

std::optional<Bytes> View::as_bytes() const {
    if (!is(Kind::bytes)) return std::nullopt;
    return content(data_);
}

Bytes View::integer_bytes() const { return content(data_); }

Embedded* View::as_embedded() const {
    return is(Kind::embedded) && may_embed_ ? embedded_at(data_) : nullptr;
}

View View::label() const {
    if (!is(Kind::record)) return {};
    return {Bytes(data_ + 1, skip_value(data_ + 1)), may_embed_};
}

ItemRange View::items() const {
    static constexpr uint8_t nothing = tag::end;
    if (!is_compound()) return {&nothing, false};
    return {data_[0] == tag::record ? skip_value(data_ + 1) : data_ + 1, may_embed_};
}

bool View::is_record(std::string_view symbol_label, size_t min_fields) const {
    if (!is(Kind::record) || data_[1] != tag::symbol) return false;
    const uint8_t* at = data_ + 2;
    const size_t length = take_length(at);
    if (text_of({at, length}) != symbol_label) return false;
    at += length;
    for (; min_fields > 0; --min_fields) {
        if (*at == tag::end) return false;
        if (min_fields > 1) at = skip_value(at);
    }
    return true;
}

View View::at(size_t index) const {
    if (!is(Kind::record) && !is(Kind::sequence)) return {};
    const uint8_t* at = data_ + 1;
    if (data_[0] == tag::record) at = skip_value(at);
    for (; *at != tag::end; at = skip_value(at))
        if (index-- == 0) return {Bytes(at, skip_value(at)), may_embed_};
    return {};
}

size_t View::count() const {
    size_t count = 0;
    for ([[maybe_unused]] const View item : items())
        ++count;
    return is(Kind::dictionary) ? count / 2 : count;
}

View View::get(View key) const {
    if (!is(Kind::dictionary)) return {};
    for (const uint8_t* at = data_ + 1; *at != tag::end;) {
        const uint8_t* const value = skip_value(at);
        const uint8_t* const next = skip_value(value);
        const int order = compare_bytes({at, value}, key.bytes());
        if (order == 0) return {Bytes(value, next), may_embed_};
        if (order > 0) break;
        at = next;
    }
    return {};
}

View View::get(std::string_view symbol_key) const {
    if (!is(Kind::dictionary)) return {};
    for (const uint8_t* at = data_ + 1; *at != tag::end;) {
        const uint8_t* const value = skip_value(at);
        const uint8_t* const next = skip_value(value);
        if (*at == tag::symbol && text_of(content(at)) == symbol_key)
            return {Bytes(value, next), may_embed_};
        at = next;
    }
    return {};
}

namespace {

template <typename T>
int order_of(T a, T b) {
    return a < b ? -1 : a > b;
}

// IEEE 754 totalOrder: negative numbers have their bits turned over, others only the sign.
uint64_t ordered_bits(const uint8_t* big_endian) {
    uint64_t bits = 0;
    for (int i = 0; i < 8; ++i)
        bits = bits << 8 | big_endian[i];
    return bits >> 63 ? ~bits : bits | uint64_t{1} << 63;
}

int compare_integers(Bytes a, Bytes b) {
    const bool a_negative = !a.empty() && a[0] >= 0x80;
    const bool b_negative = !b.empty() && b[0] >= 0x80;
    if (a_negative != b_negative) return a_negative ? -1 : 1;
    if (a.size() != b.size()) return (a.size() < b.size()) != a_negative ? -1 : 1;
    return compare_bytes(a, b);
}

int compare_lists(const std::vector<View>& a, const std::vector<View>& b) {
    for (size_t i = 0; i < a.size() && i < b.size(); ++i)
        if (const int order = compare(a[i], b[i]); order != 0) return order;
    return order_of(a.size(), b.size());
}

// Elements, or keys and values in turn, in the total order, which is not the canonical one.
std::vector<View> sorted_items(View v) {
    std::vector<View> items;
    if (v.is(Kind::set)) {
        for (const View item : v.items())
            items.push_back(item);
        std::sort(items.begin(), items.end(), [](View x, View y) { return compare(x, y) < 0; });
        return items;
    }
    std::vector<std::pair<View, View>> entries;
    for (auto at = v.items().begin(); at != std::default_sentinel; ++at) {
        const View key = *at;
        ++at;
        entries.emplace_back(key, *at);
    }
    std::sort(entries.begin(), entries.end(),
              [](const auto& x, const auto& y) { return compare(x.first, y.first) < 0; });
    for (const auto& [key, value] : entries) {
        items.push_back(key);
        items.push_back(value);
    }
    return items;
}

} // namespace

int compare(View a, View b) {
    if (!a.valid() || !b.valid()) return order_of(a.valid(), b.valid());
    if (a.kind() != b.kind()) return order_of(a.kind(), b.kind());
    if (a == b) return 0;
    const uint8_t* x = a.bytes().data();
    const uint8_t* y = b.bytes().data();
    switch (a.kind()) {
    case Kind::boolean:
        return order_of(x[0], y[0]);
    case Kind::number:
        return order_of(ordered_bits(x + 2), ordered_bits(y + 2));
    case Kind::integer:
        return compare_integers(a.integer_bytes(), b.integer_bytes());
    case Kind::string:
    case Kind::bytes:
    case Kind::symbol:
        return compare_bytes(content(x), content(y));
    case Kind::embedded:
        return order_of(embedded_at(x), embedded_at(y));
    case Kind::set:
    case Kind::dictionary:
        return compare_lists(sorted_items(a), sorted_items(b));
    case Kind::record:
    case Kind::sequence:
        break;
    }
    // The label counts as the first item.
    auto i = ItemRange(x + 1, a.may_embed()).begin();
    auto j = ItemRange(y + 1, b.may_embed()).begin();
    for (; i != std::default_sentinel && j != std::default_sentinel; ++i, ++j)
        if (const int order = compare(*i, *j); order != 0) return order;
    return order_of(i != std::default_sentinel, j != std::default_sentinel);
}

Value boolean(bool value) {
    return ValueBuilder::build(1, false,
                               [&](uint8_t* out) { out[0] = value ? tag::true_ : tag::false_; });
}

Value integer(int64_t value) {
    uint8_t digits[8];
    for (int i = 0; i < 8; ++i)
        digits[i] = static_cast<uint8_t>(value >> (56 - 8 * i));
    size_t skip = 0;
    while (skip < 7 && digits[skip] == (value < 0 ? 0xff : 0) &&
           (digits[skip + 1] >= 0x80) == (value < 0))
        ++skip;
    if (value == 0) skip = 8;
    return ValueBuilder::build(10 - skip, false, [&](uint8_t* out) {
        put_atom(out, tag::integer, digits + skip, 8 - skip);
    });
}

Value number(double value) {
    uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    uint8_t digits[8];
    for (int i = 0; i < 8; ++i)
        digits[i] = static_cast<uint8_t>(bits >> (56 - 8 * i));
    return ValueBuilder::build(
        10, false, [&](uint8_t* out) { put_atom(out, tag::number, digits, sizeof digits); });
}

static Value atom(uint8_t kind, const void* content, size_t size) {
    return ValueBuilder::build(1 + length_size(size) + size, false,
                               [&](uint8_t* out) { put_atom(out, kind, content, size); });
}

Value string(std::string_view text) { return atom(tag::string, text.data(), text.size()); }
Value byte_string(Bytes bytes) { return atom(tag::bytes, bytes.data(), bytes.size()); }
Value symbol(std::string_view text) { return atom(tag::symbol, text.data(), text.size()); }

Value embedded(const Ref<Embedded>& object) {
    Embedded* const address = object.get();
    return ValueBuilder::build(embedded_size, true, [&](uint8_t* out) {
        out[0] = tag::embedded;
        put_atom(out + 1, tag::bytes, &address, sizeof address);
    });
}

// A compound of `head` and the bytes of the items.
template <typename Items>
static Value compound(uint8_t kind, std::string_view label, const Items& items) {
    size_t size = 2;
    bool embedded = false;
    if (kind == tag::record) size += 1 + length_size(label.size()) + label.size();
    for (const View item : items) {
        size += item.bytes().size();
        embedded = embedded || embeds(item);
    }
    return ValueBuilder::build(size, embedded, [&](uint8_t* out) {
        *out++ = kind;
        if (kind == tag::record) out = put_atom(out, tag::symbol, label.data(), label.size());
        for (const View item : items)
            out = put_bytes(out, item.bytes().data(), item.bytes().size());
        *out = tag::end;
    });
}

Value record(std::string_view symbol_label, std::initializer_list<View> fields) {
    return compound(tag::record, symbol_label, fields);
}

Value sequence(std::initializer_list<View> items) { return compound(tag::sequence, {}, items); }
Value sequence(std::span<const Value> items) { return compound(tag::sequence, {}, items); }

Value sequence_of_run(View run) {
    const Bytes items = run.bytes();
    return ValueBuilder::build(items.size() + 2, embeds(run), [&](uint8_t* out) {
        out[0] = tag::sequence;
        copy_bytes(out + 1, items.data(), items.size());
        out[items.size() + 1] = tag::end;
    });
}

Value dictionary(std::initializer_list<std::pair<std::string_view, View>> symbol_keys) {
    Encoder encoder;
    encoder.begin_dictionary();
    for (const auto& [key, value] : symbol_keys) {
        encoder.symbol(key);
        encoder.value(value);
    }
    encoder.end();
    Result<Value> made = encoder.finish();
    return made ? std::move(*made) : Value();
}

} // namespace muster::preserves
