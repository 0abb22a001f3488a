#include "init/preserves/packed.h"

#include <map>

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::preserves;

namespace {

using Buffer = std::vector<uint8_t>;

Buffer unhex(std::string_view text) {
    const auto value = parse_text("#x\"" + std::string(text) + "\"");
    REQUIRE(value.ok());
    const Bytes bytes = *value->view().as_bytes();
    return Buffer(bytes.begin(), bytes.end());
}

Scan scan_hex(std::string_view text) { return scan(unhex(text)); }

// Objects that stand for an integer.
class Thing : public Embedded {
  public:
    explicit Thing(int64_t number) : number(number) {}
    int64_t number;
};

class Codec final : public EmbeddedCodec {
  public:
    Result<Ref<Embedded>> decode(View wire) override {
        const auto number = wire.at(1).as_int();
        if (!number) return Error{"no such reference"};
        order.push_back(*number);
        Ref<Thing>& thing = things[*number];
        if (!thing) thing = make_ref<Thing>(*number);
        return Ref<Embedded>(thing);
    }
    void encode(Embedded& object, Encoder& out) override {
        out.begin_sequence();
        out.integer(0);
        out.integer(static_cast<Thing&>(object).number);
        out.end();
    }

    std::vector<int64_t> order;
    std::map<int64_t, Ref<Thing>> things;
};

} // namespace

TEST_CASE("scan finds the end of the first value") {
    const Buffer bytes = unhex("b5b00101b584 84 b001");
    const Scan look = scan(bytes);
    CHECK(look.state == Scan::State::complete);
    CHECK(look.size == 7);
    CHECK(look.canonical);
    for (size_t n = 0; n < look.size; ++n)
        CHECK(scan(Bytes(bytes).first(n)).state == Scan::State::need_more);
}

TEST_CASE("scan tells what is not canonical") {
    CHECK(scan_hex("b000").canonical);
    const char* const loose[] = {
        "b00100",   // integers that are not minimal
        "b0020001", //
        "b002ff80", //
        "b08000",   // lengths that are not minimal
        "b1810061", //
        "87 8800 3ff0000000000000",
        "b6 b00102 b00101 84", // order
        "b7 b30162 80 b30161 80 84",
        "85 80 81",          // annotations
        "b5 85 80 81 84",    //
        "b5 b6 81 80 84 84", // within others
        "86 b6 81 80 84",    //
    };
    for (const char* const text : loose) {
        INFO(text);
        const Scan look = scan_hex(text);
        CHECK(look.state == Scan::State::complete);
        CHECK_FALSE(look.canonical);
        if (look.has_embedded) continue;
        const auto value = decode_packed(unhex(text), nullptr);
        REQUIRE(value.ok());
        CHECK(scan(value->bytes()).canonical);
    }
}

TEST_CASE("scan refuses what is malformed, and says where") {
    const std::pair<const char*, size_t> bad[] = {
        {"00", 0},
        {"82", 0},
        {"84", 0},
        {"b8", 0},
        {"ff", 0},
        {"b484", 1},                // no label
        {"b7 80 84", 2},            // no value
        {"b5 85 80 84", 3},         // an annotation of nothing
        {"b5 86 84", 2},            // an embedded nothing
        {"85 84", 1},               //
        {"8707 00000000000000", 0}, // length of a number
        {"b101 ff", 0},             // UTF-8
        {"b302 c080", 0},           //
        {"b103 eda080", 0},         // a surrogate
        {"b104 f4908080", 0},       // above U+10FFFF
        {"b2 8180808010", 0},       // lengths
        {"b2 808080808000", 0},     //
        {"b0 81 80 02 00", 0},      // an integer that is too long
        {"b6 80 80 84", 2},         // doubles
        {"b7 80 81 80 81 84", 3},   //
        {"b5 b6 b580 84 b580 84 84 84", 5},
    };
    for (const auto& [text, at] : bad) {
        INFO(text);
        const Scan look = scan_hex(text);
        CHECK(look.state == Scan::State::malformed);
        CHECK(look.at == at);
        CHECK(std::string(look.problem) != "");
    }
    CHECK_FALSE(decode_packed(unhex("b6 81 80 81 84"), nullptr).ok()); // doubles, not in order
    CHECK_FALSE(decode_packed(unhex("b6 b00101 b0020001 84"), nullptr).ok());
    CHECK_FALSE(decode_packed(unhex("b6 858081 81 84"), nullptr).ok());
}

TEST_CASE("lengths of four and five bytes are read") {
    Buffer bytes = unhex("b2 80808001");
    CHECK(scan(bytes).state == Scan::State::need_more);
    bytes.resize(5 + (size_t{1} << 21), 'x');
    const Scan look = scan(bytes);
    CHECK(look.state == Scan::State::complete);
    CHECK(look.canonical);
    CHECK(look.size == bytes.size());
    CHECK(scan_hex("b2 8080808008").state == Scan::State::need_more); // 2^31
    CHECK(scan_hex("b2 8180808008").state == Scan::State::malformed); // and one more
}

TEST_CASE("nesting is bounded when scanning") {
    for (const uint8_t kind : {tag::sequence, tag::embedded}) {
        for (const size_t depth : {size_t{63}, size_t{64}, size_t{65}, max_depth, max_depth + 1}) {
            Buffer bytes(depth, kind);
            bytes.insert(bytes.end(), {tag::symbol, 1, 'x'});
            if (kind == tag::sequence) bytes.insert(bytes.end(), depth, tag::end);
            const bool fits = depth <= max_depth;
            CHECK((scan(bytes).state == Scan::State::complete) == fits);
            if (!fits) continue;
            CHECK(*decode_packed_annotated(bytes) == bytes);
        }
    }
    // Many annotations of one value are no nesting.
    Buffer bytes;
    for (int i = 0; i < 1000; ++i)
        bytes.insert(bytes.end(), {tag::annotated, tag::true_});
    bytes.push_back(tag::false_);
    CHECK(scan(bytes).state == Scan::State::complete);
    CHECK(*decode_packed(bytes, nullptr) == boolean(false));
    CHECK(*decode_packed_annotated(bytes) == bytes);
    CHECK(annotated_to_text(bytes).size() == 1000 * 4 + 2);
}

TEST_CASE("a codec translates embedded values both ways") {
    Codec codec;
    // [#:[0 7] #{#:[0 1] #:[0 300]} #:[0 7]]
    const Buffer wire = unhex("b5 86b5b000b0010784 b6 86b5b000b0010184 86b5b000b002012c84 84"
                              "86b5b000b0010784 84");
    const Scan look = scan(wire);
    REQUIRE(look.state == Scan::State::complete);
    CHECK(look.canonical);
    CHECK(look.has_embedded);
    const auto value = decode_packed(wire, &codec);
    REQUIRE(value.ok());
    CHECK(codec.order == std::vector<int64_t>{7, 1, 300, 7});
    CHECK(value->view().at(0).as_embedded() == codec.things[7].get());
    CHECK(codec.things[7]->references() == 3);
    CHECK(value->view().at(1).count() == 2);

    Buffer out;
    encode_packed(*value, &codec, out);
    CHECK(out == wire);
    CHECK(to_text(*value, &codec) == "[#:[0, 7], #{#:[0, 1], #:[0, 300]}, #:[0, 7]]");
    const auto again = parse_text(to_text(*value, &codec), &codec);
    REQUIRE(again.ok());
    CHECK(*again == *value);
    CHECK(to_text(value->view().at(0)).starts_with("#:[0x"));
}

TEST_CASE("embedded values are refused where nobody translates them") {
    Codec codec;
    const Buffer address = unhex("86b2080000000000000000");
    CHECK(decode_packed(address, nullptr).error().message ==
          "an embedded value is not allowed here");
    CHECK(decode_packed(address, &codec).error().message == "no such reference");
    CHECK(decode_packed(unhex("8686b5b000b0010784"), &codec).error().message ==
          "an embedded value within an embedded value");
    CHECK(decode_packed(unhex("b5 86b5b000b0020007 84 84"), &codec).ok()); // not canonical
    CHECK(codec.order == std::vector<int64_t>{7});
    CHECK(decode_packed_annotated(address).ok());
    CHECK_FALSE(parse_text("#:[0 7]").ok());
    CHECK_FALSE(parse_text("#:#:[0 7]", &codec).ok());
    CHECK(parse_text("#:[1 9]", &codec).ok());
    CHECK(codec.order == std::vector<int64_t>{7, 9});
}

TEST_CASE("embedded values in annotations are nobody's") {
    Codec codec;
    CHECK(decode_packed(unhex("85 86b5b000b0010784 80"), &codec).ok());
    CHECK(parse_text("@#:[0 7] #:@#:x [0 8]", &codec).ok());
    CHECK(codec.order == std::vector<int64_t>{8});
}
