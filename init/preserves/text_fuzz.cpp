// Any text: refused or read, in all ways of reading, and what was read can be written and read
// again.
#include <cstdlib>

#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::preserves;

namespace {

using State = TextReader::State;

void require(bool holds) {
    if (!holds) std::abort();
}

void check_annotated(std::string_view text, TextOptions options) {
    TextReader reader(text, options);
    std::vector<uint8_t> bytes;
    State state;
    while ((state = reader.next_bytes(bytes)) == State::value) {
        require(scan(strip_annotations(bytes)).canonical || options.locations);
        // Locations nest two levels deeper than the text.
        if (scan(bytes).state == Scan::State::malformed) {
            require(options.locations);
            continue;
        }
        require(*decode_packed_annotated(bytes) == bytes);
        TextOptions again = options;
        again.locations = false;
        again.keep_annotations = true;
        std::vector<uint8_t> copy;
        const std::string written = annotated_to_text(bytes, options.bar_symbols);
        require(written.find('\n') == std::string::npos);
        require(TextReader(written, again).next_bytes(copy) == State::value && copy == bytes);
    }
    require(reader.offset() <= text.size());
    require((state == State::malformed) <= !reader.problem().empty());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const int way : {0, 1, 2, 3, 4}) {
        TextOptions options;
        options.bar_symbols = way == 1;
        options.keep_annotations = way <= 1;
        options.locations = way == 2;
        if (way < 4) check_annotated(text, options);
    }
    TextReader reader(text, {});
    Value value;
    while (reader.next(value) == State::value) {
        require(scan(value.bytes()).canonical);
        const auto again = parse_text(to_text(value));
        require(again.ok() && *again == value);
    }
    // Half of a text that is good is not malformed, unless it was cut within a word.
    TextReader half(text.substr(0, size / 2), {}, false);
    TextReader whole(text, {}, false);
    Value part;
    const State first = half.next(part);
    const State second = whole.next(value);
    if (first == State::value) require(second == State::value && part == value);
    if (first == State::malformed) require(second == State::malformed);
    return 0;
}
