// Any bytes: refused or read, and what was read comes out again the same in every form.
#include <cstdlib>

#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::preserves;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

class Thing : public Embedded {
  public:
    explicit Thing(View wire) : wire(wire) {}
    Value wire;
};

class Codec final : public EmbeddedCodec {
  public:
    Result<Ref<Embedded>> decode(View wire) override { return Ref<Embedded>(new Thing(wire)); }
    void encode(Embedded& object, Encoder& out) override {
        out.value(static_cast<Thing&>(object).wire);
    }
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const Bytes input(data, size);
    const Scan look = scan(input);
    if (look.state != Scan::State::complete) return 0;
    require(look.size <= size);
    const Bytes first = input.first(look.size);
    require(scan(first).state == Scan::State::complete);
    for (size_t n : {look.size / 2, look.size - 1})
        require(scan(input.first(n)).state == Scan::State::need_more);

    Codec codec;
    const auto value = decode_packed(first, look, &codec);
    if (value) {
        const View view = *value;
        require(compare(view, Value(view)) == 0);
        std::vector<uint8_t> out;
        encode_packed(view, &codec, out);
        const auto again = decode_packed(out, &codec);
        require(again.ok() || look.has_embedded);
        if (!look.has_embedded) {
            require(look.canonical == (View(first, false) == view));
            require(View(out, false) == view);
            const auto from_text = parse_text(to_text(view));
            require(from_text.ok() && *from_text == *value);
        }
        size_t count = 0;
        for ([[maybe_unused]] const View item : view.items())
            ++count;
        require(view.is(Kind::dictionary) || count == view.count());
    }

    const auto annotated = decode_packed_annotated(first);
    require(annotated.ok() || !look.canonical);
    if (!annotated) return 0;
    require(scan(*annotated).state == Scan::State::complete);
    require(*decode_packed_annotated(*annotated) == *annotated);
    require(scan(strip_annotations(*annotated)).canonical);
    for (const bool bars : {false, true}) {
        TextOptions options;
        options.keep_annotations = true;
        options.bar_symbols = bars;
        const std::string text = annotated_to_text(*annotated, bars);
        require(text.find('\n') == std::string::npos);
        std::vector<uint8_t> again;
        TextReader reader(text, options);
        require(reader.next_bytes(again) == TextReader::State::value && again == *annotated);
    }
    return 0;
}
