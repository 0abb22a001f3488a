#include "init/base/catch.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster::preserves;

namespace {

using State = TextReader::State;

std::string round(std::string_view text) {
    const auto value = parse_text(text);
    return value ? to_text(*value) : "error: " + value.error().message;
}

std::string annotated(std::string_view text, TextOptions options) {
    TextReader reader(text, options);
    std::vector<uint8_t> bytes;
    if (reader.next_bytes(bytes) != State::value) return "error: " + reader.problem();
    return annotated_to_text(bytes);
}

} // namespace

TEST_CASE("text is written in upstream's form") {
    CHECK(round("<a>") == "<a>");
    CHECK(round(" < a 1\t[ 2 , 3 ] #{ 5 4 } { b : 1 , a: 2 } > ") ==
          "<a 1 [2, 3] #{4, 5} {a: 2, b: 1}>");
    CHECK(round("\"a\\u0001\\n\\t\\\\\\/\\\"\\u00e9'|\"") == "\"a\\u0001\\n\\t\\\\/\\\"é'|\"");
    CHECK(round("#\"a\\\"b\\\\\"") == "#\"a\\\"b\\\\\"");
    CHECK(round("#\"\\x00\"") == "#x\"00\"");
    CHECK(round("#x\"616263\"") == "#\"abc\"");
    CHECK(round("#[_-8=]") == "#x\"ffef\"");
    CHECK(round("#[/+8]") == "#x\"ffef\"");
    CHECK(round("+12") == "12");
    CHECK(round("-0") == "0");
    CHECK(round("007") == "7");
}

TEST_CASE("symbols are quoted when they could be something else") {
    for (const char* const bare : {"a", "?x", "$x", "+=", "!", "=~", "_", "...", "1-2-3", "1e", "-",
                                   "+1.x", "1.", ".5", "1e+", "a.b/c"})
        CHECK(round(bare) == bare);
    for (const char* const quoted : {"''", "'123'", "'-1'", "'1.5'", "'1e5'", "'a b'", "'|'",
                                     "'a\\'b'", "'\\n'", "'a:b'", "'é'"})
        CHECK(round(quoted) == quoted);
    CHECK(round("|+++|") == "'|+++|'"); // an ordinary symbol since 0.996
    CHECK(round("é水x") == "'é水x'");
    CHECK(round("a\u00a0b").starts_with("error")); // a space
    CHECK(round("a\u200bb").starts_with("error")); // a control character
    CHECK(round("«").starts_with("error"));
    CHECK(round("\xc3").starts_with("error"));
    CHECK(round("a(b)").starts_with("error"));
}

TEST_CASE("floating-point numbers survive as short as possible") {
    for (const char* const text :
         {"0.1", "1.0", "-0.0", "0.3333333333333333", "1e+300", "-1.202e+300", "5e-324",
          "123456789012345.0", "1.7976931348623157e+308", "0.30000000000000004",
          "#xd\"7ff0000000000000\"", "#xd\"fff8000000000001\"", "#xd\"7ff0000000000001\""})
        CHECK(round(text) == text);
    CHECK(round("1e0") == "1.0");
    CHECK(round("100000000000000000000.0") == "1e+20");
}

TEST_CASE("integers may be long, but not endless") {
    const std::string digits = "-12345678901234567890123456789012345678901234567890";
    CHECK(round(digits) == digits);
    CHECK(round("1000000000") == "1000000000");
    CHECK(round("1000000000000000000000000000") == "1000000000000000000000000000");
    CHECK(round("340282366920938463463374607431768211456") ==
          "340282366920938463463374607431768211456");
    const std::string longest = "1" + std::string(78912, '0');
    CHECK(round(longest) == longest);
    CHECK(round("-" + longest) == "-" + longest);
    CHECK(round(std::string(100000, '0') + "5") == "5");
    CHECK(round(longest + "000").starts_with("error"));
    CHECK(round("9" + std::string(78913, '9')).starts_with("error"));
    CHECK(round("1." + std::string(100000, '0')).starts_with("error"));

    // The longest integers that are accepted as bytes can be written and read.
    for (const uint8_t first : {0x7f, 0x80}) {
        std::vector<uint8_t> bytes(max_integer_bytes, first == 0x7f ? 0xff : 0);
        bytes[0] = first;
        Encoder e;
        e.integer_bytes(bytes);
        const auto value = e.finish();
        REQUIRE(value.ok());
        const auto again = parse_text(to_text(*value));
        REQUIRE(again.ok());
        CHECK(*again == *value);
    }
}

TEST_CASE("errors name line and column") {
    CHECK(round("") == "error: no value in the text");
    CHECK(round("[1\n  é ;]") ==
          "error: line 2, column 5: an unexpected character: expected a value "
          "(comments begin with # and a space)");
    CHECK(round("[1\n {a: 1, a: 2}]") == "error: line 2, column 2: a key twice in a dictionary");
    CHECK(round("\"abc\\q\"") == "error: line 1, column 5: an unknown escape: expected one of \\\" "
                                 "\\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
    CHECK(round("[1 2 }") ==
          "error: line 1, column 6: an unexpected }: expected ] for the [ opened at "
          "1:1");
    CHECK(round("{a b}") == "error: line 1, column 4: expected a colon behind the key");
    CHECK(round("{a: }") == "error: line 1, column 5: a key without a value: expected a value");
    CHECK(round("1 2") == "error: line 1, column 2: more text behind the value");
    CHECK(round("\n [1 <a ") ==
          "error: line 2, column 5: the text ends and this is still open: expected "
          ">");
    CHECK(round("[1 \"a") == "error: line 1, column 4: the text ends within this: expected \"");
    CHECK(round("@a") == "error: line 1, column 2: the text ends where a value must follow");
    CHECK(round("# x\n") == "error: line 1, column 1: the text ends where a value must follow");
    CHECK(round("@<> x").starts_with("error"));
    CHECK(round("@\"\xff\" x").starts_with("error"));
    CHECK(round("\"\xff\"").starts_with("error"));
    CHECK(round("# \xff\n1").starts_with("error"));
    CHECK(round("#z").starts_with("error"));
    CHECK(round("#x'00'").starts_with("error"));
    CHECK(round("#[abcde]").starts_with("error"));
    CHECK(round("#[ab=c]").starts_with("error"));
    CHECK(round("<a, b>").starts_with("error"));
    CHECK(round("[@a]").starts_with("error"));
}

TEST_CASE("nesting is bounded when reading text") {
    for (const char* const open : {"[", "<a ", "#:", "@"}) {
        std::string text;
        for (size_t i = 0; i <= max_depth; ++i)
            text += open;
        TextReader reader(text);
        std::vector<uint8_t> bytes;
        CHECK(reader.next_bytes(bytes) == State::malformed);
        CHECK(reader.problem() == "nested too deeply");
        CHECK(reader.next_bytes(bytes) == State::malformed);
    }
    CHECK(round(std::string(max_depth, '[') + std::string(max_depth, ']')) ==
          std::string(max_depth, '[') + std::string(max_depth, ']'));
    std::string comments;
    for (int i = 0; i < 1000; ++i)
        comments += "# a comment\n#\n";
    CHECK(round(comments + "1") == "1");
}

TEST_CASE("values are read one after the other") {
    TextReader reader("#!/bin/x\n 1 [a] # end\n <b>\n ");
    Value v;
    REQUIRE(reader.next(v) == State::value);
    CHECK(v == integer(1));
    CHECK(reader.value_location().line == 2);
    CHECK(reader.value_location().column == 2);
    REQUIRE(reader.next(v) == State::value);
    CHECK(reader.offset() == 15);
    REQUIRE(reader.next(v) == State::value);
    CHECK(to_text(v) == "<b>");
    CHECK(reader.value_location().line == 3);
    CHECK(reader.location().column == 5);
    CHECK(reader.next(v) == State::end);
    CHECK(reader.next(v) == State::end);
}

TEST_CASE("a prefix of a text is never wrong, only short") {
    const std::string text = "{\"a\\ud834\\udd1e\": #x\"00 ff\", b: [#t, -1.5e3 'q\\'' #[SGk=] "
                             "<r #:5>], é: #{# c\n 1}, @x y: #xd\"0000000000000000\"}";
    for (size_t n = 0; n < text.size(); ++n) {
        TextReader reader(std::string_view(text).substr(0, n), {}, false);
        std::vector<uint8_t> bytes;
        INFO(n);
        CHECK(reader.next_bytes(bytes) == (n == 0 ? State::end : State::need_more));
        CHECK(reader.offset() == 0);
    }
    std::vector<uint8_t> bytes;
    CHECK(TextReader(text, {}, false).next_bytes(bytes) == State::value);
    for (const char* const word : {"12", "abc", "#t", "1.5"}) {
        Value v;
        CHECK(TextReader(word, {}, false).next(v) == State::need_more);
        CHECK(TextReader(word, {}, true).next(v) == State::value);
        CHECK(TextReader(std::string(word) + " ", {}, false).next(v) == State::value);
    }
}

TEST_CASE("annotations are kept, dropped, or replaced by locations") {
    TextOptions keep;
    keep.keep_annotations = true;
    TextOptions locations;
    locations.locations = true;
    const std::string text = "# c\n@a [x @{b: #{1 1}} y\n  #:{k: v}]";
    CHECK(annotated("# c\n@a [x @{b: 1} #:y]", keep) == "@\"c\" @a [x, @{b: 1} #:y]");
    CHECK(annotated("#!/bin/sh\nx", keep) == "@<interpreter \"/bin/sh\"> x");
    CHECK(annotated("#\r\nx", keep) == "@\"\" x");
    CHECK(annotated(text, {}) == "[x, y, #:{k: v}]");
    CHECK(annotated(text, locations) ==
          "@[2, 4] [@[2, 5] x, @[2, 20] y, @[3, 3] #:@[3, 5] {@[3, 6] k: @[3, 9] v}]");
    CHECK(annotated(std::string(max_depth, '[') + std::string(max_depth, ']'), locations)
              .starts_with("@[1, 1] [@[1, 2] ["));
}

TEST_CASE("the quotes of symbols depend on the edition") {
    TextOptions old;
    old.bar_symbols = true;
    CHECK(annotated("|a b|", old) == "'a b'");
    CHECK(annotated("a|b|", old) == "a");
    CHECK(annotated("'a'", old).starts_with("error"));
    CHECK(annotated("[a'b']", {}) == "[a, b]");
    const std::vector<uint8_t> bytes = {tag::symbol, 3, 'a', '|', '\''};
    CHECK(annotated_to_text(bytes, true) == "|a\\|'|");
    CHECK(annotated_to_text(bytes, false) == "'a|\\''");
}

TEST_CASE("no line feed appears in what is written") {
    std::string all;
    for (int c = 0; c < 128; ++c)
        all += static_cast<char>(c);
    const Value v = sequence({string(all), symbol(all),
                              byte_string({reinterpret_cast<const uint8_t*>(all.data()), 128})});
    const std::string text = to_text(v);
    CHECK(text.find('\n') == std::string::npos);
    const auto again = parse_text(text);
    REQUIRE(again.ok());
    CHECK(*again == v);
}
