#include "init/preserves/encoder.h"

#include <algorithm>

#include "init/preserves/packed.h"
#include "init/preserves/utf8.h"

namespace muster::preserves {

namespace {

// Offsets are 32 bits.
constexpr size_t max_buffer = size_t{1} << 31;

} // namespace

size_t depth_of(Bytes bytes) {
    size_t depth = 0;
    size_t deepest = 0;
    const uint8_t* const end = bytes.data() + bytes.size();
    for (const uint8_t* at = bytes.data(); at < end;) {
        if (*at >= tag::record) {
            ++at;
            if (++depth > deepest) deepest = depth;
        } else if (*at == tag::end) {
            ++at;
            --depth;
        } else {
            at = skip_value(at);
        }
    }
    return deepest;
}

Encoder::~Encoder() = default;

void Encoder::fail(std::string message) {
    if (error_.empty()) error_ = std::move(message);
}

// Says whether an item may be appended now.
bool Encoder::starting_item() {
    if (failed()) return false;
    if (owed_) {
        owed_ = false; // this is the value behind an annotation, which began the item
        return true;
    }
    if (complete_) {
        fail("more than one value");
        return false;
    }
    if (buffer_.size() >= max_buffer) {
        fail("value too large");
        return false;
    }
    if (!frames_.empty() && frames_.back().kind >= tag::set)
        item_starts_.push_back(static_cast<uint32_t>(buffer_.size()));
    return true;
}

void Encoder::item_done() {
    while (!frames_.empty() && frames_.back().kind == tag::embedded)
        frames_.pop_back();
    if (frames_.empty()) {
        complete_ = true;
    } else if (frames_.back().kind == tag::annotated) {
        frames_.pop_back();
        owed_ = true;
    } else {
        ++frames_.back().items;
    }
}

void Encoder::append_length(size_t length) {
    while (length >= 0x80) {
        buffer_.push_back(static_cast<uint8_t>(length | 0x80));
        length >>= 7;
    }
    buffer_.push_back(static_cast<uint8_t>(length));
}

void Encoder::atom(uint8_t kind, Bytes content) {
    if (!starting_item()) return;
    if (content.size() > max_buffer) return fail("value too large");
    buffer_.push_back(kind);
    append_length(content.size());
    buffer_.insert(buffer_.end(), content.begin(), content.end());
    item_done();
}

void Encoder::boolean(bool value) {
    if (!starting_item()) return;
    buffer_.push_back(value ? tag::true_ : tag::false_);
    item_done();
}

void Encoder::integer(int64_t value) {
    uint8_t digits[8];
    for (int i = 0; i < 8; ++i)
        digits[i] = static_cast<uint8_t>(value >> (56 - 8 * i));
    integer_bytes(digits);
}

void Encoder::integer_bytes(Bytes digits) {
    while (digits.size() > 1 &&
           ((digits[0] == 0 && digits[1] < 0x80) || (digits[0] == 0xff && digits[1] >= 0x80)))
        digits = digits.subspan(1);
    if (digits.size() == 1 && digits[0] == 0) digits = {};
    if (digits.size() > max_integer_bytes) return fail("integer too long");
    atom(tag::integer, digits);
}

void Encoder::number(double value) {
    uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    uint8_t digits[8];
    for (int i = 0; i < 8; ++i)
        digits[i] = static_cast<uint8_t>(bits >> (56 - 8 * i));
    atom(tag::number, digits);
}

static Bytes bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

void Encoder::string(std::string_view text) {
    if (!is_utf8(text)) return fail("a string that is not UTF-8");
    atom(tag::string, bytes_of(text));
}

void Encoder::bytes(Bytes value) { atom(tag::bytes, value); }

void Encoder::symbol(std::string_view text) {
    if (!is_utf8(text)) return fail("a symbol that is not UTF-8");
    atom(tag::symbol, bytes_of(text));
}

void Encoder::embedded(const Ref<Embedded>& object) {
    if (!object) return fail("no object to embed");
    if (!starting_item()) return;
    Embedded* const address = object.get();
    uint8_t bytes[embedded_size] = {tag::embedded, tag::bytes, sizeof address};
    std::memcpy(bytes + 3, &address, sizeof address);
    buffer_.insert(buffer_.end(), bytes, bytes + sizeof bytes);
    held_.push_back(object);
    item_done();
}

void Encoder::value(View view) {
    if (!view.valid()) return fail("no value");
    if (!starting_item()) return;
    const Bytes bytes = view.bytes();
    if (bytes.size() > max_buffer) return fail("value too large");
    // Each level takes two bytes: small values need no look.
    if (frames_.size() + bytes.size() / 2 > limit_ && frames_.size() + depth_of(bytes) > limit_)
        return fail("nested too deeply");
    for_each_embedded(view, [&](Embedded& object) { held_.push_back(Ref<Embedded>(&object)); });
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    item_done();
}

void Encoder::begin(uint8_t kind) {
    if (!starting_item()) return;
    if (frames_.size() >= limit_) return fail("nested too deeply");
    frames_.push_back({kind, static_cast<uint32_t>(buffer_.size()), 0,
                       static_cast<uint32_t>(item_starts_.size())});
    buffer_.push_back(kind);
}

void Encoder::begin_record() { begin(tag::record); }
void Encoder::begin_sequence() { begin(tag::sequence); }
void Encoder::begin_set() { begin(tag::set); }
void Encoder::begin_dictionary() { begin(tag::dictionary); }

void Encoder::begin_raw_embedded() {
    raw_ = true;
    begin(tag::embedded);
}

void Encoder::begin_annotated() {
    raw_ = annotated_ = true;
    begin(tag::annotated);
}

void Encoder::end() {
    if (failed()) return;
    if (owed_) return fail("an annotation without a value");
    if (frames_.empty() || frames_.back().kind < tag::record)
        return fail("an end without a beginning");
    const Frame frame = frames_.back();
    if (frame.kind == tag::record && frame.items == 0) return fail("a record without a label");
    if (frame.kind == tag::dictionary && frame.items % 2 != 0) return fail("a key without a value");
    if (frame.kind >= tag::set) {
        sort_items(frame);
        if (failed()) return;
        item_starts_.resize(frame.first_item);
    }
    buffer_.push_back(tag::end);
    frames_.pop_back();
    item_done();
}

struct Encoder::Entry {
    uint32_t start;
    uint32_t end;
    Bytes key;                     // without annotations
    std::vector<uint8_t> stripped; // what `key` sees if there were any
};

void Encoder::sort_items(const Frame& frame) {
    const size_t step = frame.kind == tag::dictionary ? 2 : 1;
    const size_t size = buffer_.size();
    const auto start_of = [&](size_t i) {
        return i < item_starts_.size() ? item_starts_[i] : size;
    };
    const auto item = [&](size_t i) {
        return Bytes(buffer_.data() + start_of(i), start_of(i + 1) - start_of(i));
    };

    if (!annotated_) {
        // Usually the order is right already.
        size_t i = frame.first_item + step;
        while (i < item_starts_.size() && compare_bytes(item(i - step), item(i)) < 0)
            i += step;
        if (i >= item_starts_.size()) return;
    }

    std::vector<Entry> entries;
    entries.reserve(frame.items / step);
    for (size_t i = frame.first_item; i < item_starts_.size(); i += step) {
        Entry entry{static_cast<uint32_t>(start_of(i)),
                    static_cast<uint32_t>(start_of(i + step)),
                    item(i),
                    {}};
        if (annotated_) {
            entry.stripped = strip_annotations(entry.key);
            entry.key = entry.stripped;
        }
        entries.push_back(std::move(entry));
    }
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return compare_bytes(a.key, b.key) < 0; });
    for (size_t i = 1; i < entries.size(); ++i)
        if (compare_bytes(entries[i - 1].key, entries[i].key) == 0)
            return fail(step == 2 ? "a key twice in a dictionary" : "an element twice in a set");
    reorder(entries);
}

void Encoder::reorder(std::vector<Entry>& entries) {
    if (entries.empty()) return;
    std::vector<uint8_t> sorted;
    uint32_t first = entries[0].start;
    for (const Entry& entry : entries) {
        first = std::min(first, entry.start);
        sorted.insert(sorted.end(), buffer_.begin() + entry.start, buffer_.begin() + entry.end);
    }
    std::copy(sorted.begin(), sorted.end(), buffer_.begin() + first);
}

Result<Value> Encoder::finish() {
    if (!failed() && (!complete_ || open() != 0)) fail("an unfinished value");
    if (!failed() && raw_) fail("annotations and raw embedded values do not fit in a value");
    if (failed()) {
        Error error{std::move(error_)};
        clear();
        return error;
    }
    Value made(View(buffer_, !held_.empty()));
    clear();
    return made;
}

Result<std::vector<uint8_t>> Encoder::finish_bytes() {
    if (!failed() && (!complete_ || open() != 0)) fail("an unfinished value");
    if (!failed() && !held_.empty()) fail("a capability cannot leave the process as it is");
    if (failed()) {
        Error error{std::move(error_)};
        clear();
        return error;
    }
    std::vector<uint8_t> made = std::move(buffer_);
    clear();
    return made;
}

void Encoder::clear() {
    buffer_.clear();
    frames_.clear();
    item_starts_.clear();
    held_.clear();
    complete_ = owed_ = raw_ = annotated_ = false;
    error_.clear();
}

} // namespace muster::preserves
