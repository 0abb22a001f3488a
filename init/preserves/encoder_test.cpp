#include "init/preserves/encoder.h"

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::preserves;

namespace {

class Thing : public Embedded {};

std::string error_of(Encoder& encoder) {
    const auto value = encoder.finish();
    return value ? "" : value.error().message;
}

} // namespace

TEST_CASE("an encoder builds nested values and can be used again") {
    Encoder e;
    for (int round = 0; round < 2; ++round) {
        e.begin_record();
        e.symbol("r");
        e.begin_dictionary();
        e.string("k");
        e.begin_sequence();
        e.integer(300);
        e.number(0.5);
        CHECK(e.open() == 3);
        e.end();
        e.end();
        e.boolean(false);
        e.value(record("inner", {integer(1)}));
        e.end();
        CHECK(e.open() == 0);
        const auto value = e.finish();
        REQUIRE(value.ok());
        CHECK(to_text(*value) == "<r {\"k\": [300, 0.5]} #f <inner 1>>");
    }
}

TEST_CASE("sets and dictionaries come out in canonical order") {
    Encoder e;
    e.begin_set();
    e.string("aa");
    e.begin_set();
    e.integer(2);
    e.integer(1);
    e.end();
    e.string("b");
    e.begin_dictionary();
    e.symbol("z");
    e.integer(1);
    e.symbol("y");
    e.integer(2);
    e.end();
    e.integer(0);
    e.end();
    const auto value = e.finish();
    REQUIRE(value.ok());
    CHECK(to_text(*value) == "#{0, \"b\", \"aa\", #{1, 2}, {y: 2, z: 1}}");
}

TEST_CASE("integers become minimal") {
    const uint8_t padded[] = {0, 0, 0, 0x80};
    const uint8_t negative[] = {0xff, 0xff, 0x80};
    const uint8_t zero[] = {0, 0};
    Encoder e;
    e.begin_sequence();
    e.integer_bytes(padded);
    e.integer_bytes(negative);
    e.integer_bytes(zero);
    e.end();
    const auto value = e.finish();
    REQUIRE(value.ok());
    CHECK(*value == sequence({integer(128), integer(-128), integer(0)}));
}

TEST_CASE("the first error is kept, and the encoder is usable afterwards") {
    Encoder e;
    e.begin_set();
    e.integer(1);
    e.integer(1);
    e.end();
    e.end();
    CHECK(error_of(e) == "an element twice in a set");

    e.begin_dictionary();
    e.integer(1);
    e.end();
    CHECK(error_of(e) == "a key without a value");

    e.begin_dictionary();
    for (int i = 0; i < 4; ++i)
        e.integer(i / 3);
    e.end();
    CHECK(error_of(e) == "a key twice in a dictionary");

    e.begin_record();
    e.end();
    CHECK(error_of(e) == "a record without a label");

    e.end();
    CHECK(error_of(e) == "an end without a beginning");

    e.begin_sequence();
    CHECK(error_of(e) == "an unfinished value");
    CHECK(error_of(e) == "an unfinished value");

    e.integer(1);
    e.integer(2);
    CHECK(error_of(e) == "more than one value");

    e.string("\xff");
    CHECK(error_of(e) == "a string that is not UTF-8");

    e.value(View());
    CHECK(error_of(e) == "no value");

    e.integer_bytes(std::vector<uint8_t>(max_integer_bytes + 1, 1));
    CHECK(error_of(e) == "integer too long");

    e.integer(1);
    CHECK(error_of(e).empty());
}

TEST_CASE("nesting is bounded, in copied values too") {
    const auto nested = [](size_t depth) {
        Encoder e;
        for (size_t i = 0; i < depth; ++i)
            e.begin_sequence();
        for (size_t i = 0; i < depth; ++i)
            e.end();
        return e.finish();
    };
    REQUIRE(nested(max_depth).ok());
    CHECK(nested(max_depth + 1).error().message == "nested too deeply");
    Encoder e;
    e.begin_sequence();
    e.value(*nested(max_depth - 1));
    e.end();
    CHECK(error_of(e).empty());
    e.begin_sequence();
    e.value(*nested(max_depth));
    e.end();
    CHECK(error_of(e) == "nested too deeply");
}

TEST_CASE("an encoder keeps capabilities until the value does") {
    const Ref<Embedded> thing = make_ref<Thing>();
    Encoder e;
    e.begin_sequence();
    e.embedded(thing);
    e.value(embedded(thing));
    e.end();
    {
        const auto value = e.finish();
        REQUIRE(value.ok());
        CHECK(thing->references() == 3);
    }
    CHECK(thing->references() == 1);
    e.embedded(thing);
    CHECK_FALSE(e.finish_bytes().ok());
    CHECK(thing->references() == 1);
    e.embedded(nullptr);
    CHECK(error_of(e) == "no object to embed");
}

TEST_CASE("annotations and raw embedded values are bytes only") {
    Encoder e;
    const auto build = [&] {
        e.begin_set();
        e.begin_annotated();
        e.symbol("z");
        e.integer(2);
        e.begin_annotated();
        e.symbol("a");
        e.begin_raw_embedded();
        e.integer(5);
        e.integer(1);
        e.end();
    };
    build();
    CHECK_FALSE(e.finish().ok());
    build();
    const auto bytes = e.finish_bytes();
    REQUIRE(bytes.ok());
    CHECK(annotated_to_text(*bytes) == "#{@a #:5, 1, @z 2}");
    CHECK(annotated_to_text(strip_annotations(*bytes)) == "#{#:5, 1, 2}");

    e.begin_annotated();
    e.symbol("z");
    CHECK(e.open() == 1);
    CHECK_FALSE(e.finish_bytes().ok());
    e.begin_sequence();
    e.begin_annotated();
    e.symbol("z");
    e.end();
    CHECK(error_of(e) == "an annotation without a value");
}
