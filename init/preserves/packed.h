// The binary syntax of Preserves (reference 1.2, 1.3): reading foreign bytes, writing for others.
#pragma once

#include "init/preserves/encoder.h"
#include "init/preserves/value.h"

namespace muster::preserves {

// What to make of the embedded values of a peer. `decode` gets the value behind 0x86 or "#:" (in
// canonical form, never itself with capabilities) and gives the object it stands for; `encode` the
// other way round appends exactly one value for an object. Both are called in the order in which
// the embedded values stand.
class EmbeddedCodec {
  public:
    virtual Result<Ref<Embedded>> decode(View wire) = 0;
    virtual void encode(Embedded& object, Encoder& out) = 0;

  protected:
    ~EmbeddedCodec() = default;
};

struct Scan {
    enum class State : uint8_t { complete, need_more, malformed };
    State state = State::need_more;
    size_t size = 0;           // of the first value, if complete
    bool canonical = false;    // it is in canonical form
    bool has_embedded = false; // it contains 0x86
    bool has_annotations = false;
    const char* problem = ""; // if malformed: what is wrong
    size_t at = 0;            // if malformed: offset of the problem
};

// One pass over the first value in `input`. Refuses more than max_depth levels. Does not allocate
// for values that nest less than 64 deep. Whether sets and dictionaries are sorted and free of
// doubles is part of `canonical`; doubles in unsorted ones are found by `decode_packed`.
Scan scan(Bytes input);

// The size of the first value in `input` if it is whole and plain: in canonical form, of records,
// sequences and short atoms. 0: `scan` has to say.
size_t scan_plain(Bytes input);

// The first value of `input` in canonical form, without annotations. With `codec` null an embedded
// value is an error. REQUIRES: scan(input) said complete.
Result<Value> decode_packed(Bytes input, EmbeddedCodec* codec);

// The same for callers that have the result of scan(input) still.
Result<Value> decode_packed(Bytes input, const Scan& scanned, EmbeddedCodec* codec);

// The same for tools: keeps annotations, leaves embedded values as they stand (raw), brings sets
// and dictionaries into canonical order.
Result<std::vector<uint8_t>> decode_packed_annotated(Bytes input);

// Removes annotations from annotated bytes (of decode_packed_annotated or the text reader).
std::vector<uint8_t> strip_annotations(Bytes annotated);

// Appends the value for a peer, in canonical form. With `codec` null, REQUIRES a value without
// capabilities. REQUIRES: codec->encode appends exactly one value; two objects have two values
// (else a set or dictionary with both has no encoding, and #f is sent instead).
void encode_packed(View value, EmbeddedCodec* codec, std::vector<uint8_t>& out);

} // namespace muster::preserves
