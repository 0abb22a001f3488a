// `<* $x [CAVEAT …]>` in scripts, form by form (reference 3.5, 2.8).

#include "init/config/script.h"

#include "init/base/catch.h"
#include "init/config/script_world.h"

using namespace muster;
using namespace muster::config;
using Facts = std::set<std::string>;
using Strings = std::vector<std::string>;

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

TEST_CASE("<or […]>: the first that matches counts, none lets nothing through") {
    World world;
    world.start("let ?c = <* $config [<or [<rewrite <a 1> <first>> <rewrite <a ?x> <second $x>> "
                "<accept <b>>]>]>\n"
                "$c [ <a 1> <a 2> <b> <c> ! <a 3> ! <c> ]\n"
                "let ?none = <* $config [<or []>]> $none [ <a 1> ! <a 1> ]");
    CHECK(world.problems.empty());
    CHECK(world.facts == Facts{"<first>", "<second 2>", "<b>"});
    CHECK(std::count(world.events.begin(), world.events.end(), "!<second 3>") == 1);
}

TEST_CASE("patterns of caveats: exact records and sequences, open dictionaries, every form") {
    World world;
    world.start("let ?d = {k: 1} let ?r = <r 1> let ?s = #{1}\n"
                "let ?c = <* $config [<or [<accept <a ?x _>> <accept [1 _]> <accept {k: _}> "
                "<accept <?w <b 2>>> <accept <v $d $r $s>> <accept <lit [1] {l: 2} #{3}>> "
                "<accept 5>]>]>\n"
                "$c [ <a 1 2> <a 1> <a 1 2 3> += [1 2] += [1] += [1 2 3] {k: 1 l: 2} {l: 2}\n"
                "     <b 2> <b 2 3> <v {k: 1 m: 2} <r 1> #{1}> <v {k: 1} <r 1 2> #{1}>\n"
                "     <lit [1] {l: 2 m: 3} #{3}> <lit [1 2] {l: 2} #{3}> += 5 += 6 ]");
    CHECK(world.problems.empty());
    CHECK(world.facts == Facts{"<a 1 2>", "[1, 2]", "{k: 1, l: 2}", "<b 2>",
                               "<v {k: 1, m: 2} <r 1> #{1}>", "<lit [1] {l: 2, m: 3} #{3}>", "5"});
}

TEST_CASE("templates of rewrites: captured variables are references, the others values") {
    World world;
    world.start("let ?e = env let ?l = label let ?k = key\n"
                "let ?c = <* $config [<rewrite <in ?x {k: ?y}> "
                "<$l $x $e [$y #{$e}] {$k: $x} <inner $y>>>]>\n"
                "$c <in 1 {k: 2}>");
    CHECK(world.problems.empty());
    CHECK(world.facts == Facts{"<label 1 env [2, #{env}] {key: 1} <inner 2>>"});
}

TEST_CASE("a captured variable hides the one outside") {
    World world;
    world.start("let ?x = outside let ?c = <* $config [<rewrite <in ?x> <out $x>>]> $c <in 1>");
    CHECK(world.facts == Facts{"<out 1>"});
}

TEST_CASE("narrowing counts for what it observes, too") {
    World world;
    world.start("<secret 1> <open 2>\n"
                "let ?c = <* $config [<or [<accept <Observe <group <rec open> _> _>>]>]>\n"
                "$c [ ? <open ?x> $config <saw $x> ? <secret ?x> $config <leak $x> ]");
    CHECK(world.has("<saw 2>"));
    CHECK_FALSE(world.has("<leak 1>"));
}

TEST_CASE("raw caveats have no meaning of their own in scripts") {
    World world;
    world.start("let ?c = <* $config [<reject <not <rec service-state {}>>>]> $c [ <a> <not 1> ]");
    CHECK(world.problems.empty());
    CHECK(world.facts == Facts{"<a>", "<not 1>"});
}

TEST_CASE("<* …> within values, within patterns, within what is observed") {
    World world;
    world.start("<holds <* $config [<accept <a _>>]>>\n"
                "? <holds <* $config [<accept <a _>>]>> <the-same>\n"
                "? <holds <* $config [<accept <b _>>]>> <another>\n"
                "? <holds ?c> $c [ <a 1> <b 1> ]");
    CHECK(world.problems.empty());
    CHECK(world.has("<the-same>"));
    CHECK(world.has("<a 1>"));
    CHECK_FALSE(world.has("<another>"));
    CHECK_FALSE(world.has("<b 1>"));
}
