// Every case of the Preserves samples behaves as the table at their head says.
//
// The samples are no part of this project: they are looked for in $MUSTER_SHARED/data/preserves and
// ../shared/data/preserves (from https://gitlab.com/preserves/preserves, tests/).
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster::preserves;

namespace {

using Buffer = std::vector<uint8_t>;

std::optional<std::string> load(const std::string& name) {
    const char* const shared = std::getenv("MUSTER_SHARED");
    const std::string path =
        std::string(shared != nullptr ? shared : "../shared") + "/data/preserves/" + name;
    std::FILE* const file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) return std::nullopt;
    std::string content;
    char piece[4096];
    for (size_t n; (n = std::fread(piece, 1, sizeof piece, file)) > 0;)
        content.append(piece, n);
    std::fclose(file);
    return content;
}

bool missing(const std::optional<std::string>& content) {
    if (content) return false;
    WARN("no Preserves samples in $MUSTER_SHARED or ../shared");
    muster::test::skip("no Preserves samples in $MUSTER_SHARED or ../shared");
    return true;
}

TextOptions edition_995() {
    TextOptions options;
    options.bar_symbols = true;
    options.keep_annotations = true;
    return options;
}

// The text's first value, annotations kept.
std::pair<TextReader::State, Buffer> decode_text(std::string_view text) {
    TextReader reader(text, edition_995());
    Buffer bytes;
    const TextReader::State state = reader.next_bytes(bytes);
    if (state == TextReader::State::value && reader.offset() != text.size()) {
        Buffer more;
        CHECK(reader.next_bytes(more) == TextReader::State::end);
    }
    return {state, bytes};
}

Buffer text_value(std::string_view text) {
    auto [state, bytes] = decode_text(text);
    INFO(text);
    CHECK(state == TextReader::State::value);
    return bytes;
}

Buffer binary_value(Bytes bytes) {
    const Scan look = scan(bytes);
    REQUIRE(look.state == Scan::State::complete);
    REQUIRE(look.size == bytes.size());
    const auto decoded = decode_packed_annotated(bytes);
    REQUIRE(decoded.ok());
    return *decoded;
}

bool binary_is_malformed(Bytes bytes) {
    const Scan look = scan(bytes);
    if (look.state != Scan::State::complete) return look.state == Scan::State::malformed;
    return !decode_packed_annotated(bytes).ok();
}

void check_value(Bytes binary, const Buffer& annotated, bool deterministic) {
    const Buffer stripped = strip_annotations(annotated);
    CHECK(binary_value(stripped) == stripped);                                   // 1
    CHECK(strip_annotations(binary_value(binary)) == stripped);                  // 2
    CHECK(binary_value(binary) == annotated);                                    // 3
    CHECK(binary_value(annotated) == annotated);                                 // 4
    CHECK(text_value(annotated_to_text(stripped, true)) == stripped);            // 5
    CHECK(text_value(annotated_to_text(annotated, true)) == annotated);          // 6
    if (deterministic) CHECK(Buffer(binary.begin(), binary.end()) == annotated); // 7, 8

    // And what the table does not say: without annotations, as a value, in the text of 0.996.
    const Scan look = scan(stripped);
    CHECK(look.canonical);
    if (look.has_embedded) {
        CHECK_FALSE(decode_packed(binary, nullptr).ok());
        return;
    }
    const auto value = decode_packed(binary, nullptr);
    REQUIRE(value.ok());
    CHECK(*value == Value::from_canonical(stripped));
    const auto again = parse_text(to_text(*value));
    INFO(to_text(*value));
    REQUIRE(again.ok());
    CHECK(*again == *value);
}

// The value behind any annotations.
View bare(Bytes annotated) {
    const uint8_t* at = annotated.data();
    while (*at == tag::annotated)
        at = skip_value(at + 1);
    return View({at, skip_value(at)}, false);
}

void check_case(View test) {
    const std::string kind(*bare(test.label().bytes()).as_symbol());
    const View first = bare(test.at(0).bytes());
    if (kind == "Test" || kind == "NondeterministicTest") {
        const Bytes annotated = test.at(1).bytes();
        check_value(*first.as_bytes(), Buffer(annotated.begin(), annotated.end()), kind == "Test");
    } else if (kind == "ParseError") { // 20
        CHECK(decode_text(*first.as_string()).first == TextReader::State::malformed);
    } else if (kind == "ParseShort") { // 21; white space alone is no partial value for us
        const auto state = decode_text(*first.as_string()).first;
        const bool blank = first.as_string()->find_first_not_of(' ') == std::string_view::npos;
        CHECK(state == (blank ? TextReader::State::end : TextReader::State::need_more));
    } else if (kind == "ParseEOF") { // 22
        CHECK(decode_text(*first.as_string()).first == TextReader::State::end);
    } else if (kind == "DecodeError") { // 30
        CHECK(binary_is_malformed(*first.as_bytes()));
    } else if (kind == "DecodeShort" || kind == "DecodeEOF") { // 31, 32
        CHECK(scan(*first.as_bytes()).state == Scan::State::need_more);
    } else {
        FAIL("an unknown kind of test case: " << kind);
    }
}

} // namespace

TEST_CASE("every Preserves sample behaves as it says") {
    const auto text = load("samples.pr");
    if (missing(text)) return;
    const Buffer document = text_value(*text);
    const View samples = bare(document);
    REQUIRE(samples.is_record("TestCases"));
    const View cases = bare(samples.at(0).bytes());
    REQUIRE(cases.is(Kind::dictionary));

    std::map<std::string, int> counts;
    for (auto at = cases.items().begin(); at != std::default_sentinel; ++at) {
        const std::string name(*bare((*at).bytes()).as_symbol());
        ++at;
        const View test = bare((*at).bytes());
        counts[std::string(*bare(test.label().bytes()).as_symbol())]++;
        INFO("sample " << name);
        check_case(test);
    }
    CHECK(counts["Test"] >= 127);
    CHECK(counts["ParseError"] >= 37);
    CHECK(counts["DecodeError"] >= 6);
}

TEST_CASE("the Preserves samples are the same as text and as bytes") {
    const auto text = load("samples.pr");
    const auto binary = load("samples.bin");
    if (missing(text) || missing(binary)) return;
    const Bytes bytes(reinterpret_cast<const uint8_t*>(binary->data()), binary->size());
    const Buffer from_text = text_value(*text);
    CHECK(Buffer(bytes.begin(), bytes.end()) == from_text);
    CHECK(binary_value(bytes) == from_text);
    CHECK(text_value(annotated_to_text(from_text, true)) == from_text);
}
