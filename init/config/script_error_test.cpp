// What is wrong with a script, and where: every message there is.

#include "init/config/script.h"

#include "init/base/catch.h"
#include "init/config/script_world.h"

using namespace muster;
using namespace muster::config;
using Facts = std::set<std::string>;
using Strings = std::vector<std::string>;

TEST_CASE("run-time errors stop the facet in which they happen, and nothing else") {
    World world;
    world.start("<fine>\n? <a ?x> [\n  <before $x>\n  <bad $y>\n]\n? <a ?x> <other $x>");
    CHECK(world.problems.empty());
    world.add("<a 1>");
    CHECK(world.problems == std::vector<std::string>{"test.pr:4:8: undefined variable $y"});
    CHECK(world.facts == Facts{"<a 1>", "<fine>", "<other 1>"});
    world.problems.clear();
    Running script = world.start("let ?x = 1\n$x <a>");
    CHECK(script.failed);
    CHECK(world.problems ==
          std::vector<std::string>{"test.pr:2:4: $x is the target here, but is not a capability"});
    world.problems.clear();
    world.start("$nobody <a>");
    CHECK(world.problems ==
          std::vector<std::string>{
              "test.pr:1:9: undefined variable $nobody, which is the target here"});
}

TEST_CASE("nesting is bounded") {
    std::string targets;
    for (int i = 0; i < 100'000; ++i)
        targets += "$x ";
    std::string problem;
    CHECK_FALSE(World::parse(targets + "<a>", &problem));
    CHECK(problem == "test.pr:1:751: instructions nest too deeply");
    std::string expressions = "let ?x = ";
    for (int i = 0; i < 100'000; ++i)
        expressions += "stringify ";
    CHECK_FALSE(World::parse(expressions + "1", &problem));
    CHECK(problem.find("expressions nest too deeply") != std::string::npos);
    // What is long but flat is fine.
    std::string flat = "let ?v = 1\n";
    for (int i = 0; i < 20'000; ++i)
        flat += "let ?x = 1 $v =~ 2 <a>\n";
    World world;
    world.start(flat + "<end>");
    CHECK(world.problems.empty());
    CHECK(world.has("<end>"));
}

TEST_CASE("any soup of tokens is a script or an error, and running it is harmless") {
    const char* tokens[] = {"?",
                            "??",
                            "?-",
                            "!",
                            "+=",
                            "=~",
                            "let",
                            "=",
                            "$x",
                            "$y",
                            "$.",
                            "?x",
                            "?y",
                            "_",
                            "[",
                            "]",
                            "<a",
                            ">",
                            "{",
                            "}",
                            ":",
                            "a",
                            "1",
                            "#t",
                            "<*",
                            "[<accept _>]",
                            "dataspace",
                            "facet",
                            "join",
                            "$config",
                            "<a ?x>",
                            "<a 1>",
                            "[1 2]",
                            "stringify",
                            "pattern",
                            "stop",
                            "let ?x =",
                            "let ?y =",
                            "? <a ?x>",
                            "?? <a ?y>",
                            "[<a $x> <b $y>]",
                            "<b $x>",
                            "$config",
                            "! <a 4>"};
    uint64_t state = 0x9e3779b97f4a7c15;
    auto random = [&](size_t below) {
        state = state * 6364136223846793005 + 1442695040888963407;
        return static_cast<size_t>(state >> 33) % below;
    };
    size_t good = 0;
    for (int round = 0; round < 3'000; ++round) {
        std::string text;
        for (size_t i = 1 + random(9); i > 0; --i) {
            text += tokens[random(std::size(tokens))];
            text += random(8) ? " " : "\n";
        }
        std::string problem;
        Ref<Script> script = World::parse(text, &problem);
        INFO(text);
        REQUIRE(!script == !problem.empty());
        if (!script) continue;
        ++good;
        World world;
        world.engine.external(world.root, [&](dataspace::Turn& turn) {
            run_script(turn, script, world.environment,
                       [&](dataspace::Turn&, const Problem& found) {
                           world.problems.push_back(to_string(found));
                       });
            turn.assert_(world.config, World::read("<a 2>"));
            turn.message(world.config, World::read("<a 3>"));
        });
        world.engine.run(1'000); // a script may answer itself for ever
        for (const std::string& found : world.problems)
            REQUIRE(found.starts_with("test.pr:"));
    }
    CHECK(good > 20);
}

TEST_CASE("syntax errors name line, column, and the form that was expected") {
    const std::pair<const char*, const char*> cases[] = {
        {"<a>\nfoo", "2:1: expected an instruction (<record>, {dictionary}, [block], $name …, ? …, "
                     "?? …, ?- …, let …, ! … or += …), found foo"},
        {"<a>\n  \"text\"", "2:3: expected an instruction (<record>, {dictionary}, [block], $name "
                            "…, ? …, ?? …, ?- …, let …, ! … or += …), found \"text\""},
        {"? <a ?x>", "1:3: ? PATTERN INSTRUCTION: expected an instruction, found the end of the "
                     "file"},
        {"[? <a ?x>] <b>", "1:4: ? PATTERN INSTRUCTION: expected an instruction, found the end of "
                           "the block"},
        {"?", "1:1: ? PATTERN INSTRUCTION: expected a pattern and an instruction, found the end of "
              "the file"},
        {"??", "1:1: ?? PATTERN INSTRUCTION: expected a pattern and an instruction, found the end "
               "of the file"},
        {"?? 1", "1:4: ?? PATTERN INSTRUCTION: expected an instruction, found the end of the file"},
        {"?-", "1:1: ?- INSTRUCTION: expected an instruction, found the end of the file"},
        {"!", "1:1: ! VALUE: expected a value, found the end of the file"},
        {"+=", "1:1: += VALUE: expected a value, found the end of the file"},
        {"let", "1:1: let PATTERN = EXPRESSION: expected a pattern, found the end of the file"},
        {"let ?x", "1:5: let PATTERN = EXPRESSION: expected =, found the end of the file"},
        {"let ?x 5", "1:8: let PATTERN = EXPRESSION: expected =, found 5"},
        {"let ?x <a 1>", "1:8: let PATTERN = EXPRESSION: expected =, found <a …>"},
        {"let ?x =", "1:8: let PATTERN = EXPRESSION: expected an expression, found the end of the "
                     "file"},
        {"let ?x = join", "1:10: join SEPARATOR PIECES: expected a separator, found the end of the "
                          "file"},
        {"let ?x = join \" \"", "1:15: join SEPARATOR PIECES: expected pieces, found the end of "
                                "the file"},
        {"let ?x = stringify", "1:10: stringify EXPRESSION: expected an expression, found the end "
                               "of the file"},
        {"let ?x = pattern", "1:10: pattern PATTERN: expected a pattern, found the end of the "
                             "file"},
        {"$x", "1:1: $name INSTRUCTION: expected an instruction or =~, found the end of the file"},
        {"$", "1:1: expected the name of a variable after $"},
        {"<a $>", "1:4: expected the name of a variable after $"},
        {"? <a ?> <b>", "1:6: expected the name of a variable after ?"},
        {"=~ 1 <a>", "1:1: $name =~ PATTERN INSTRUCTION …: expected $name before =~"},
        {"$x =~ 1", "1:7: $name =~ PATTERN INSTRUCTION …: expected an instruction, found the end "
                    "of the file"},
        {"$x =~", "1:4: $name =~ PATTERN INSTRUCTION …: expected a pattern and an instruction, "
                  "found the end of the file"},
        {"<a ?x>", "1:4: expected a value, found ?x, which is for patterns (=?x is the symbol)"},
        {"<?x 1>", "1:2: expected a value, found ?x, which is for patterns (=?x is the symbol)"},
        {"<a _>", "1:4: expected a value, found _, which is for patterns (=_ is the symbol)"},
        {"? <a ?x ?x> <b>", "1:9: ?x is bound twice in one pattern"},
        {"? <?x <a ?x>> <b>", "1:10: ?x is bound twice in one pattern"},
        {"? #{1} <b>", "1:3: expected a pattern, found a set, which none can match"},
        {"? <a #{1}> <b>", "1:6: expected a pattern, found a set, which none can match"},
        {"? <_ 1> <b>", "1:4: expected the label of a record, found _: it cannot be left open"},
        {"? {_: 1} <b>", "1:4: expected a key, found _: the keys of a dictionary cannot be left "
                         "open"},
        {"? {?k: 1} <b>", "1:4: expected a key, found ?k: the keys of a dictionary cannot be left "
                          "open"},
        {"? <?x> <b>", "1:3: <?name PATTERN>: expected one pattern, found 0"},
        {"? <?x 1 2> <b>", "1:3: <?name PATTERN>: expected one pattern, found 2"},
        {"<a #:1>", "1:4: a capability cannot be written in a script, only named ($name)"},
        {"<a>\n#:[1]", "2:1: expected an instruction (<record>, {dictionary}, [block], $name …, ? "
                       "…, ?? …, ?- …, let …, ! … or += …), found a capability (#:…)"},
        {"<a <* $x>>", "1:4: <* $name [CAVEAT …]>: expected two fields, found 1 (<=* …> is a "
                       "record)"},
        {"<a <* x []>>", "1:7: <* $name [CAVEAT …]>: expected $name, found x"},
        {"<a <* $ []>>", "1:7: <* $name [CAVEAT …]>: expected $name, found $"},
        {"<a <* $x <accept _>>>", "1:10: <* $name [CAVEAT …]>: expected [CAVEAT …], found <accept "
                                  "…>"},
        {"<a <* $x [<what>]>>", "1:11: expected <rewrite PATTERN TEMPLATE>, <accept PATTERN>, "
                                "<reject PATTERN> or <or [REWRITE-OR-ACCEPT …]>, found <what>"},
        {"<a <* $x [<rewrite 1>]>>", "1:11: expected <rewrite PATTERN TEMPLATE>, <accept PATTERN>, "
                                     "<reject PATTERN> or <or [REWRITE-OR-ACCEPT …]>, found "
                                     "<rewrite …>"},
        {"<a <* $x [<or [<reject _>]>]>>", "1:16: expected <rewrite PATTERN TEMPLATE> or <accept "
                                           "PATTERN>, found <reject …>"},
        {"<a <* $x [<or [what]>]>>", "1:16: expected <rewrite PATTERN TEMPLATE> or <accept "
                                     "PATTERN>, found what"},
        {"<a <* $x [<rewrite _ ?x>]>>", "1:22: expected a value, found ?x, which is for patterns "
                                        "(=?x is the symbol)"},
        {"<a {b: 1 =b: 2}>", "1:4: a key twice in a dictionary"},
        {"<a #{1 =b b}>", "1:4: an element twice in a set"},
        // Deep inside.
        {"? <a> [\n  ? <b> [\n    [ let ?x = 1\n      [ [] what ] ] ] ]",
         "4:12: expected an instruction (<record>, {dictionary}, [block], $name …, ? …, ?? …, ?- "
         "…, let …, ! … or += …), found what"},
        {"? <a> [\n  ? <b ?x> [\n    <c [1 {k: <d _>}]> ] ]",
         "3:18: expected a value, found _, which is for patterns (=_ is the symbol)"},
    };
    for (const auto& [text, expected] : cases) {
        std::string problem;
        INFO(text);
        CHECK_FALSE(World::parse(text, &problem));
        CHECK(problem == std::string("test.pr:") + expected);
    }
    // The text itself: where reading stopped.
    const std::pair<const char*, const char*> unreadable[] = {
        {"<a>\n\n<b", "3:1: the text ends and this is still open: expected >"},
        {"<", "1:1: the text ends and this is still open: expected a label"},
        {"? <a> [\n  <b 1>\n", "1:7: the text ends and this is still open: expected ]"},
        {"{a: 1", "1:1: the text ends and this is still open: expected }"},
        {"{a", "1:1: the text ends and this is still open: expected a colon and a value"},
        {"{a:", "1:1: the text ends and this is still open: expected a value"},
        {"<a> @", "1:5: the text ends and this is still open: expected a value"},
        {"\xef\xbb\xbf<a>",
         "1:1: a byte order mark, which cannot be seen: save the text without it"},
        {"<a> \"open", "1:5: the text ends within this: expected \""},
        {"<a> #\"open", "1:5: the text ends within this: expected \""},
        {"<a> #[open", "1:5: the text ends within this: expected ]"},
        {"<a #",
         "1:4: the text ends within this: expected one of #t #f #\" #x\" #xd\" #[ #{ #: #!, "
         "or # and a space before a comment"},
        {"<a> ]", "1:5: an unexpected ]: nothing is open"},
        {"<a>\n<b [c}", "2:6: an unexpected }: expected ] for the [ opened at 2:4"},
        {"<a #{\nb>", "2:2: an unexpected >: expected } for the #{ opened at 1:4"},
        {"<a>\n{b c}", "2:4: expected a colon behind the key"},
        {"{b}", "1:3: expected a colon behind the key"},
        {"{b:}", "1:4: a key without a value: expected a value"},
        {"<>", "1:2: a record without a label: expected <label field …>"},
        {"[@x]", "1:4: an annotation without a value: expected a value"},
        {"<a , b>", "1:4: a comma is not allowed here: expected a value (commas stand only between "
                    "the items of […], {…} and #{…})"},
        {"<a #q>",
         "1:5: an unknown character behind #: expected one of #t #f #\" #x\" #xd\" #[ #{ #: "
         "#!, or # and a space before a comment"},
        {"<a #t1>", "1:6: an unexpected character behind #t or #f: expected white space or a "
                    "delimiter"},
        {"<a #x'00'>", "1:6: expected \" behind #x or #xd"},
        {"<a #x\"0g\">", "1:8: not a hexadecimal digit: expected 0-9, a-f or A-F"},
        {"<a #xd\"00\">", "1:4: a floating-point number of another size: expected 16 hexadecimal "
                          "digits"},
        {"<a #[ab$]>", "1:8: not a base64 digit: expected A-Z, a-z, 0-9, +, /, - or _, or ] at the "
                       "end"},
        {"<a #[ab=c]>", "1:9: a base64 digit behind the padding: expected ]"},
        {"<a #[abcde]>", "1:11: a base64 digit too much or too few: expected whole bytes"},
        {"<a #\"\t\">", "1:6: a character that is not printable ASCII: expected \\xXX for it"},
        {"<a \"x\\q\">",
         "1:6: an unknown escape: expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t "
         "\\uXXXX"},
        {"<a 'x\\q'>",
         "1:6: an unknown escape: expected one of \\' \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX"},
        {"<a #\"\\u0041\">",
         "1:6: an unknown escape: expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t "
         "\\xXX"},
        {"<a \"\\uZ\">", "1:7: not a hexadecimal digit: expected 0-9, a-f or A-F"},
        {"<a \"\\ud800\">",
         "1:5: the first half of a surrogate pair: expected the second (\\uDC00 to "
         "\\uDFFF) behind it"},
        {"<a \"\\udc00\">",
         "1:5: the second half of a surrogate pair: expected the first before it"},
        {"<a> ; old comment", "1:5: an unexpected character: expected a value (comments begin with "
                              "# and a space)"},
        {"<a;>", "1:3: an unexpected character: expected a value (comments begin with # and a "
                 "space)"},
    };
    for (const auto& [text, expected] : unreadable) {
        std::string problem;
        INFO(text);
        CHECK_FALSE(World::parse(text, &problem));
        CHECK(problem == std::string("test.pr:") + expected);
    }
}

TEST_CASE("after an error parsing goes on with the next instruction") {
    auto lines = [](const char* text) {
        std::string problem;
        CHECK_FALSE(World::parse(text, &problem));
        Strings places;
        for (size_t at = 0; at < problem.size();) {
            size_t end = std::min(problem.find('\n', at), problem.size());
            std::string line = problem.substr(at, end - at);
            REQUIRE(line.starts_with("test.pr:"));
            places.push_back(line.substr(8, line.find(": ") - 8));
            at = end + 1;
        }
        return places;
    };
    // Each where it is, in the order of the text.
    CHECK(lines("<a ?x>\n<good>\n<b _>\n") == Strings{"1:4", "3:4"});
    CHECK(lines("? <a> [ <b _>\n <c _> ]\n<d _>") == Strings{"1:12", "2:5", "3:4"});
    // A wrong word does not make what follows it wrong, nor what belongs to it.
    CHECK(lines("foo bar 1 2\n<good>\n? <a> [ ]\nbaz") == Strings{"1:1", "4:1"});
    CHECK(lines("let ?x == 5\n<a>\nlet ?y 6\n<b>") == Strings{"1:8", "3:8"});
    CHECK(lines("let ?x <a>\n<b _>") == Strings{"1:8", "2:4"});
    CHECK(lines("? #{1} ? <a> <b _>\n<c>") == Strings{"1:3", "1:17"});
    CHECK(lines("let ?v = 1 $v =~ #{} <a>\n<b _>") == Strings{"1:18", "2:4"});
    // What cannot be read ends it: before that all counts, but not what was cut off by it.
    CHECK(lines("<a _>\n? <b>\n<c #q>\n<d _>") == Strings{"1:4", "3:5"});
    // Enough is enough.
    std::string many;
    for (int i = 0; i < 1'000; ++i)
        many += "<a _>\n";
    CHECK(lines(many.c_str()).size() == 20);
}

TEST_CASE("run-time errors: every message") {
    const std::pair<const char*, const char*> cases[] = {
        {"<a $x>", "1:4: undefined variable $x"},
        {"$x <a>", "1:4: undefined variable $x, which is the target here"},
        {"let ?x = 1 $x <a>", "1:15: $x is the target here, but is not a capability"},
        {"$. <a>", "1:4: $. is the target here, but is not a capability"},
        {"$x =~ 1 <a>", "1:1: undefined variable $x"},
        {"let ?x = $y", "1:10: undefined variable $y"},
        {"let <p ?b> = <q 1>", "1:1: <q 1> does not match the pattern of this let"},
        {"? <a $x> <b>", "1:6: undefined variable $x"},
        {"let ?s = #{1} ? <a $s> <b>",
         "1:20: $s is or contains a set, which a pattern cannot match"},
        {"let ?s = #{1} ? $. <b>", "1:17: $. is or contains a set, which a pattern cannot match"},
        {"let ?x = 1 <a <* $x []>>", "1:18: $x is not a capability"},
        {"<a <* $x []>>", "1:7: undefined variable $x"},
        {"let ?a = 1 let ?b = 1 {$a: 1 $b: 2}", "1:23: a key twice in a dictionary"},
        {"let ?c = <* $config [<rewrite ?x #{$x}>]>",
         "1:36: a rewrite cannot put what it captured into a set"},
        {"let ?c = <* $config [<rewrite ?x <$x>>]>",
         "1:35: a rewrite cannot make what it captured a label"},
        {"let ?c = <* $config [<rewrite ?x {$x: 1}>]>",
         "1:35: a rewrite cannot make what it captured a key"},
        {"let ?c = <* $config [<rewrite _ $x>]>", "1:33: undefined variable $x"},
        {"let ?c = <* $config [<accept $x>]>", "1:30: undefined variable $x"},
    };
    for (const auto& [text, expected] : cases) {
        World world;
        INFO(text);
        Running script = world.start(text);
        CHECK(script.failed);
        CHECK(world.problems == Strings{std::string("test.pr:") + expected});
        CHECK(world.facts.empty());
    }
    World world;
    std::string deep = "let ?x = 1\n";
    for (int i = 0; i < 300; ++i)
        deep += "let ?x = [$x] ";
    world.start(deep);
    REQUIRE(world.problems.size() == 1);
    CHECK(world.problems[0].starts_with("test.pr:2:"));
    world.problems.clear();
    std::string caveats = "let ?c = <* $config [";
    for (int i = 0; i < 65; ++i)
        caveats += "<accept _> ";
    world.start(caveats + "]>");
    REQUIRE(world.problems.size() == 1);
    CHECK(world.problems[0].find("caveats") != std::string::npos);
}

TEST_CASE("what a script makes is bounded") {
    World world;
    std::string doubled = "let ?x = [0 1 2 3 4 5 6 7 8 9]\n";
    for (int i = 0; i < 40; ++i)
        doubled += "let ?x = [$x $x]\n";
    world.start(doubled);
    REQUIRE(world.problems.size() == 1);
    CHECK(world.problems[0].find(": the value is larger than 1 MiB") != std::string::npos);
    world.problems.clear();
    std::string joined = "let ?x = \"0123456789\"\n";
    for (int i = 0; i < 40; ++i)
        joined += "let ?x = join $x [a b c]\n";
    world.start(joined);
    REQUIRE(world.problems.size() == 1);
    CHECK(world.problems[0].find(": the text is larger than 1 MiB") != std::string::npos);
    world.problems.clear();
    std::string all;
    for (int i = 0; i < 40; ++i)
        all += "let ?x" + std::to_string(i) + " = $.\n";
    world.start(all);
    REQUIRE(world.problems.size() == 1);
    CHECK(world.problems[0].find(": $. is larger than 1 MiB") != std::string::npos);
}

TEST_CASE("a script that reacts to what it does itself is stopped, and said to") {
    World world;
    const Running running = world.start("<before>\n? ?any\n  ? ?other <e>");
    CHECK(world.problems ==
          std::vector<std::string>{"test.pr:3:3: more than 10000 reactions at once: does it react "
                                   "to what it does itself?"});
    CHECK_FALSE(running.facet->alive());
    CHECK(world.facts.empty());
}

TEST_CASE("reactions that end in the turn in which they began count as well") {
    World world(false);
    const Ref<Script> script =
        World::parse("? <a ?x> [<a 2 x> $config [ <b $x> ] let y = fact ! stop ]\n"
                     "?? <a ?x> ? <b ?y> <a 3 x $y $.>");
    REQUIRE(script);
    Running running;
    world.turn([&](dataspace::Turn& turn) {
        running = run_script(
            turn, script, world.environment,
            [&](dataspace::Turn&, const Problem& found) {
                world.problems.push_back(to_string(found));
            },
            nullptr, 100);
    });
    for (const char* fact : {"<a 1>", "<a 2 x>", "[1 2 3]", "{k: v}"}) {
        world.turn([&](dataspace::Turn& turn) {
            turn.assert_(world.config, World::read(fact));
            turn.message(world.config, World::read(fact));
        });
    }
    REQUIRE_FALSE(world.problems.empty());
    CHECK(world.problems.back().find("more than 100 reactions") != std::string::npos);
    CHECK_FALSE(running.facet->alive());
}

TEST_CASE("many reactions one after the other are no more than one") {
    World world;
    const Running running = world.start("?? <n ?i> ! <seen $i>\n? <there> <here>");
    for (size_t i = 0; i <= max_reactions / 100; ++i) {
        world.turn([&](dataspace::Turn& turn) {
            for (int n = 0; n < 100; ++n)
                turn.message(world.config, World::read("<n " + std::to_string(n) + ">"));
        });
        world.remove(world.add("<there>"));
    }
    CHECK(world.problems.empty());
    CHECK(running.facet->alive());
}
