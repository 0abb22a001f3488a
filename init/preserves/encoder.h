// Builds values, item by item.
//
// An Encoder is a stack of open compound values over one growing buffer. Items are appended to the
// innermost open compound; `end` closes it and brings sets and dictionaries into canonical order.
// Errors (text that is not UTF-8, an element twice, a key without a value, more than max_depth
// levels, a record without a label) are remembered, everything after them is ignored, and `finish`
// reports the first.
//
// Annotations are only for tools that keep them: `begin_annotated` takes the next item as the
// annotation and the one after it as the annotated value. A value with annotations is bytes, never
// a Value.
#pragma once

#include <string>
#include <vector>

#include "init/base/result.h"
#include "init/preserves/value.h"

namespace muster::preserves {

class Encoder {
  public:
    Encoder() = default;
    ~Encoder();
    Encoder(const Encoder&) = delete;
    Encoder& operator=(const Encoder&) = delete;

    void boolean(bool value);
    void integer(int64_t value);
    // Two's complement, big endian, of any length; made minimal.
    void integer_bytes(Bytes big_endian);
    void number(double value);
    void string(std::string_view text);
    void bytes(Bytes value);
    void symbol(std::string_view text);
    void embedded(const Ref<Embedded>& object);
    void value(View view); // a copy of a whole value, capabilities included

    void begin_record();
    void begin_sequence();
    void begin_set();
    void begin_dictionary();
    void end();

    // For tools that look at foreign bytes without joining a conversation: the next item is the
    // content of an embedded value that nobody translates. Such a result is bytes, never a Value.
    void begin_raw_embedded();
    // The next item is an annotation of the item after it. Bytes, never a Value.
    void begin_annotated();

    // Number of compounds that are open; 0 and something in the buffer: one value is complete.
    size_t open() const { return frames_.size() + (owed_ ? 1 : 0); }
    bool failed() const { return !error_.empty(); }
    void fail(std::string message);

    // The one value that was built. The encoder is empty afterwards, also after an error.
    Result<Value> finish();
    // The same as bytes; capabilities (not raw ones) in them are an error.
    Result<std::vector<uint8_t>> finish_bytes();

    // Starts over, keeping the buffers.
    void clear();

  private:
    friend class Transcoder; // copies atoms that are known to be well-formed
    friend class TextReader;

    struct Frame {
        uint8_t kind;            // its tag
        uint32_t start;          // offset of the tag
        uint32_t items = 0;      // how many are complete
        uint32_t first_item = 0; // index in item_starts_ (sets and dictionaries only)
    };

    void begin(uint8_t kind);
    void atom(uint8_t kind, Bytes content);
    bool starting_item();
    void item_done();
    void append_length(size_t length);
    void sort_items(const Frame& frame);
    struct Entry; // an element, or a key with its value
    void reorder(std::vector<Entry>& entries);

    std::vector<uint8_t> buffer_;
    std::vector<Frame> frames_;
    std::vector<uint32_t> item_starts_;
    std::vector<Ref<Embedded>> held_; // keeps embedded objects alive until a Value does
    size_t limit_ = max_depth;
    bool complete_ = false;  // a whole value is in the buffer
    bool owed_ = false;      // an annotation is complete, its value must follow
    bool raw_ = false;       // has raw embedded values or annotations
    bool annotated_ = false; // has annotations
    std::string error_;
};

// How many compounds are open at once within whole values in canonical form.
size_t depth_of(Bytes values);

} // namespace muster::preserves
