#include "init/dataspace/caveat.h"

#include "init/base/catch.h"
#include "init/dataspace/actor.h"
#include "init/dataspace/engine.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::dataspace;

namespace {

Value read(std::string_view text) {
    Result<Value> value = preserves::parse_text(text);
    INFO(text);
    REQUIRE(value.ok());
    return *value;
}

// What the caveats make of the value, as text; "rejected" if nothing.
std::string through(std::string_view caveats, const Value& value) {
    Result<Ref<Caveats>> parsed = Caveats::parse(read(caveats));
    if (!parsed) return "error: " + parsed.error().message;
    std::optional<Value> result = (*parsed)->apply(value);
    return result ? preserves::to_text(*result) : "rejected";
}

std::string through(std::string_view caveats, std::string_view value) {
    return through(caveats, read(value));
}

} // namespace

TEST_CASE("no caveats change nothing") { CHECK(through("[]", "<a 1>") == "<a 1>"); }

TEST_CASE("a rewrite gives its template, or rejects what does not match") {
    const char* wrap = R"([<rewrite <bind <_>> <rec labelled [<lit "alice"> <ref 0>]>>])";
    CHECK(through(wrap, "<Says hello>") == R"(<labelled "alice" <Says hello>>)");
    const char* swap = "[<rewrite <arr [<bind <_>> <bind <_>>]> <arr [<ref 1> <ref 0> <ref 1>]>>]";
    CHECK(through(swap, "[1 2]") == "[2, 1, 2]");
    CHECK(through(swap, "[1 2 3]") == "rejected");
    CHECK(through(swap, "[1]") == "rejected");
    CHECK(through(swap, "<x 1 2>") == "rejected");
    CHECK(through("[<rewrite <_> <dict {a: <lit 1> b: <arr []>}>>]", "x") == "{a: 1, b: []}");
}

TEST_CASE("caveats apply from the newest to the oldest") {
    const char* two = "[<rewrite <bind <_>> <rec old [<ref 0>]>>"
                      " <rewrite <bind <_>> <rec new [<ref 0>]>>]";
    CHECK(through(two, "x") == "<old <new x>>");
}

TEST_CASE("reject stops what matches, and passes the rest unchanged") {
    const char* rule = "[<reject <rec secret [<_>]>>]";
    CHECK(through(rule, "<secret 1>") == "rejected");
    CHECK(through(rule, "<secret 1 2>") == "<secret 1 2>");
    CHECK(through("[<reject <not <rec open [<_>]>>>]", "<open 1>") == "<open 1>");
    CHECK(through("[<reject <not <rec open [<_>]>>>]", "<shut 1>") == "rejected");
}

TEST_CASE("or takes the first alternative that matches") {
    const char* rule = R"([<or [
        <rewrite <rec Present [<_>]> <rec Present [<lit "alice">]>>
        <rewrite <rec Says [<_> <bind String>]> <rec Says [<lit "alice"> <ref 0>]>>
        <rewrite <bind <rec Says [<_> <_>]>> <ref 0>>]>])";
    CHECK(through(rule, R"(<Present "bob">)") == R"(<Present "alice">)");
    CHECK(through(rule, R"(<Says "bob" "hi">)") == R"(<Says "alice" "hi">)");
    CHECK(through(rule, R"(<Says "bob" hi>)") == R"(<Says "bob" hi>)");
    CHECK(through(rule, "<Shouts 1>") == "rejected");
    CHECK(through("[<or []>]", "1") == "rejected");
}

TEST_CASE("classes of atoms") {
    const std::pair<const char*, const char*> classes[] = {
        {"Boolean", "#t"},   {"Double", "1.5"},        {"SignedInteger", "-7"},
        {"String", "\"s\""}, {"ByteString", "#\"b\""}, {"Symbol", "sym"}};
    for (auto [name, own] : classes) {
        for (auto [other, value] : classes) {
            std::string rule = std::string("[<reject ") + name + ">]";
            INFO(rule << " " << value);
            CHECK((through(rule, value) == "rejected") == (std::string_view(name) == other));
        }
        CHECK(through(std::string("[<reject ") + name + ">]", "[]") == "[]");
    }
}

TEST_CASE("and, lit, dict") {
    CHECK(through("[<reject <and [<rec a [<_>]> <not <rec a [<lit 2>]>>]>>]", "<a 1>") ==
          "rejected");
    CHECK(through("[<reject <and [<rec a [<_>]> <not <rec a [<lit 2>]>>]>>]", "<a 2>") == "<a 2>");
    CHECK(through("[<reject <lit {a: #{1 2}}>>]", "{a: #{2 1}}") == "rejected");
    const char* open = "[<rewrite <dict {b: <bind <_>> a: <bind <_>>}> <arr [<ref 0> <ref 1>]>>]";
    CHECK(through(open, "{a: 1 b: 2 c: 3}") == "[1, 2]");
    CHECK(through(open, "{a: 1 c: 3}") == "rejected");
    CHECK(through(open, "{}") == "rejected");
}

TEST_CASE("binds are numbered from the outside in, and by key in Preserves order") {
    CHECK(through("[<rewrite <bind <rec a [<bind <_>>]>> <arr [<ref 0> <ref 1>]>>]", "<a 5>") ==
          "[<a 5>, 5]");
    // By bytes, "b" would come before "aa".
    CHECK(through("[<rewrite <dict {b: <bind <_>> aa: <bind <_>>}> <arr [<ref 0> <ref 1>]>>]",
                  "{aa: 1 b: 2}") == "[1, 2]");
}

TEST_CASE("unknown caveats reject everything") {
    for (const char* rule :
         {"[<who knows>]", "[7]", "[<rewrite <_>>]", "[<rewrite <strange> <lit 1>>]",
          "[<rewrite <_> <strange>>]", "[<or 1>]", "[<or [<reject <_>>]>]", "[<reject Integer>]",
          "[<rewrite <arr 1> <lit 1>>]", "[<rewrite <_> <ref x>>]", "[<reject <dict []>>]"}) {
        INFO(rule);
        CHECK(through(rule, "1") == "rejected");
    }
    CHECK(through("[<reject <lit 2>> <who knows>]", "1") == "rejected");
}

TEST_CASE("more fields than the schema has are ignored") {
    CHECK(through("[<rewrite <bind <_> 1> <ref 0 2> 3>]", "x") == "x");
}

TEST_CASE("unsound caveats are refused") {
    CHECK(through("[<reject <_>> <rewrite <_> <ref 0>>]", "1")
              .starts_with("error: caveat 2: UnboundRef"));
    CHECK(through("[<rewrite <bind <_>> <ref -1>>]", "1").starts_with("error: caveat 1: Unbound"));
    CHECK(through("[<rewrite <bind <_>> <ref 99999999999999999999>>]", "1")
              .starts_with("error: caveat 1: Unbound"));
    CHECK(through("[<reject <not <bind <_>>>>]", "1")
              .starts_with("error: caveat 1: BindingUnderNegation"));
    CHECK(through("[<rewrite <not <bind <_>>> <ref 0>>]", "1")
              .starts_with("error: caveat 1: BindingUnderNegation"));
    CHECK(through("[<rewrite <bind <_>> <attenuate <ref 0> [<rewrite <_> <ref 0>>]>>]", "1")
              .starts_with("error: caveat 1: UnboundRef"));
    CHECK(through("<or []>", "1").starts_with("error: "));
    std::string many = "[";
    for (int i = 0; i < 65; ++i)
        many += "<reject <lit 1>> ";
    CHECK(through(many + "]", "1").starts_with("error: more than 64"));
}

TEST_CASE("what a rewrite may produce is bounded before it is built") {
    // Ten times itself, seven times over: 10 MB from one byte.
    std::string rule = "[";
    for (int i = 0; i < 7; ++i) {
        rule += "<rewrite <bind <_>> <arr [";
        for (int j = 0; j < 10; ++j)
            rule += "<ref 0> ";
        rule += "]>>";
    }
    CHECK(through(rule + "]", "1") == "rejected");
    // Deeper than a packet can carry: 197 levels.
    std::string deep = "[<rewrite <bind <_>> <arr [<ref 0>]>>";
    for (int i = 0; i < 49; ++i)
        deep += "<rewrite <bind <_>> <arr [<arr [<arr [<arr [<ref 0>]>]>]>]>>";
    CHECK(through(deep + "]", "1").starts_with("[[[["));
    for (int i = 0; i < 1; ++i)
        deep += "<rewrite <bind <_>> <arr [<ref 0>]>>";
    CHECK(through(deep + "]", "1") == "rejected");
}

TEST_CASE("a large value may be wrapped, not multiplied") {
    Value large = preserves::string(std::string(4 * 1024 * 1024, 'a'));
    auto passes = [&](std::string_view rules) { return through(rules, large) != "rejected"; };
    std::string wrap = "<rewrite <bind <_>> <rec labelled [<lit \"alice\"> <ref 0>]>>";
    CHECK(passes("[" + wrap + wrap + wrap + "]"));
    CHECK_FALSE(passes("[<rewrite <bind <_>> <arr [<ref 0> <ref 0>]>>]"));
}

TEST_CASE("caveats have a limit of size and of nesting, alone and together") {
    std::string big = "[<reject <lit \"" + std::string(10'000, 'a') + "\">>]";
    Result<Ref<Caveats>> one = Caveats::parse(read(big));
    REQUIRE(one);
    Result<Ref<Caveats>> two = Caveats::join(*one, read(big));
    REQUIRE_FALSE(two);
    CHECK(two.error().message == "more than 16384 bytes of caveats on one capability");
    std::string huge = "[<reject <lit \"" + std::string(20'000, 'a') + "\">>]";
    CHECK(through(huge, "1") == "error: more than 16384 bytes of caveats on one capability");
    auto nested = [](int depth) {
        std::string text;
        for (int i = 0; i < depth; ++i)
            text += "<not ";
        return "[<reject " + text + "<_>" + std::string(static_cast<size_t>(depth), '>') + ">]";
    };
    CHECK(through(nested(30), "1") == "rejected");
    CHECK(through(nested(31), "1") == "1");
    CHECK(through(nested(32), "1").find("nest more than 32 deep") != std::string::npos);
}

TEST_CASE("a value is not looked at for ever") {
    // A thousand looks at a value of a hundred thousand items; what is given up is rejected, also
    // under <not …>.
    std::string items;
    for (int i = 0; i < 100'000; ++i)
        items += "[1] ";
    Value wide = read("[" + items + "]");
    std::string looks;
    for (int i = 0; i < 1'000; ++i)
        looks += "<arr []> ";
    CHECK(through("[<reject <and [" + looks + "]>>]", wide).size() > 100'000);
    std::string nots;
    for (int i = 0; i < 1'000; ++i)
        nots += "<not <arr []>> ";
    CHECK(through("[<reject <not <and [" + nots + "]>>>]", wide) == "rejected");
    CHECK(through("[<rewrite <and [" + nots + "]> <lit 1>>]", wide) == "rejected");
}

TEST_CASE("unknown counts more than unsound") {
    CHECK(through("[<rewrite <_> <arr [<ref 0> <strange>]>>]", "1") == "rejected");
    CHECK(through("[<or [<rewrite <_> <ref 0>> <strange>]>]", "1") == "rejected");
}

TEST_CASE("join appends") {
    Result<Ref<Caveats>> first =
        Caveats::join({}, read("[<rewrite <bind <_>> <rec a [<ref 0>]>>]"));
    REQUIRE(first);
    Result<Ref<Caveats>> both =
        Caveats::join(*first, read("[<rewrite <bind <_>> <rec b [<ref 0>]>>]"));
    REQUIRE(both);
    CHECK(preserves::to_text(*(*both)->apply(preserves::integer(1))) == "<a <b 1>>");
    CHECK((*both)->wire().view().count() == 2);
    Result<Ref<Caveats>> unknown = Caveats::join(*both, read("[x]"));
    REQUIRE(unknown);
    CHECK_FALSE((*unknown)->apply(preserves::integer(1)));
    CHECK_FALSE(Caveats::join(*both, read("[<rewrite <_> <ref 0>>]")));
}

TEST_CASE("attenuate narrows a capability on its way") {
    Engine engine;
    CapRef cap;
    engine.spawn("holder", [&](Turn& turn) {
        cap = turn.make_cap(make_ref<Entity>());
        turn.on_stop([&](Turn&) { cap = {}; });
        turn.fail(Error{"done"});
    });
    engine.set_on_failure([](const Actor&, const Error&) {});
    engine.run();
    REQUIRE(cap);
    const char* rule = "[<rewrite <rec give [<bind Embedded>]>"
                       " <rec give [<attenuate <ref 0> [<reject <lit no>>]>]>>]";
    Result<Ref<Caveats>> caveats = Caveats::parse(read(rule));
    REQUIRE(caveats);
    std::optional<Value> result = (*caveats)->apply(preserves::record("give", {embed(cap)}));
    REQUIRE(result);
    CapRef given = cap_of(result->view().at(0));
    REQUIRE(given);
    CHECK(given.get() != cap.get());
    CHECK(&given->entity() == &cap->entity());
    CHECK(preserves::to_text(given->caveats()->wire()) == "[<reject <lit no>>]");
    // Not a capability: the whole rewrite fails.
    CHECK(through("[<rewrite <bind <_>> <attenuate <ref 0> []>>]", "1") == "rejected");
}
