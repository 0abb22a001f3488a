// Templates, patterns and expressions of scripts, form by form (reference 3.5).

#include "init/config/script.h"

#include "init/base/catch.h"
#include "init/config/script_world.h"

using namespace muster;
using namespace muster::config;
using Facts = std::set<std::string>;
using Strings = std::vector<std::string>;

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

TEST_CASE("capabilities in patterns are compared by identity") {
    World world;
    world.start("let ?one = dataspace let ?two = dataspace\n"
                "<holds $one 1> <holds $two 2>\n"
                "? <holds $two ?n> <second $n>");
    CHECK(world.has("<second 2>"));
    CHECK_FALSE(world.has("<second 1>"));
}

TEST_CASE("templates: every kind of value, variables at every place") {
    World world;
    world.start("let ?x = 1 let ?l = label let ?k = key\n"
                "<$l $x [$x #{$x 2}] {$k: $x other: <inner $x>}>\n"
                "<atoms #t #f 1 -2 1.5 \"s\" #\"b\" #x\"00ff\" sym 'a b' [] {} #{}>\n"
                "<[1 $x] compound label>");
    CHECK(world.problems.empty());
    CHECK(world.has("<label 1 [1, #{1, 2}] {key: 1, other: <inner 1>}>"));
    CHECK(world.has("<[1, 1] compound label>"));
    CHECK(world.facts.size() == 3);
}

TEST_CASE("text of every notation: quoted symbols are symbols with a meaning too") {
    World world;
    world.start("let ?x = 1 <a '$x' '=$x' \"$x\" '=a b' |x| # comment > \n 2 , >");
    CHECK(world.problems.size() == 1); // commas are not for records
    world.problems.clear();
    world.start("let ?x = 1 <a '$x' '=$x' \"$x\" '=a b' # comment >\n 2>");
    CHECK(world.problems.empty());
    CHECK(world.has("<a 1 $x \"$x\" 'a b' 2>"));
}

TEST_CASE("records whose label is * or ?…") {
    World world;
    world.start("<=* 1 2> <=?x 1> ? <=* ?a _> <star $a> ? <=?x ?b> <question $b> ? <?w <=* _ ?c>> "
                "<whole $w $c>");
    CHECK(world.problems.empty());
    CHECK(world.facts ==
          Facts{"<* 1 2>", "<?x 1>", "<star 1>", "<question 1>", "<whole <* 1 2> 2>"});
}

TEST_CASE("patterns: every kind of constant, _ demands something") {
    World world;
    world.start("? <a 1 _> <n1> ? <a 1.5 _> <n2> ? <a \"s\" _> <n3> ? <a #\"b\" _> <n4>\n"
                "? <a sym _> <n5> ? <a #t _> <n6> ? <a =_ _> <n7> ? <a [1 [2]] _> <n8>\n"
                "? <a {k: {l: 1}} _> <n9> ? <a <r <s 1>> _> <n10> ? {x: _} <has-x>");
    for (const char* fact :
         {"<a 1 1>", "<a 1.5 1>", "<a \"s\" 1>", "<a #\"b\" 1>", "<a sym 1>", "<a #t 1>", "<a _ 1>",
          "<a [1 [2 3] 4] 1>", "<a {k: {l: 1 m: 2}} 1>", "<a <r <s 1 2>> 1>", "{x: #f}"})
        world.add(fact);
    for (int i = 1; i <= 10; ++i)
        CHECK(world.has("<n" + std::to_string(i) + ">"));
    CHECK(world.has("<has-x>"));
    World lacking;
    lacking.start("? <a 1 _> <n1>");
    lacking.add("<a 1>");
    CHECK_FALSE(lacking.has("<n1>"));
}

TEST_CASE("a pattern for anything, a message that is an atom") {
    World world;
    world.start("let ?ds = dataspace $ds ? <?x [_]> $config <seen $x> $ds ?? 5 $config <five> "
                "$ds [ += [1] ! 4 ! 5 ]");
    CHECK(world.facts == Facts{"<seen [1]>", "<five>"});
}

TEST_CASE("dictionaries with variables as keys, in templates and in patterns") {
    World world;
    world.start("let ?k = [1] let ?s = \"t\"\n"
                "{$k: 1 $s: 2}\n"
                "? {$k: ?a $s: ?b} <got $a $b>\n"
                "let {$s: ?c} = {\"t\": 3} <c $c>\n"
                "? {=$k: ?d} <literal $d> {=$k: 4}");
    CHECK(world.problems.empty());
    CHECK(world.has("<got 1 2>"));
    CHECK(world.has("<c 3>"));
    CHECK(world.has("<literal 4>"));
}

TEST_CASE("captures come in the order of the keys, not of the text") {
    World world;
    world.start("? {\"b\": ?b a: ?a 10: ?ten 9: ?nine [1]: ?seq} <got $nine $ten $b $a $seq>");
    world.add("{a: 1 \"b\": 2 9: 3 10: 4 [1]: 5}");
    CHECK(world.has("<got 3 4 2 1 5>"));
}

TEST_CASE("a variable that is compound is a pattern open at its end, as all are") {
    World world;
    world.start("let ?p = <p [1]> ? <a $p> <found>");
    world.add("<a <p [1 2] 3>>");
    CHECK(world.has("<found>"));
}

TEST_CASE("$. has all variables, and is one more in patterns and as a value") {
    World world;
    world.environment = Environment();
    world.environment.bind("config", dataspace::embed(world.config));
    world.start("let ?x = 1 <service \"path\" $.> let {x: ?again config: ?c} = $.\n"
                "$c <again $again> ? <service _ {x: ?y}> <y $y> ? <service ?p $.> <same $p>");
    CHECK(world.problems.empty());
    CHECK(world.has("<again 1>"));
    CHECK(world.has("<y 1>"));
    // By now there are more variables than when it was asserted: an open pattern asks for them all.
    CHECK_FALSE(world.has("<same \"path\">"));
}

TEST_CASE("what scripts say with $. holds capabilities, as names of services do") {
    World world;
    world.start("<run <watcher \"p\" $.>> ? <run <watcher ?p {config: ?c}>> $c <from $p>");
    CHECK(world.problems.empty());
    CHECK(world.has("<from \"p\">"));
}

TEST_CASE("let: every kind of expression may be taken apart") {
    World world;
    world.start("let <ok ?a> = <ok [1 2]> let [_ ?b] = $a let ?c = $b let _ = anything "
                "let <?w [?d]> = [3 4] let 5 = 5 let ?e = =facet <got $a $b $c $d $e $w>");
    CHECK(world.problems.empty());
    CHECK(world.facts == Facts{"<got [1, 2] 2 2 3 facet [3, 4]>"});
}

TEST_CASE("dataspace: a new one each time, empty, gone with its script") {
    World world;
    size_t actors = world.engine.actor_count();
    Running script = world.start("let ?a = dataspace let ?b = dataspace $a <x> "
                                 "$a ? <x> $config <a <x>> $b ? <x> $config <b <x>> "
                                 "? <go> [ let ?c = dataspace $c <y> $c ? <y> $config <c <y>> ]");
    CHECK(world.facts == Facts{"<a <x>>"});
    auto go = world.add("<go>");
    CHECK(world.has("<c <y>>"));
    CHECK(world.engine.actor_count() == actors + 3);
    world.remove(go);
    CHECK(world.engine.actor_count() == actors + 2);
    world.stop(script);
    script = Running();
    world.settle();
    CHECK(world.engine.actor_count() == actors);
}

TEST_CASE("stringify and join, nested either way") {
    World world;
    world.start(
        "let ?a = stringify \"s\" let ?b = stringify [a {k: 1.5}] let ?c = stringify 'q s'\n"
        "let ?sep = \"-\" let ?d = join $sep [a 1 \"b c\" <r>] let ?e = join 0 [x y]\n"
        "let ?f = join stringify \"|\" [x y] let ?g = join \",\" single\n"
        "<got $a $b $c $d $e $f $g>");
    CHECK(world.problems.empty());
    CHECK(world.facts == Facts{R"(<got "\"s\"" "[a, {k: 1.5}]" "'q s'" "a-1-b c-<r>" "x0y")"
                               R"( "x\"|\"y" "single">)"});
}
