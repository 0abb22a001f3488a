#include "init/preserves/value.h"

#include <limits>
#include <unordered_map>

#include "init/base/catch.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"
#include "init/preserves/utf8.h"

using namespace muster;
using namespace muster::preserves;

namespace {

class Thing : public Embedded {
  public:
    explicit Thing(int& alive) : alive_(alive) { ++alive_; }
    ~Thing() override { --alive_; }

  private:
    int& alive_;
};

Value read(std::string_view text) {
    const auto value = parse_text(text);
    INFO(text);
    REQUIRE(value.ok());
    return *value;
}

std::string hex(View view) {
    std::string out;
    char digits[3];
    for (const uint8_t byte : view.bytes()) {
        std::snprintf(digits, sizeof digits, "%02x", byte);
        out += digits;
    }
    return out;
}

} // namespace

TEST_CASE("bytes that are no text become text, and text is cut between characters") {
    CHECK(as_utf8("pl\u00e4in") == "pl\u00e4in");
    CHECK(as_utf8("b\xff\u00e9\xc3") == "b?\u00e9?");
    CHECK(utf8_head("\u00e9\u00e9", 4) == "\u00e9\u00e9");
    CHECK(utf8_head("\u00e9\u00e9", 3) == "\u00e9");
    CHECK(utf8_head("\u00e9", 1).empty());
}

TEST_CASE("makers give canonical bytes") {
    CHECK(hex(boolean(true)) == "81");
    CHECK(hex(integer(0)) == "b000");
    CHECK(hex(integer(127)) == "b0017f");
    CHECK(hex(integer(128)) == "b0020080");
    CHECK(hex(integer(-1)) == "b001ff");
    CHECK(hex(integer(-128)) == "b00180");
    CHECK(hex(integer(-129)) == "b002ff7f");
    CHECK(hex(integer(std::numeric_limits<int64_t>::min())) == "b0088000000000000000");
    CHECK(hex(number(1.0)) == "87083ff0000000000000");
    CHECK(hex(string("ab")) == "b1026162");
    CHECK(hex(record("r", {integer(1)})) == "b4b30172b0010184");
    CHECK(hex(sequence({symbol("a"), boolean(false)})) == "b5b301618084");
    CHECK(hex(dictionary({{"bb", integer(1)}, {"a", integer(2)}})) ==
          "b7b30161b00102b3026262b0010184");
}

TEST_CASE("integers keep their value") {
    const int64_t samples[] = {0,
                               1,
                               -1,
                               255,
                               256,
                               -256,
                               -257,
                               65535,
                               int64_t{1} << 40,
                               std::numeric_limits<int64_t>::max(),
                               std::numeric_limits<int64_t>::min()};
    for (const int64_t n : samples) {
        CHECK(integer(n).view().as_int() == n);
        CHECK(to_text(integer(n)) == std::to_string(n));
        CHECK(read(std::to_string(n)) == integer(n));
    }
    CHECK(read("9223372036854775808").view().as_int() == std::nullopt);
}

TEST_CASE("an atom answers only as what it is") {
    const Value text = string("x");
    CHECK(text.view().as_string() == "x");
    CHECK(text.view().as_text() == "x");
    CHECK_FALSE(text.view().as_symbol());
    CHECK_FALSE(text.view().as_int());
    CHECK_FALSE(text.view().as_bool());
    CHECK_FALSE(text.view().as_bytes());
    CHECK_FALSE(text.view().as_number());
    CHECK(text.view().as_embedded() == nullptr);
    CHECK(text.view().items().begin() == std::default_sentinel);
    CHECK_FALSE(text.view().at(0).valid());
    CHECK_FALSE(View().is(Kind::boolean));
    CHECK(View() == View());
    CHECK_FALSE(Value().valid());
}

TEST_CASE("fields and entries are read out of the bytes") {
    const Value v = read("<daemon name [1 2 {a: b}] {x: 1 y: [2] \"z\": 3}>");
    CHECK(v.view().label().is_symbol("daemon"));
    CHECK(v.view().count() == 3);
    CHECK(v.view().is_record("daemon", 3));
    CHECK_FALSE(v.view().is_record("daemon", 4));
    CHECK_FALSE(v.view().is_record("daemo"));
    CHECK(v.view().at(1).at(1).as_int() == 2);
    CHECK_FALSE(v.view().at(3).valid());
    const View entries = v.view().at(2);
    CHECK(entries.count() == 3);
    CHECK(entries.get("y").at(0).as_int() == 2);
    CHECK(entries.get(string("z")).as_int() == 3);
    CHECK(entries.get(symbol("x")).as_int() == 1);
    CHECK_FALSE(entries.get("z").valid());
    CHECK_FALSE(v.view().get("x").valid());
    size_t sum = 0;
    const Value set = read("#{1 2 3}");
    for (const View item : set.view().items())
        sum += static_cast<size_t>(*item.as_int());
    CHECK(sum == 6);
}

TEST_CASE("values can be copied, moved and used as keys") {
    const std::string sizes[] = {"", "twelve bytes", "thirteen byte", "fourteen bytes",
                                 std::string(300, 'x')};
    std::unordered_map<Value, size_t, ValueHash, ValueEqual> map;
    for (const std::string& text : sizes) {
        Value a = string(text);
        const Value b = a; // NOLINT: the copy is the point
        CHECK(a == b);
        CHECK(a.hash() == b.hash());
        CHECK(a.hash() == a.view().hash());
        Value c = std::move(a);
        CHECK_FALSE(a.valid()); // NOLINT: so is the empty rest
        CHECK(c == b);
        a = c;
        a = *&a;
        CHECK(a == b);
        a = std::move(c);
        CHECK(a.view().as_string() == text);
        map[b] = text.size();
    }
    for (const std::string& text : sizes)
        CHECK(map.find(string(text).view())->second == text.size());
    CHECK(map.find(symbol("").view()) == map.end());
}

TEST_CASE("whoever owns the bytes owns their capabilities") {
    int alive = 0;
    Value kept;
    {
        const Ref<Embedded> one = make_ref<Thing>(alive);
        const Ref<Embedded> two = make_ref<Thing>(alive);
        const Value first = embedded(one);
        const Value second = embedded(two);
        CHECK(first.has_embedded());
        CHECK(first.view().as_embedded() == one.get());
        CHECK_FALSE(first == second);
        kept = record("pair", {first, second, first});
        CHECK(kept.view().at(1).as_embedded() == two.get());
        CHECK(one->references() == 4);
        const Value copy = kept;
        CHECK(one->references() == 4);
        const Value part(kept.view().at(2));
        CHECK(one->references() == 5);
        const Value plain(kept.view().label());
        CHECK_FALSE(plain.has_embedded());
    }
    CHECK(alive == 2);
    size_t count = 0;
    for_each_embedded(kept, [&](Embedded&) { ++count; });
    CHECK(count == 3);
    kept = Value();
    CHECK(alive == 0);
}

TEST_CASE("the total order is that of Preserves, not that of the bytes") {
    // Each is smaller than the next.
    const char* const ordered[] = {"#f",
                                   "#t",
                                   "#xd\"fff0000000000000\"",
                                   "-1.5",
                                   "-0.0",
                                   "0.0",
                                   "1.0",
                                   "#xd\"7ff0000000000000\"",
                                   "-100000000000000000000",
                                   "-257",
                                   "-256",
                                   "-129",
                                   "-128",
                                   "-1",
                                   "0",
                                   "1",
                                   "127",
                                   "128",
                                   "255",
                                   "256",
                                   "100000000000000000000",
                                   "\"\"",
                                   "\"aa\"",
                                   "\"b\"",
                                   "\"\\uffff\"",
                                   "\"\\ud834\\udd1e\"",
                                   "#\"\"",
                                   "#\"aa\"",
                                   "#\"b\"",
                                   "''",
                                   "aa",
                                   "b",
                                   "<a>",
                                   "<a 1>",
                                   "<a 1 2>",
                                   "<a 2>",
                                   "<b>",
                                   "[]",
                                   "[1]",
                                   "[1 1]",
                                   "[2]",
                                   "#{}",
                                   "#{\"aa\" \"c\"}",
                                   "#{\"aa\" \"d\"}",
                                   "#{\"b\"}",
                                   "{}",
                                   "{\"aa\": 2 \"b\": 1}",
                                   "{\"aa\": 2 \"b\": 2}",
                                   "{\"b\": 0}"};
    const size_t n = std::size(ordered);
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < n; ++j) {
            const int expected = i < j ? -1 : i > j;
            const int order = compare(read(ordered[i]), read(ordered[j]));
            INFO(ordered[i] << " and " << ordered[j]);
            CHECK((order < 0 ? -1 : order > 0) == expected);
        }
    }
}

TEST_CASE("the hash depends on every byte") {
    std::string text(70, 'a');
    for (size_t length = 1; length <= text.size(); ++length) {
        const Bytes bytes(reinterpret_cast<const uint8_t*>(text.data()), length);
        const uint64_t before = hash_bytes(bytes);
        for (size_t i = 0; i < length; ++i) {
            text[i] = 'b';
            CHECK(hash_bytes(bytes) != before);
            text[i] = 'a';
        }
        CHECK(hash_bytes(bytes.first(length - 1)) != before);
    }
}
