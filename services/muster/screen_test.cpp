#include "services/muster/screen.h"

#include <locale.h>

#include "init/base/catch.h"
#include "services/muster/json.h"
#include "services/muster/outline.h"

using namespace muster::command;

TEST_CASE("screen: what is too long loses its middle, and counts letters, not bytes") {
    Screen screen;
    CHECK(screen.cut("short", 5) == "short");
    CHECK(screen.cut("abcdefghij", 5) == "ab…ij");
    CHECK(columns(screen.cut("äöüäöüäöü", 4)) == 4);
    CHECK(screen.cut_end("abcdefghij", 5) == "abcd…");
    screen.utf8 = false;
    CHECK(screen.cut("abcdefghij", 5) == "ab~ij");
}

TEST_CASE("screen: wide characters take two columns, combining ones none") {
    setlocale(LC_CTYPE, "C.UTF-8"); // what glibc's wcwidth goes by; musl's does not ask
    Screen screen;
    CHECK(columns("日本語") == 6);
    CHECK(columns("u\u0308") == 1);
    CHECK(columns("bad \xff") == 5);
    CHECK(padded("日本", 6) + "|" == "日本  |");
    CHECK(screen.cut("日本語日本語", 6) == "日…語");
    CHECK(screen.cut("日本語日本語", 5) == "日…語");
    CHECK(screen.cut_end("日本語", 5) == "日本…");
    CHECK(screen.cut_end("日本語", 4) == "日…");
    CHECK(screen.cut("abcdu\u0308efghu\u0308i", 5) == "ab…u\u0308i");
    CHECK(screen.cut("abcdefghu\u0308", 4) == "ab…u\u0308");
    setlocale(LC_CTYPE, "C");
}

TEST_CASE("screen: nothing that was named or logged steers the terminal") {
    CHECK(printable("a\033[2Jb\nc\td\x7f") == "a [2Jb c d ");
    CHECK(printable("ok ä \xc2\x9bx") == "ok ä x");
    CHECK(printable("bad \xff\xfe") == "bad \ufffd\ufffd");
}

TEST_CASE("screen: times and sizes as people say them") {
    CHECK(duration(0) == "0 us");
    CHECK(duration(999) == "999 us");
    CHECK(duration(1'234) == "1.2 ms");
    CHECK(duration(12'345) == "12 ms");
    CHECK(duration(1'234'000) == "1.23 s");
    CHECK(duration(59'900'000) == "59.9 s");
    CHECK(duration(192'000'000) == "3 min 12 s");
    CHECK(duration(180'000'000) == "3 min");
    CHECK(duration(7'500'000'000) == "2 h 5 min");
    CHECK(duration(273'600'000'000) == "3 d 4 h");
    CHECK(short_duration(192'000'000) == "3m12s");
    CHECK(size_text(512) == "512 B");
    CHECK(size_text(1'536) == "1.5 KiB");
    CHECK(size_text(20'000'000) == "19 MiB");
    CHECK(size_text(1'048'575) == "1.0 MiB");
}

TEST_CASE("screen: colours only where there are any") {
    Screen screen;
    CHECK(screen.paint(Colour::red, "x") == "x");
    screen.colour = true;
    CHECK(screen.paint(Colour::red, "x") == "\033[31mx\033[0m");
    CHECK(screen.paint(Colour::plain, "x") == "x");
}

TEST_CASE("outline: lines show what hangs below what, within the width") {
    Screen screen;
    screen.width = 40;
    std::vector<Row> rows{
        {0, "root", "running", "", Colour::plain},
        {1, "a", "waiting", "waits for something that is long", Colour::plain},
        {2, "b", "complete", "", Colour::plain},
        {1, "a-name-that-is-much-too-long-for-this", "failed", "", Colour::plain}};
    CHECK(outline(rows, screen) ==
          std::vector<std::string>{
              "root                     running", "├─ a                     waiting   wait…",
              "│  └─ b                  complete", "└─ a-name-tha…g-for-this failed"});
    screen.utf8 = false;
    CHECK(outline(rows, screen)[2] == "|  `- b                  complete");
}

TEST_CASE("outline: sentences are wrapped below themselves") {
    Screen screen;
    screen.width = 40;
    std::vector<Row> rows{{0, "it"},
                          {1, "waits for something that nobody asserts at all"},
                          {2, "because of this"},
                          {1, "and is needed by one with a very long explanation"}};
    CHECK(outline(rows, screen) ==
          std::vector<std::string>{"it", "├─ waits for something that nobody",
                                   "│  │  asserts at all", "│  └─ because of this",
                                   "└─ and is needed by one with a very long",
                                   "      explanation"});
}

TEST_CASE("json: strings are escaped, and nesting is closed") {
    Json json;
    json.object().pair("a\"b", "x\\y\n\x01").key("list").array().integer(-1).boolean(true).null();
    json.end().key("t").seconds(1'500'000).end();
    CHECK(json.text() ==
          "{\"a\\\"b\": \"x\\\\y\\u000a\\u0001\", \"list\": [-1, true, null], \"t\": 1.500000}");
    Json bad;
    bad.string("\xff");
    CHECK(bad.text() == "\"\\ufffd\"");
}
