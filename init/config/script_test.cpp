// The instructions of scripts, form by form (reference 3.5).

#include "init/config/script.h"

#include "init/base/catch.h"
#include "init/config/script_world.h"

using namespace muster;
using namespace muster::config;
using Facts = std::set<std::string>;
using Strings = std::vector<std::string>;

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

TEST_CASE("blocks within blocks, with commas; annotations count for nothing") {
    World world;
    world.start("#!/usr/bin/env dataspace\n[<a>, [<b>, <c>],] @note <d @inner 1> @x [ <e> ]");
    CHECK(world.problems.empty());
    CHECK(world.facts == Facts{"<a>", "<b>", "<c>", "<d 1>", "<e>"});
}

TEST_CASE("+= asserts what is no instruction by itself") {
    World world;
    Running script = world.start("let ?v = [1 2] += $v += 3 += \"text\" += #{1} += <r> += let");
    CHECK(world.problems.empty());
    CHECK(world.facts == Facts{"[1, 2]", "3", "\"text\"", "#{1}", "<r>", "let"});
    world.stop(script);
    CHECK(world.facts.empty());
}

TEST_CASE("the same twice is one assertion, until both are gone") {
    World world;
    Running one = world.start("<a> <a>");
    Running two = world.start("<a>");
    world.stop(one);
    CHECK(world.has("<a>"));
    world.stop(two);
    CHECK(world.facts.empty());
}

TEST_CASE("! sends any value, once") {
    World world;
    world.start("let ?x = 1 ! <m $x> ! [2] ! word ! {k: $x}");
    CHECK(world.events == Strings{"!<m 1>", "![2]", "!word", "!{k: 1}"});
    CHECK(world.facts.empty());
}

TEST_CASE("? is for assertions, ?? for messages") {
    World world;
    world.start("? <a ?x> <asserted $x> ?? <a ?x> <said $x>");
    world.send("<a 1>");
    world.add("<a 2>");
    CHECK(world.facts == Facts{"<a 2>", "<asserted 2>", "<said 1>"});
}

TEST_CASE("?: matches with equal captures are one") {
    World world;
    world.start("? <a _ ?x> [ <b $x> ! <begun $x> ]");
    auto one = world.add("<a 1 x>");
    auto two = world.add("<a 2 x>");
    CHECK(std::count(world.events.begin(), world.events.end(), "!<begun x>") == 1);
    world.remove(one);
    CHECK(world.has("<b x>"));
    world.remove(two);
    CHECK_FALSE(world.has("<b x>"));
}

TEST_CASE("??: what a message began lives on beside the others") {
    World world;
    Running script = world.start(
        "?? <start ?x> [ <going $x> ? <a ?y> <seen $x $y> let ?f = facet ?? <end $x> $f ! stop ]");
    world.send("<start 1>");
    world.send("<start 2>");
    auto fact = world.add("<a 3>");
    CHECK(world.facts == Facts{"<a 3>", "<going 1>", "<going 2>", "<seen 1 3>", "<seen 2 3>"});
    world.send("<end 1>");
    CHECK(world.facts == Facts{"<a 3>", "<going 2>", "<seen 2 3>"});
    world.send("<start 2>");
    world.remove(fact);
    CHECK(world.facts == Facts{"<going 2>"});
    world.send("<end 2>");
    CHECK(world.facts.empty());
    world.stop(script);
    CHECK(world.problems.empty());
}

TEST_CASE("?? one ?- alone is undone at once: nothing else keeps it") {
    World world;
    world.start("?? <m ?x> ?- ! <gone $x>");
    world.send("<m 1>");
    CHECK(world.events == Strings{"!<m 1>", "!<gone 1>"});
}

TEST_CASE("?- in a block, with a target, with what was known there") {
    World world;
    Running script = world.start("let ?x = 1 ?- [ ! <one $x> $config ! <two $x> ] let ?x = 2");
    world.stop(script);
    CHECK(world.events == Strings{"!<one 1>", "!<two 1>"});
}

TEST_CASE("?- may assert no longer than what it ends in") {
    World world;
    world.start("? <a> ?- <gone>");
    auto fact = world.add("<a>");
    world.remove(fact);
    // Within the file, which lasts.
    CHECK(world.facts == Facts{"<gone>"});
}

TEST_CASE("$x: each kind of instruction at another target") {
    World world;
    world.start("let ?ds = dataspace\n"
                "$ds ? ?all $config <asserted $all>\n"
                "$ds ?? ?all $config <said $all>\n"
                "$ds <record> $ds {k: v} $ds += 1 $ds ! 2 $ds [ <in> ! <block> ]\n"
                "$ds let ?x = 3 $ds += $x $ds $config <back>");
    CHECK(world.problems.empty());
    CHECK(world.has("<asserted <record>>"));
    CHECK(world.has("<asserted {k: v}>"));
    CHECK(world.has("<asserted 1>"));
    CHECK(world.has("<said 2>"));
    CHECK(world.has("<asserted <in>>"));
    CHECK(world.has("<said <block>>"));
    CHECK(world.has("<asserted 3>"));
    CHECK(world.has("<back>"));
    CHECK_FALSE(world.has("<asserted <back>>"));
}

TEST_CASE("=~: all that remains of the block is the else, with its own variables") {
    World world;
    const char* script = "? <in ?v> [\n"
                         "  [ $v =~ 1 <one> let ?x = else <block $x $v> ? <more ?y> <saw $x $y>\n"
                         "    $v =~ 2 [ <two> ] <neither> ]\n"
                         "  <after $v> ]";
    world.start(script);
    world.add("<in 1>");
    CHECK(world.facts == Facts{"<in 1>", "<one>", "<after 1>"});
    world.add("<in 2>");
    world.add("<more m>");
    CHECK(world.has("<two>"));
    CHECK(world.has("<block else 2>"));
    CHECK(world.has("<saw else m>"));
    CHECK(world.has("<after 2>"));
    CHECK_FALSE(world.has("<neither>"));
    world.add("<in 3>");
    CHECK(world.has("<neither>"));
}

TEST_CASE("=~: neither branch, at the end of a block") {
    World world;
    world.start("let ?v = 1 [ $v =~ 2 <yes> ] <after>");
    CHECK(world.facts == Facts{"<after>"});
}

TEST_CASE("=~ after targets: what it tests is the last, where it acts is the one before") {
    World world;
    world.start("let ?ds = dataspace let ?v = <p 1>\n"
                "$ds [ ? <match ?n> $config <matched $n> ? <else> $config <else>\n"
                "      ? <rest> $config <rest> ? <inner-else> $config <inner-else> ]\n"
                "[ $ds $v =~ <p ?n> <match $n> <else> ]\n"
                "[ $ds $v =~ <q ?n> <match $n> <else> <rest> ]\n"
                "$ds [ $v =~ <q> <match> <inner-else> ]");
    CHECK(world.problems.empty());
    CHECK(world.facts == Facts{"<matched 1>", "<else>", "<rest>", "<inner-else>"});
}

TEST_CASE("=~ binds the whole and the parts, for its instruction only") {
    World world;
    world.start("let ?v = <p 1 2> let ?n = 0 [ $v =~ <?all <p ?n>> <saw $all $n> ] <n $n>");
    CHECK(world.facts == Facts{"<saw <p 1 2> 1>", "<n 0>"});
}
