#include "init/protocol/sturdyref.h"

#include <random>
#include <string>

#include "init/base/catch.h"
#include "init/dataspace/caveat.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::protocol;

namespace {

Value value_of(std::string_view text) {
    Result<Value> value = preserves::parse_text(text);
    REQUIRE(value);
    return *value;
}

preserves::Bytes bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string hex(preserves::Bytes bytes) {
    std::string text;
    for (uint8_t byte : bytes) {
        text += "0123456789abcdef"[byte >> 4];
        text += "0123456789abcdef"[byte & 15];
    }
    return text;
}

Value minted(std::string_view oid, std::string_view key) {
    Result<Value> made = mint(value_of(oid), bytes_of(key));
    REQUIRE(made);
    return *made;
}

Value narrowed(const Value& sturdyref, std::string_view caveats) {
    Result<Value> made = attenuate(sturdyref, value_of(caveats));
    INFO(caveats);
    REQUIRE(made);
    return *made;
}

bool valid(View sturdyref, std::string_view key) {
    auto parameters = sturdy_parameters(sturdyref.at(0));
    return parameters && is_signed(*parameters, bytes_of(key));
}

std::string labelled(std::string_view who) {
    return "<rewrite <bind <_>> <rec labelled [<lit \"" + std::string(who) + "\"> <ref 0>]>>";
}

std::string chat_member(std::string_view who) {
    std::string name = "<lit \"" + std::string(who) + "\">";
    return "<or [<rewrite <rec Present [<_>]> <rec Present [" + name +
           "]>> <rewrite <rec Says [<_> <bind String>]> <rec Says [" + name +
           " <ref 0>]>> <rewrite <bind <rec Observe [<rec rec [<lit Present> <_>]> <_>]>> <ref 0>> "
           "<rewrite <bind <rec Observe [<rec rec [<lit Says> <_>]> <_>]>> <ref 0>>]>";
}

} // namespace

TEST_CASE("sturdyref: the reference for \"syndicate\", byte for byte") {
    Value sturdyref = minted("\"syndicate\"", "");
    CHECK(hex(sturdyref.bytes()) == "b4b303726566b7b3036f6964b10973796e646963617465b303736967b2106"
                                    "9ca300c1dbfa08fba692102dd82311a8484");
    CHECK(sturdyref.bytes().size() == 48);
    // A short key is filled up with zeros.
    CHECK(minted("\"syndicate\"", std::string(16, '\0')) == sturdyref);
    CHECK(valid(sturdyref, ""));
    CHECK_FALSE(valid(sturdyref, "x"));
}

TEST_CASE("sturdyref: minting, and attenuating what was minted, give the known references") {
    Value root = minted("a-service", "hello");
    CHECK(root == value_of("<ref {oid: a-service, sig: #[JTTGQeYCgohMXW/2S2XH8g]}>"));
    auto [caveat, signature] = GENERATE(table<std::string, std::string>({
        {labelled("alice"), "CXn7+rAoO3Xr6Y6Laap3OA"},
        {labelled("bob"), "/75BbF77LOiqNcvpzNHf0g"},
        {chat_member("alice"), "s918Jk6As8AWJ9rtozOTlg"},
        {chat_member("bob"), "QBbV4LrS0i3BG6OyCPJl+A"},
    }));
    Value made = narrowed(root, "[" + caveat + "]");
    CHECK(made ==
          value_of("<ref {oid: a-service sig: #[" + signature + "] caveats: [" + caveat + "]}>"));
    CHECK(valid(made, "hello"));
    CHECK_FALSE(valid(made, "hell"));
}

TEST_CASE("sturdyref: caveats are signed in order, each once, and none comes off again") {
    Value root = minted("<thing {a: 1}>", "key");
    Value one_by_one = narrowed(narrowed(root, "[<reject <lit 1>>]"), "[<reject String>]");
    Value at_once = narrowed(root, "[<reject <lit 1>> <reject String>]");
    CHECK(one_by_one == at_once);
    CHECK(narrowed(root, "[]") == root);
    std::string signature = preserves::to_text(at_once.view().at(0).get("sig"));
    auto forged = [&](std::string_view oid, std::string_view caveats, std::string_view sig) {
        return value_of("<ref {oid: " + std::string(oid) + " sig: " + std::string(sig) + " " +
                        std::string(caveats) + "}>");
    };
    std::string both = "caveats: [<reject <lit 1>> <reject String>]";
    CHECK(valid(forged("<thing {a: 1}>", both, signature), "key"));
    CHECK_FALSE(valid(forged("<thing {a: 2}>", both, signature), "key"));
    for (std::string_view other :
         {"", "caveats: []", "caveats: [<reject <lit 1>>]", "caveats: [<reject String>]",
          "caveats: [<reject String> <reject <lit 1>>]", "caveats: #f", "caveats: {}",
          "caveats: #{<reject <lit 1>> <reject String>}",
          "caveats: [<reject <lit 1>> <reject String> <reject String>]"})
        CHECK_FALSE(valid(forged("<thing {a: 1}>", other, signature), "key"));
    for (std::string_view sig : {"#\"\"", "#x\"00\"", "#x\"00000000000000000000000000000000\""})
        CHECK_FALSE(valid(forged("<thing {a: 1}>", both, sig), "key"));
    // Longer ones do not count by their beginning.
    std::string longer = hex(*at_once.view().at(0).get("sig").as_bytes()) + "00";
    CHECK_FALSE(valid(forged("<thing {a: 1}>", both, "#x\"" + longer + "\""), "key"));
}

TEST_CASE("sturdyref: any single bit of a reference that is flipped makes it worthless") {
    Value good = narrowed(minted("[1 \"x\"]", "k"), "[<reject <rec secret []>>]");
    std::vector<uint8_t> bytes(good.bytes().begin(), good.bytes().end());
    size_t read = 0;
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        std::vector<uint8_t> broken = bytes;
        broken[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
        preserves::Scan scan = preserves::scan(broken);
        if (scan.state != preserves::Scan::State::complete) continue;
        Result<Value> value = preserves::decode_packed(broken, nullptr);
        if (!value || *value == good) continue;
        ++read;
        INFO(preserves::to_text(*value));
        // Another label than `ref` is the gatekeeper's business.
        if (value->view().is_record("ref", 1)) CHECK_FALSE(valid(*value, "k"));
    }
    CHECK(read > 100);
}

TEST_CASE("sturdyref: what cannot be attenuated is said") {
    Value root = minted("x", "");
    auto problem = [](const Value& sturdyref, std::string_view caveats) {
        Result<Value> made = attenuate(sturdyref, value_of(caveats));
        return made ? "" : made.error().message;
    };
    CHECK(problem(root, "[<rewrite <_> <ref 0>>]").find("UnboundRef") != std::string::npos);
    CHECK(problem(root, "[<reject <not <bind <_>>>>]").find("BindingUnderNegation") !=
          std::string::npos);
    CHECK(problem(root, "x") == "caveats are not a sequence");
    std::string many = "[";
    for (int i = 0; i < 65; ++i)
        many += "<reject String>";
    CHECK(problem(root, many + "]").find("more than 64") != std::string::npos);
    for (std::string_view junk :
         {"x", "<ref>", "<ref {}>", "<ref {oid: 1}>", "<ref {oid: 1 sig: \"text\"}>",
          "<ref {oid: 1 sig: #\"short\"}>", "<ref [1 2]>",
          "<ref {oid: 1 sig: #x\"00000000000000000000000000000000\" caveats: 1}>"})
        CHECK(problem(value_of(junk), "[]").find("not a sturdyref") == 0);
}
