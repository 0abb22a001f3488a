// Which packages a list of names needs, on small repositories that say what they are about.
#include "alpine-packages/solver.h"

#include "alpine-packages/test_package.h"
#include "init/base/catch.h"

using namespace muster::apk;

namespace {

// A repository: a package a line, "name version  D:... p:... i:... k:...", "," between words.
std::string index_of(const std::string& lines) {
    std::string out, line, word;
    std::vector<std::string> words;
    for (char c : lines + "\n") {
        if (c != ' ' && c != '\n') {
            word += c == ',' ? ' ' : c;
            continue;
        }
        if (!word.empty()) words.push_back(word);
        word.clear();
        if (c != '\n' || words.empty()) continue;
        out += "C:Q1" + words[0] + words[1] + "\nP:" + words[0] + "\nV:" + words[1] + "\n";
        for (std::size_t i = 2; i < words.size(); ++i)
            out += words[i] + "\n";
        out += "\n";
        words.clear();
    }
    return out;
}

Catalog catalog_of(const std::vector<std::string>& repositories) {
    std::vector<std::string> texts, where;
    for (const std::string& repository : repositories) {
        texts.push_back(index_of(repository));
        where.push_back("repository " + std::to_string(where.size()));
    }
    auto catalog = Catalog::build(texts, where);
    INFO((catalog.ok() ? "" : catalog.error().message));
    REQUIRE(catalog.ok());
    return std::move(*catalog);
}

// "a-1 b-2" in the order of installation, or the error.
std::string solve_with(const std::vector<std::string>& repositories,
                       const std::vector<std::string>& wanted) {
    Catalog catalog = catalog_of(repositories);
    auto found = solve(catalog, wanted);
    if (!found) return found.error().message;
    std::string out;
    for (PackageId package : *found)
        out += (out.empty() ? "" : " ") + catalog.full_name(package);
    return out;
}

} // namespace

TEST_CASE("solver: names, libraries, commands and paths lead to packages, circles included") {
    std::string all = "app 1 D:so:libx.so.1,cmd:tool,/bin/sh,app-data=1\n"
                      "app-data 1 D:app\n"
                      "libx 3 p:so:libx.so.1=1.2\n"
                      "tools 4 p:cmd:tool=4\n"
                      "ash 5 p:/bin/sh k:100\n"
                      "dash 6 p:/bin/sh k:60\n"
                      "unused 1";
    CHECK(solve_with({all}, {"app"}) == "libx-3 tools-4 ash-5 app-data-1 app-1");
    CHECK(solve_with({all}, {"dash", "app"}) == "dash-6 libx-3 tools-4 app-data-1 app-1");
}

TEST_CASE("solver: version of the name, then priority, then the first repository") {
    std::string first = "a 1\nb 2\nso-one 1 p:so:x=1\nlow 1 p:v=3 k:1";
    std::string second = "a 2\nb 2\nso-two 1 p:so:x=2\nhigh 1 p:v=3 k:2\nloose 9 p:v k:3";
    CHECK(solve_with({first, second}, {"a", "so:x"}) == "a-2 so-two-1");
    CHECK(solve_with({first, second}, {"a<2", "so:x<2"}) == "a-1 so-one-1");
    CHECK(solve_with({first, second}, {"v=3"}) == "high-1");
    // without a version it is as good as any
    CHECK(solve_with({first, second}, {"v"}) == "loose-9");
    Catalog catalog = catalog_of({first, second});
    auto found = solve(catalog, {"b"});
    REQUIRE(found.ok());
    CHECK(catalog.package(found->front()).repositories == 3);
}

TEST_CASE("solver: what was chosen for others decides, whatever comes first") {
    std::string all = "old 1\nold 2\nwants-old 1 D:old<2\nuser 1 D:lib\n"
                      "lib 1\nlib 2 D:gone\n"
                      "one 1 p:tool=1\ntwo 1 p:tool=2\nwants-one 1 D:one";
    CHECK(solve_with({all}, {"old", "wants-old"}) == "old-1 wants-old-1");
    CHECK(solve_with({all}, {"wants-old", "old"}) == "old-1 wants-old-1");
    // the newer one cannot be had
    CHECK(solve_with({all}, {"user"}) == "lib-1 user-1");
    // the one that has to be there offers it too
    CHECK(solve_with({all}, {"tool", "wants-one"}) == "one-1 wants-one-1");
}

TEST_CASE("solver: conflicts, by name and by what is offered") {
    std::string all = "one 1 p:virtual\ntwo 1 p:virtual\nenemy 1 D:!one\nself 1 D:!tool p:tool=1\n"
                      "other 1 p:tool=2\nfar 1 D:any\nany 2 D:one\nany 1 D:two";
    CHECK(solve_with({all}, {"enemy", "two"}) == "enemy-1 two-1");
    CHECK(solve_with({all}, {"enemy", "far"}) == "enemy-1 two-1 any-1 far-1");
    CHECK(solve_with({all}, {"self"}) == "self-1");
    CHECK(solve_with({all}, {"!one", "two", "virtual"}) == "two-1");
    CHECK(solve_with({all}, {"one", "two"}) == "one-1 two-1");
    CHECK(solve_with({all}, {"enemy", "one"}) ==
          "one is wanted\n  one-1 is not it: enemy-1 conflicts with one");
    CHECK(solve_with({all}, {"self", "other"}) ==
          "other is wanted\n"
          "  other-1 is not it: self-1 is chosen and has the name tool");
}

TEST_CASE("solver: install_if joins when all it lists is there") {
    std::string all = "docs 1\napp 1\napp-doc 1 i:docs,app=1 D:reader\nreader 1\n"
                      "reader-doc 1 i:docs,reader=1\nother-doc 1 i:docs,app=2";
    CHECK(solve_with({all}, {"app"}) == "app-1");
    CHECK(solve_with({all}, {"docs"}) == "docs-1");
    CHECK(solve_with({all}, {"app", "docs"}) == "app-1 docs-1 reader-1 reader-doc-1 app-doc-1");
    CHECK(solve_with({all}, {"app", "docs", "!app-doc"}) == "app-1 docs-1");
}

TEST_CASE("solver: what cannot be had is explained, with who needs it") {
    std::string all = "app 1 D:so:gone.so.2\nlib 1\nuser 1 D:lib>=2\nfar 1 D:near\nnear 1 D:user\n"
                      "one 1 p:virtual\ntwo 1 p:virtual\nodd 1 K:what\nword 1 D:x@";
    CHECK(solve_with({all}, {"nothing"}) ==
          "nothing is wanted\n  no package has or provides nothing");
    CHECK(solve_with({all}, {"app"}) ==
          "app is wanted\n"
          "  app-1 is not it: it needs so:gone.so.2, which no package has or provides");
    CHECK(solve_with({all}, {"far"}) ==
          "far is wanted\n"
          "  far-1 is not it: it needs near, which cannot be had\n"
          "  near-1 is not it: it needs user, which cannot be had\n"
          "  user-1 is not it: it needs lib>=2, which no package satisfies; there is lib-1");
    CHECK(solve_with({all}, {"lib=2"}) == "lib=2 is wanted\n  lib-1 is not it: lib=2 is wanted");
    CHECK(solve_with({all}, {"virtual"}) ==
          "virtual is wanted\n"
          "  virtual has to be chosen by name; providers are one-1 two-1");
    CHECK(solve_with({all}, {"two", "virtual"}) == "two-1");
    for (const char* name : {"odd", "word"})
        CHECK(solve_with({all}, {name}).find("not understood") != std::string::npos);
    CHECK(solve_with({all}, {"lib@edge"}) ==
          "lib@edge is wanted\n  no repository has the tag edge");
    CHECK(solve_with({all}, {"a=>=1"}).find("operator") != std::string::npos);
}

TEST_CASE("solver: a long chain of dependencies") {
    std::string lines;
    for (int i = 0; i < 20000; ++i)
        lines += "p" + std::to_string(i) + " 1 D:p" + std::to_string(i + 1) + "\n";
    lines += "p20000 1\n";
    Catalog catalog = catalog_of({lines});
    auto found = solve(catalog, {"p0"});
    REQUIRE(found.ok());
    CHECK(found->size() == 20001);
    CHECK(catalog.full_name(found->front()) == "p20000-1");
}
