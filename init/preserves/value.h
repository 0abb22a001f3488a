// Preserves values (https://preserves.dev; reference section 1).
//
// A value is its canonical bytes: the binary syntax without annotations, with minimal integers and
// with set elements and dictionary entries sorted by their own canonical bytes. There is no tree.
// Two values are equal exactly if their bytes are, and fields are read out of the bytes when
// somebody wants them.
//
// An embedded value (a capability) stands in these bytes as the tag 0x86 and a byte string of eight
// bytes that hold the address of its Embedded object. Whoever owns the bytes owns a reference to
// each of these objects. Such bytes never leave the process: writers translate them (packed.h,
// text_writer.h), readers make them (packed.h, text_reader.h) and accept none from outside.
//
//   View   looks at the canonical bytes of a value that something else keeps alive.
//   Value  owns one: up to 15 bytes without capabilities in place, else one counted block.
//
// None of this is thread safe, and none of it fails but for want of memory: what is malformed never
// becomes a View.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "init/base/bytes.h"
#include "init/base/ref.h"

namespace muster::preserves {

using Bytes = std::span<const uint8_t>;

// The classes of values, in the order in which Preserves sorts them.
enum class Kind : uint8_t {
    boolean,
    number, // IEEE 754 binary64, "Double"
    integer,
    string,
    bytes,
    symbol,
    record,
    sequence,
    set,
    dictionary,
    embedded,
};

// The tag bytes of the binary syntax.
namespace tag {
inline constexpr uint8_t false_ = 0x80;
inline constexpr uint8_t true_ = 0x81;
inline constexpr uint8_t end = 0x84;
inline constexpr uint8_t annotated = 0x85;
inline constexpr uint8_t embedded = 0x86;
inline constexpr uint8_t number = 0x87;
inline constexpr uint8_t integer = 0xb0;
inline constexpr uint8_t string = 0xb1;
inline constexpr uint8_t bytes = 0xb2;
inline constexpr uint8_t symbol = 0xb3;
inline constexpr uint8_t record = 0xb4;
inline constexpr uint8_t sequence = 0xb5;
inline constexpr uint8_t set = 0xb6;
inline constexpr uint8_t dictionary = 0xb7;
} // namespace tag

// How deep values may nest. Readers refuse more, so walking a value by recursion is bounded.
inline constexpr size_t max_depth = 200;

// The longest integer, so that nobody can keep us busy with converting one to decimal digits.
// Readers and the Encoder refuse longer ones.
inline constexpr size_t max_integer_bytes = 32768;

// What an embedded value points to. The dataspace's capabilities derive from it.
class Embedded : public Counted {};

class Value;
class ItemRange;

class View {
  public:
    View() = default;
    // REQUIRES: `bytes` hold exactly one value in canonical form; `may_embed` is true if it could
    // contain capabilities (then their objects are alive as long as the bytes).
    View(Bytes bytes, bool may_embed)
        : data_(bytes.data()), size_(static_cast<uint32_t>(bytes.size())), may_embed_(may_embed) {}

    bool valid() const { return size_ != 0; }
    Bytes bytes() const { return {data_, size_}; }
    bool may_embed() const { return may_embed_; }
    Kind kind() const { return kind_of_tag(data_[0]); } // REQUIRES: valid()
    bool is(Kind k) const { return valid() && kind() == k; }
    bool is_compound() const { return valid() && data_[0] >= tag::record; }
    uint64_t hash() const;

    // Atoms: empty if the value is of another kind.
    std::optional<bool> as_bool() const;
    std::optional<int64_t> as_int() const; // also empty if it does not fit
    std::optional<double> as_number() const;
    std::optional<std::string_view> as_string() const;
    std::optional<std::string_view> as_symbol() const;
    std::optional<Bytes> as_bytes() const;
    Bytes integer_bytes() const;   // two's complement, big endian; REQUIRES kind integer
    Embedded* as_embedded() const; // null if it is none
    bool is_symbol(std::string_view text) const { return as_symbol() == text; }
    // The text of a string or a symbol; names in configuration may be either.
    std::optional<std::string_view> as_text() const;

    // Records. `label` is invalid for other kinds. `field` and `fields` do not count the label.
    View label() const;
    bool is_record(std::string_view symbol_label, size_t min_fields = 0) const;

    // The i-th field of a record or element of a sequence; invalid if there is none.
    View at(size_t index) const;
    // Fields of a record, elements of a sequence or set; keys and values in turn of a dictionary.
    ItemRange items() const;
    size_t count() const; // number of items; entries for a dictionary

    // The value under `key` in a dictionary; invalid if there is none.
    View get(View key) const;
    View get(std::string_view symbol_key) const;

    friend bool operator==(View a, View b) {
        return a.size_ == b.size_ && equal_bytes(a.data_, b.data_, a.size_);
    }

  private:
    static Kind kind_of_tag(uint8_t t) {
        if (t >= tag::integer) return static_cast<Kind>(t - tag::integer + int(Kind::integer));
        if (t == tag::number) return Kind::number;
        return t == tag::embedded ? Kind::embedded : Kind::boolean;
    }

    const uint8_t* data_ = nullptr;
    uint32_t size_ = 0;
    bool may_embed_ = false;
};

// The address behind a value's last byte; REQUIRES a well-formed value at `at`, annotated or not.
// Not for input.
const uint8_t* skip_value(const uint8_t* at);

// Forward iteration over the items of a compound value.
class ItemRange {
  public:
    class Iterator {
      public:
        Iterator(const uint8_t* at, bool may_embed) : at_(at), may_embed_(may_embed) { look(); }
        View operator*() const { return {Bytes(at_, next_), may_embed_}; }
        Iterator& operator++() {
            at_ = next_;
            look();
            return *this;
        }
        bool operator!=(std::default_sentinel_t) const { return *at_ != tag::end; }
        bool operator==(std::default_sentinel_t) const { return *at_ == tag::end; }

      private:
        void look() { next_ = *at_ == tag::end ? at_ : skip_value(at_); }

        const uint8_t* at_;
        const uint8_t* next_;
        bool may_embed_;
    };

    ItemRange(const uint8_t* first, bool may_embed) : first_(first), may_embed_(may_embed) {}
    Iterator begin() const { return {first_, may_embed_}; }
    std::default_sentinel_t end() const { return {}; }

  private:
    const uint8_t* first_;
    bool may_embed_;
};

class Value {
  public:
    Value() = default;
    Value(const Value& other) {
        std::memcpy(raw_, other.raw_, sizeof raw_);
        if (in_block()) ++block()->references;
    }
    Value(Value&& other) noexcept {
        std::memcpy(raw_, other.raw_, sizeof raw_);
        other.raw_[last] = 0;
    }
    Value& operator=(const Value& other) {
        Value copy(other);
        swap(copy);
        return *this;
    }
    Value& operator=(Value&& other) noexcept {
        Value taken(std::move(other));
        swap(taken);
        return *this;
    }
    ~Value() {
        if (in_block()) drop();
    }

    // A copy of what `view` sees, owning a reference to each capability in it.
    explicit Value(View view);
    // The same for bytes of which it is known that they hold no capability.
    static Value from_canonical(Bytes bytes) { return Value(View(bytes, false)); }

    // Sees this Value: a temporary one's view ends with the full expression (not with a loop over
    // its items), and moving a Value that is in place moves the bytes.
    View view() const {
        if (!in_block()) return {Bytes(raw_, raw_[last]), false};
        const Block* b = block();
        return {Bytes(b->bytes(), b->size), b->embedded != 0};
    }
    operator View() const { return view(); }
    bool valid() const { return raw_[last] != 0; }
    bool has_embedded() const { return in_block() && block()->embedded != 0; }
    uint64_t hash() const { return in_block() ? block_hash() : view().hash(); }

    // A View's readers, for convenience.
    Kind kind() const { return view().kind(); }
    bool is(Kind k) const { return view().is(k); }
    Bytes bytes() const { return view().bytes(); }

    friend bool operator==(const Value& a, const Value& b) { return a.view() == b.view(); }

  private:
    friend struct ValueBuilder;

    // Followed by the bytes.
    struct Block {
        uint32_t references;
        uint32_t size : 31;
        uint32_t embedded : 1; // there are capabilities in it
        uint64_t hash;         // 0: not asked for yet

        uint8_t* bytes() { return reinterpret_cast<uint8_t*>(this + 1); }
        const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(this + 1); }
    };

    static constexpr size_t inline_max = 15;
    static constexpr size_t last = 15;
    static constexpr uint8_t block_mark = 0xff;

    uint64_t block_hash() const;
    bool in_block() const { return raw_[last] == block_mark; }
    Block* block() const {
        Block* b;
        std::memcpy(&b, raw_, sizeof b);
        return b;
    }
    // Written as a whole: processors wait when they read at once what was written in pieces.
    void set_block(Block* block) {
        struct {
            Block* block;
            uint8_t rest[8];
        } whole{block, {0, 0, 0, 0, 0, 0, 0, block_mark}};
        std::memcpy(raw_, &whole, sizeof raw_);
    }
    void swap(Value& other) noexcept {
        uint8_t mine[sizeof raw_];
        std::memcpy(mine, raw_, sizeof raw_);
        std::memcpy(raw_, other.raw_, sizeof raw_);
        std::memcpy(other.raw_, mine, sizeof raw_);
    }
    void drop();

    // The bytes and in the last one their number (0: no value), or the address of a block.
    alignas(8) uint8_t raw_[16] = {};
};

// For hash tables keyed by values; may be asked with a View.
struct ValueHash {
    using is_transparent = void;
    size_t operator()(const Value& v) const { return v.hash(); }
    size_t operator()(View v) const { return v.hash(); }
};
struct ValueEqual {
    using is_transparent = void;
    bool operator()(View a, View b) const { return a == b; }
};

// The total order of Preserves (reference 1.1): negative, zero or positive. Capabilities are
// ordered by address.
int compare(View a, View b);

// The first embedded value (its tag) in [at, end), which hold whole tokens of well-formed values;
// `end` if there is none.
const uint8_t* next_embedded(const uint8_t* at, const uint8_t* end);
// The object of the capability whose tag is at `at`.
inline Embedded* embedded_at(const uint8_t* at) {
    Embedded* object;
    std::memcpy(&object, at + 3, sizeof object);
    return object;
}
inline constexpr size_t embedded_size = 3 + sizeof(Embedded*);
static_assert(sizeof(Embedded*) == 8, "embedded values hold an address of eight bytes");

// Calls visit(Embedded&) for each capability in a value, in the order in which they stand, as
// often as they stand there.
template <typename Visit>
void for_each_embedded(View value, Visit visit) {
    if (!value.may_embed()) return;
    const uint8_t* const end = value.bytes().data() + value.bytes().size();
    const uint8_t* at = value.bytes().data();
    while ((at = next_embedded(at, end)) != end) {
        visit(*embedded_at(at));
        at += embedded_size;
    }
}

// The canonical order of set elements and dictionary keys: by bytes.
inline int compare_bytes(Bytes a, Bytes b) {
    const size_t common = a.size() < b.size() ? a.size() : b.size();
    const int order = common == 0 ? 0 : std::memcmp(a.data(), b.data(), common);
    if (order != 0) return order;
    return a.size() < b.size() ? -1 : a.size() > b.size();
}

// A hash of any bytes, seeded anew in each process so that peers cannot aim at collisions.
uint64_t hash_bytes(Bytes bytes);

// Makers for the common cases. Larger values are made with an Encoder (encoder.h).
Value boolean(bool value);
Value integer(int64_t value);
Value number(double value);
Value string(std::string_view text); // REQUIRES: UTF-8
Value byte_string(Bytes bytes);
Value symbol(std::string_view text); // REQUIRES: UTF-8
Value embedded(const Ref<Embedded>& object);
Value record(std::string_view symbol_label, std::initializer_list<View> fields);
Value sequence(std::initializer_list<View> items);
Value sequence(std::span<const Value> items);
// The sequence whose items are the values that stand in `run`, one behind the other.
Value sequence_of_run(View run);
// REQUIRES: no key twice.
Value dictionary(std::initializer_list<std::pair<std::string_view, View>> symbol_keys);

} // namespace muster::preserves
