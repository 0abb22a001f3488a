#include "services/muster/sturdy.h"

#include <fcntl.h>
#include <unistd.h>

#include <vector>

#include "init/base/catch.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::command;

namespace {

std::string said(std::vector<std::string> words) {
    std::vector<char*> argv;
    for (std::string& word : words)
        argv.push_back(word.data());
    argv.push_back(nullptr);
    Result<std::string> result = sturdy_command(static_cast<int>(words.size()), argv.data());
    return result ? *result : "error: " + result.error().message;
}

std::string without_line_feed(std::string text) {
    if (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
}

// A file that goes with the test.
struct File {
    std::string path = "/tmp/muster-sturdy-test-XXXXXX";
    explicit File(std::string_view content) {
        int fd = mkstemp(path.data());
        REQUIRE(write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
        close(fd);
    }
    ~File() { unlink(path.c_str()); }
};

const std::string labelled = "<rewrite <bind <_>> <rec labelled [<lit \"alice\"> <ref 0>]>>";
const std::string root = "<ref {oid: a-service, sig: #x\"2534c641e60282884c5d6ff64b65c7f2\"}>\n";

} // namespace

TEST_CASE("muster mint: the key as a phrase, in hexadecimal, from a file") {
    CHECK(said({"mint", "--oid", "a-service", "--phrase", "hello"}) == root);
    CHECK(said({"mint", "--oid", "a-service", "--key", "68 65 6c 6C 6f"}) == root);
    File phrase("hello\n");
    CHECK(said({"mint", "--oid", "a-service", "--phrase-file", phrase.path}) == root);
    File key("68656c\n6c6f\n");
    CHECK(said({"mint", "--key-file", key.path, "--oid", "a-service"}) == root);
    CHECK(said({"mint", "--oid", "\"syndicate\"", "--phrase", ""}) ==
          "<ref {oid: \"syndicate\", sig: #x\"69ca300c1dbfa08fba692102dd82311a\"}>\n");
}

TEST_CASE("muster attenuate: the same as minting with the caveat") {
    std::string minted =
        said({"mint", "--oid", "a-service", "--phrase", "hello", "--caveat", labelled});
    CHECK(minted.find("sig: #x\"0979fbfab0283b75eb") != std::string::npos);
    CHECK(said({"attenuate", "--caveat", labelled, without_line_feed(root)}) == minted);
    // Two, in order, at once and one after the other.
    std::string other = "<reject String>";
    CHECK(said({"attenuate", "--caveat", other, without_line_feed(minted)}) ==
          said({"attenuate", "--caveat", labelled, "--caveat", other, without_line_feed(root)}));
}

TEST_CASE("muster mint and attenuate say what is wrong") {
    auto problem = [](std::vector<std::string> words) { return said(std::move(words)); };
    CHECK(problem({"mint", "--phrase", "x"}) == "error: mint needs --oid");
    CHECK(problem({"mint", "--oid", "x"}).find("error: mint needs a key") == 0);
    CHECK(problem({"mint", "--oid", "x", "--key", "6"}) ==
          "error: the key has an odd number of digits");
    CHECK(problem({"mint", "--oid", "x", "--key", "secret"}) ==
          "error: the key is not hexadecimal");
    CHECK(problem({"mint", "--oid", "x", "--key", "66", "--phrase", "y"}) ==
          "error: one key is enough");
    CHECK(problem({"mint", "--oid", "<x", "--phrase", "y"}).find("error: oid <x") == 0);
    CHECK(problem({"mint", "--oid"}) == "error: --oid needs an argument");
    CHECK(problem({"mint", "--bogus"}) == "error: unknown option --bogus");
    CHECK(problem({"mint", "--oid", "x", "--phrase", "y", "z"}) == "error: what is z?");
    CHECK(problem({"mint", "--oid", "x", "--key-file", "/nonexistent"}).find("error: /nonexist") ==
          0);
    CHECK(problem({"attenuate"}) == "error: attenuate takes one sturdyref");
    CHECK(problem({"attenuate", "--phrase", "x", "y"}).find("error: unknown option") == 0);
    CHECK(problem({"attenuate", "<reff>"}).find("error: not a sturdyref") == 0);
    CHECK(problem({"attenuate", "--caveat", "<rejct String>", without_line_feed(root)})
              .find("would reject everything") != std::string::npos);
    CHECK(problem({"attenuate", "--caveat", "<rewrite <_> <ref 0>>", without_line_feed(root)})
              .find("UnboundRef") != std::string::npos);
    CHECK(said({"mint", "--help"}) == mint_usage);
}

TEST_CASE("muster resolve: sturdyrefs and routes, and where to go") {
    auto route = [](const std::string& word, const std::vector<std::string>& at) {
        Result<preserves::Value> value = parse_route(word, at);
        return value ? preserves::to_text(*value) : "error: " + value.error().message;
    };
    CHECK(route("<ref {}>", {}) == "<route [] <ref {}>>");
    CHECK(route("<ref {}>", {"/run/x", "localhost:9001", "[::1]:9", "<ws \"u\">"}) ==
          "<route [<unix \"/run/x\">, <tcp \"localhost\" 9001>, <tcp \"::1\" 9>, <ws \"u\">] <ref "
          "{}>>");
    CHECK(route("<route [<unix \"/a\">] <ref {}> <other 1>>", {}) ==
          "<route [<unix \"/a\">] <ref {}> <other 1>>");
    CHECK(route("<route [<unix \"/a\">]>", {"/b"}) == "<route [<unix \"/b\">]>");
    CHECK(route("ref", {}).find("error: expected <ref") == 0);
    CHECK(route("<route x>", {}).find("error: expected <route") == 0);
    CHECK(route("<ref {}>", {"localhost:ssh"}).find("error: --at localhost:ssh") == 0);
}
