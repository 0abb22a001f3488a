// The script language, form by form (reference 3.5).

#include "init/config/script.h"

#include "init/base/catch.h"
#include "init/config/script_world.h"

using namespace muster;
using namespace muster::config;
using Facts = std::set<std::string>;

TEST_CASE("records and dictionaries are asserted until the script is stopped") {
    World world;
    Running script = world.start("<a 1> {b: 2} # a comment\n# another at the end");
    CHECK(world.problems.empty());
    CHECK(world.facts == Facts{"<a 1>", "{b: 2}"});
    world.stop(script);
    CHECK(world.facts.empty());
}

TEST_CASE("an empty script lives") {
    World world;
    Running script = world.start("");
    REQUIRE(script.facet);
    CHECK(script.facet->alive());
    CHECK(world.start("# only a comment").facet->alive());
}

TEST_CASE("blocks and their variables") {
    World world;
    world.start("let ?x = 1 [ let ?x = 2 <inner $x> [ <deeper $x> ] ] <outer $x>");
    CHECK(world.facts == Facts{"<inner 2>", "<deeper 2>", "<outer 1>"});
}

TEST_CASE("a block does not let its variables out") {
    World world;
    world.start("[ let ?x = 2 ] <a $x>");
    CHECK(world.problems == std::vector<std::string>{"test.pr:1:19: undefined variable $x"});
}

TEST_CASE("during: a facet for each match, as long as it lasts") {
    World world;
    world.start("? <a ?x> [ <b $x> ? <c $x ?y> <d $x $y> ]");
    auto one = world.add("<a 1>");
    auto two = world.add("<a 2>");
    CHECK(world.has("<b 1>"));
    CHECK(world.has("<b 2>"));
    auto sub = world.add("<c 1 x>");
    CHECK(world.has("<d 1 x>"));
    world.remove(sub);
    CHECK_FALSE(world.has("<d 1 x>"));
    world.add("<c 2 y>");
    CHECK(world.has("<d 2 y>"));
    world.remove(two);
    CHECK_FALSE(world.has("<d 2 y>"));
    world.remove(one);
    CHECK(world.facts == Facts{"<c 2 y>"});
}

TEST_CASE("patterns are open, and demand the positions they name") {
    World world;
    world.start("? <a _ ?y> <two $y> ? <a> <any> ? [1 ?z] <seq $z> ? {k: ?v} <key $v>");
    world.add("<a 1>");
    CHECK(world.facts == Facts{"<a 1>", "<any>"});
    world.add("<a 1 2 3>");
    CHECK(world.has("<two 2>"));
    world.add("[1 2 3]");
    CHECK(world.has("<seq 2>"));
    world.add("{j: 1 k: #t}");
    CHECK(world.has("<key #t>"));
}

TEST_CASE("on message") {
    World world;
    Running script = world.start("?? <ping ?x> [ <pong $x> ! <sent $x> ]");
    world.send("<ping 1>");
    world.send("<ping 2>");
    // Each handler's facet lives on, as it asserts something.
    CHECK(world.facts == Facts{"<pong 1>", "<pong 2>"});
    CHECK(std::count(world.events.begin(), world.events.end(), "!<sent 2>") == 1);
    world.stop(script);
    CHECK(world.facts.empty());
}

TEST_CASE("on stop") {
    World world;
    Running script = world.start("? <a ?x> ?- ! <gone $x> ?- ! <over>");
    auto fact = world.add("<a 1>");
    CHECK(world.events.back() == "+<a 1>");
    world.remove(fact);
    CHECK(world.events.back() == "!<gone 1>");
    world.stop(script);
    CHECK(world.events.back() == "!<over>");
}

TEST_CASE("facet: the message stop ends the enclosing facet") {
    World world;
    world.start("<stays> [ let ?f = facet <same facet> ] "
                "? <a ?x> [ let ?f = facet <b $x> ?? <end> [ $f ! stop ] ] ");
    world.add("<a 1>");
    CHECK(world.has("<b 1>"));
    world.send("<end>");
    CHECK_FALSE(world.has("<b 1>"));
    CHECK(world.has("<stays>"));
}

TEST_CASE("targets") {
    World world;
    world.start("let ?ds = dataspace\n"
                "$ds [ <hidden 1> ? <hidden ?x> $config <seen $x> ]\n"
                "$ds ? <hidden ?x> [ <quoted $x> ]\n"
                "$ds ? <quoted ?x> $config [ <again $x> ]\n"
                "$config += symbol\n"
                "+= [1 2]\n");
    CHECK(world.problems.empty());
    CHECK(world.facts == Facts{"<seen 1>", "<again 1>", "symbol", "[1, 2]"});
}

TEST_CASE("the target is a name: shadowing it redirects what follows") {
    World world;
    world.start("let ?outer = $config\n"
                "let ?config = dataspace\n"
                "<inside>\n"
                "? <inside> $outer <found>");
    CHECK(world.facts == Facts{"<found>"});
}

TEST_CASE("let takes values apart") {
    World world;
    world.start("let [?a <p ?b>] = [1 <p 2 3>] let {k: ?c} = {k: 3 l: 4} let <?d <q ?e>> = <q 5>"
                "<got $a $b $c $d $e>");
    CHECK(world.facts == Facts{"<got 1 2 3 <q 5> 5>"});
    world.start("\n\n   let <p ?b> = <q 1> <never>");
    CHECK(world.problems ==
          std::vector<std::string>{"test.pr:3:4: <q 1> does not match the pattern of this let"});
    CHECK_FALSE(world.has("<never>"));
}

TEST_CASE("expressions") {
    World world;
    world.start("let ?dir = scriptdir let ?text = stringify <a \"b\" [1 2]>\n"
                "let ?path = join \"/\" [$dir x 3 \"y\"]\n"
                "let ?nested = stringify join \"\" [\"a\" \"b\"]\n"
                "let ?none = join \", \" []\n"
                "let ?literal = =dataspace\n"
                "let ?now = timestamp\n"
                "<values $dir $text $path $nested $none $literal> <now $now>");
    CHECK(world.problems.empty());
    CHECK(world.has(
        R"(<values "/etc/test" "<a \"b\" [1, 2]>" "/etc/test/x/3/y" "\"ab\"" "" dataspace>)"));
    std::string now = *world.facts.begin();
    CHECK(now.size() == std::string("<now \"2026-01-02T03:04:05.678901Z\">").size());
    world.start("let ?x = join 1 2");
    CHECK(world.problems ==
          std::vector<std::string>{"test.pr:1:17: join needs a sequence of pieces"});
}

TEST_CASE("pattern gives a wire pattern as a value") {
    World world;
    world.start(R"(let ?p = pattern <device block _ {DEVNAME: "vda"}>
                   <depends-on <daemon x> <present $p>>)");
    CHECK(world.problems.empty());
    CHECK(world.has("<depends-on <daemon x> <present <group <rec device> {0: <lit block>, 1: <_>, "
                    "2: <group <dict> {DEVNAME: <lit \"vda\">}>}>>>"));
}

TEST_CASE("literals, quoting") {
    World world;
    world.start("<a =?x =$y =_ =a ==b ? ?? ?- let ! += =~ $config>");
    // ? and ?? alone are binders without a name.
    REQUIRE(world.problems.size() == 1);
    world.start("<a =?x =$y =_ =a ==b =? let ! += =~ '=c'> <=* 1> <a \"?x\" \"$y\">");
    CHECK(world.has("<a ?x $y _ a =b ? let ! += ~ c>"));
    CHECK(world.has("<* 1>"));
    CHECK(world.has("<a \"?x\" \"$y\">"));
}

TEST_CASE("the whole environment") {
    World world;
    world.environment = Environment();
    world.environment.bind("config", dataspace::embed(world.config));
    world.start("let ?x = 1 let ?x = 2 let {x: ?y} = $. <y $y>");
    CHECK(world.facts == Facts{"<y 2>"});
}

TEST_CASE("=~ runs its instruction, or the rest of the block") {
    World world;
    const char* script = "? <in ?v> [ <before $v>\n"
                         "  $v =~ <one ?x> <matched-one $x>\n"
                         "  $v =~ <two ?x> [ <matched-two $x> ]\n"
                         "  <neither $v> ]";
    world.start(script);
    world.add("<in <one 1>>");
    world.add("<in <two 2>>");
    world.add("<in 3>");
    CHECK(world.problems.empty());
    CHECK(world.has("<matched-one 1>"));
    CHECK(world.has("<matched-two 2>"));
    CHECK(world.has("<neither 3>"));
    CHECK(world.has("<before 3>"));
    CHECK_FALSE(world.has("<neither <one 1>>"));
    CHECK_FALSE(world.has("<neither <two 2>>"));
}

TEST_CASE("=~ outside a block takes the rest with it") {
    World world;
    world.start("? <in ?v> $v =~ 1 <yes> <no $v> <no-too $v>");
    CHECK(world.facts.empty());
    world.add("<in 1>");
    CHECK(world.facts == Facts{"<in 1>", "<yes>"});
    world.add("<in 2>");
    CHECK(world.facts == Facts{"<in 1>", "<in 2>", "<yes>", "<no 2>", "<no-too 2>"});
}

TEST_CASE("=~ leaves the target as it was") {
    World world;
    world.start("let ?ds = dataspace let ?v = 1\n"
                "$ds ? <in-ds> $config <got>\n"
                "$ds [ $v =~ 1 <in-ds> ]");
    CHECK(world.facts == Facts{"<got>"});
}

TEST_CASE("binding the whole and its parts in one pattern") {
    World world;
    world.start("? <?whole <a ?x <?part [?y _]>>> <saw $whole $x $part $y>"
                "? {b: ?one aa: ?two} <keys $one $two>");
    world.add("<a 1 [2 3]>");
    CHECK(world.has("<saw <a 1 [2, 3]> 1 [2, 3] 2>"));
    world.add("{aa: 2 b: 1}");
    CHECK(world.has("<keys 1 2>"));
}

TEST_CASE("variables in patterns: compound values as nested groups, sets refused") {
    World world;
    world.start("let ?c = <d {k: [1]}> ? <a $c ?x> <found $x>");
    world.add("<a <d {k: [1]}> yes>");
    world.add("<a <d {k: [2]}> no>");
    CHECK(world.has("<found yes>"));
    CHECK_FALSE(world.has("<found no>"));
    world.start("let ?s = #{1}\n? <a $s> <x>");
    CHECK(world.problems ==
          std::vector<std::string>{
              "test.pr:2:6: $s is or contains a set, which a pattern cannot match"});
    world.start("let ?label = a ? <$label ?x ?y> <labelled $y>");
    CHECK(world.has("<labelled yes>"));
}

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

TEST_CASE("attenuation") {
    World world;
    world.start("let ?c = <* $config [<or [<rewrite <a ?x> <b $x 1>> <accept <c _>>]>]>\n"
                "$c [ <a 1> <a 1 2> <c 2> <d> ]");
    CHECK(world.problems.empty());
    CHECK(world.facts == Facts{"<b 1 1>", "<c 2>"});
}

TEST_CASE("attenuation: reject, order, captured and known variables") {
    World world;
    world.start("let ?n = 7\n"
                "let ?r = <* $config [<reject <a {k: _}>>]>\n"
                "$r [ <a {k: 1 l: 2}> <a {l: 2}> ]\n"
                "let ?s = <* $config [<rewrite ?x <old $x>> <rewrite ?x <new $x $n>>]>\n"
                "$s <v>\n"
                "let ?t = <* $config [<rewrite <?all <p {b: ?x aa: ?y}>> [$all $x $y $n]>]>\n"
                "$t <p {aa: 1 b: 2}>\n"
                "let ?u = <* $config [<accept <q $n>>]>\n"
                "$u [ <q 7> <q 8> ]\n"
                "let ?both = <* $r [<rewrite ?x <a $x>>]>\n"
                "$both [ {k: 1} {l: 1} ]");
    CHECK(world.problems.empty());
    CHECK(world.facts == Facts{"<a {l: 2}>", "<old <new <v> 7>>", "[<p {b: 2, aa: 1}>, 2, 1, 7]",
                               "<q 7>", "<a {l: 1}>"});
}

TEST_CASE("attenuation of what a rewrite captured") {
    World world;
    world.start("let ?ds = dataspace\n"
                "let ?narrow = <* $config [<rewrite <give ?c> <give <* $c [<accept <ok>>]>>>]>\n"
                "$narrow <give $ds>\n"
                "? <give ?c> $c [ <ok> <not-ok> ]\n"
                "$ds ? ?any $config <in-ds $any>");
    CHECK(world.problems.empty());
    CHECK(world.has("<in-ds <ok>>"));
    CHECK_FALSE(world.has("<in-ds <not-ok>>"));
}

TEST_CASE("capabilities in patterns are compared by identity") {
    World world;
    world.start("let ?one = dataspace let ?two = dataspace\n"
                "<holds $one 1> <holds $two 2>\n"
                "? <holds $two ?n> <second $n>");
    CHECK(world.has("<second 2>"));
    CHECK_FALSE(world.has("<second 1>"));
}

TEST_CASE("syntax errors name line, column, and what was expected") {
    const std::pair<const char*, const char*> cases[] = {
        {"<a>\nfoo", "2:1: an instruction was expected (<record>, {dictionary}, [block], $name …, "
                     "? …, ?? …, ?- …, let …, ! …, += …), not foo"},
        {"<a>\n  \"text\"", "2:3: an instruction was expected"},
        {"? <a ?x>", "1:3: an instruction after the pattern was expected after a record"},
        {"?", "1:1: a pattern was expected after ?"},
        {"??", "1:1: a pattern was expected after ??"},
        {"?-", "1:1: an instruction was expected after ?-"},
        {"!", "1:1: a value was expected after !"},
        {"+=", "1:1: a value was expected after +="},
        {"let", "1:1: a pattern was expected after let"},
        {"let ?x", "1:5: = was expected after ?x"},
        {"let ?x 5", "1:8: = was expected (let PATTERN = EXPRESSION), not 5"},
        {"let ?x =", "1:8: an expression was expected after ="},
        {"let ?x = join \" \"", "1:15: a sequence of pieces after the separator was expected"},
        {"let ?x = stringify", "1:10: an expression was expected after stringify"},
        {"$x", "1:1: an instruction or =~ was expected after $x"},
        {"$", "1:1: the name of a variable was expected after $"},
        {"=~ 1 <a>", "1:1: =~ needs a variable before it"},
        {"$x =~ 1", "1:7: an instruction after the pattern was expected after 1"},
        {"$x =~", "1:4: a pattern was expected after =~"},
        {"<a ?x>", "1:4: ?x is for patterns; a value was expected (=?x is the symbol)"},
        {"<a _>", "1:4: _ is for patterns; a value was expected"},
        {"? <a ?x ?x> <b>", "1:9: ?x is bound twice in one pattern"},
        {"? #{1} <b>", "1:3: a pattern cannot match a set"},
        {"? <a #{1}> <b>", "1:6: a pattern cannot match a set"},
        {"? <_ 1> <b>", "1:4: the label of a record cannot be left open"},
        {"? <?x> <b>", "1:3: one pattern was expected: <?x PATTERN>"},
        {"? ? <b>", "1:3: the name of a variable was expected after ?"},
        {"<a #:1>", "1:4: a capability cannot be written in a script"},
        {"<a>\n#:[1]", "2:1: an instruction was expected"},
        {"<a <* $x>>", "1:4: <* $name [CAVEAT …]> was expected"},
        {"<a <* x []>>", "1:7: a variable that holds a capability was expected"},
        {"<a <* $x [<what>]>>", "1:11: a caveat was expected: <rewrite PATTERN TEMPLATE>"},
        {"<a <* $x [<or [<reject _>]>]>>", "1:16: <rewrite PATTERN TEMPLATE> or <accept PATTERN>"},
        {"<a {b: 1 =b: 2}>", "1:4: "},
        // Deep inside.
        {"? <a> [\n  ? <b> [\n    [ let ?x = 1\n      [ what ] ] ] ]",
         "4:9: an instruction was expected"},
        {"? <a> [\n  ? <b ?x> [\n    <c [1 {k: <d _>}]> ] ]", "3:18: _ is for patterns"},
        // The text itself.
        {"<a>\n\n<b", "3:1: "},
        {"<a> ]", "1:5: "},
        {"<a> \"open", "1:5: "},
        {"<a>\n{b c}", "2:"},
        {"<a #q>", "1:"},
    };
    for (const auto& [text, expected] : cases) {
        std::string problem;
        INFO(text);
        CHECK_FALSE(World::parse(text, &problem));
        INFO(problem);
        CHECK(problem.starts_with(std::string("test.pr:") + expected));
    }
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

TEST_CASE("same content: layout and comments do not count, and places can be renewed") {
    Ref<Script> one = World::parse("<a 1>\n? <b ?x> [<c $y>]");
    Ref<Script> two = World::parse("# new\n<a   1>\n\n\n? <b ?x> [\n<c $y>]");
    Ref<Script> three = World::parse("<a 1> ? <b ?x> [<c $x>]");
    REQUIRE((one && two && three));
    CHECK(one->same_content(*two));
    CHECK_FALSE(one->same_content(*three));
    World world;
    world.turn([&](dataspace::Turn& turn) {
        run_script(turn, one, world.environment, [&](dataspace::Turn&, const Problem& problem) {
            world.problems.push_back(to_string(problem));
        });
    });
    one->take_places(*two);
    world.add("<b 1>");
    CHECK(world.problems == std::vector<std::string>{"test.pr:6:4: undefined variable $y"});
}

TEST_CASE("a rehearsal shows nothing until it is released, derived things included") {
    World world;
    Running old = world.start("<a 1> ? <x ?n> [ <b $n> ? <y> <d> ] ?? <m> ! <old>");
    world.add("<x 1>");
    world.add("<y>");
    REQUIRE(world.has("<d>"));
    world.events.clear();
    Running next = world.start("<a 1> <a 2> ? <x ?n> [ <b $n> ? <y> [ <d> <e> ] ] "
                               "?? <m> ! <new> ? <x ?n> ?- ! <undone>",
                               &old);
    CHECK(world.events.empty());
    world.send("<m>");
    CHECK(world.events == std::vector<std::string>{"!<m>", "!<old>"});
    world.events.clear();
    world.turn([&](dataspace::Turn& turn) {
        release(turn, next);
        turn.stop(*old.facet);
    });
    // What both say did not blink.
    CHECK(world.events == std::vector<std::string>{"+<a 2>", "+<e>"});
    world.send("<m>");
    CHECK(world.events.back() == "!<new>");
    world.stop(next);
    CHECK(world.facts == Facts{"<x 1>", "<y>"});
    CHECK(std::count(world.events.begin(), world.events.end(), "!<undone>") == 1);
}

TEST_CASE("capabilities narrowed in the same way are the same, from version to version") {
    World world;
    const char* script = "? <x ?n> [ let ?c = <* $config [<accept <a $n>>]> <give $n $c> ]";
    Running old = world.start(script);
    world.add("<x 1>");
    world.add("<x 2>");
    Facts before = world.facts;
    CHECK(before.size() == 4);
    world.events.clear();
    Running next = world.start(std::string("<more>") + script, &old);
    world.turn([&](dataspace::Turn& turn) {
        release(turn, next);
        turn.stop(*old.facet);
    });
    CHECK(world.events == std::vector<std::string>{"+<more>"});
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
