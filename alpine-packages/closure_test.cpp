// Which packages a list of names needs; and the indexes it is found in.
#include "alpine-packages/closure.h"

#include "alpine-packages/test_package.h"
#include "init/base/catch.h"

using namespace muster::apk;

namespace {

struct Line {
    std::string name, version;
    std::vector<std::string> depends = {}, provides = {};
    std::optional<int> priority = {};
};

std::vector<IndexEntry> index(const std::vector<Line>& lines) {
    std::vector<IndexEntry> out;
    for (const Line& line : lines) {
        IndexEntry entry;
        entry.name = line.name;
        entry.version = line.version;
        entry.depends = line.depends;
        entry.provides = line.provides;
        entry.provider_priority = line.priority;
        out.push_back(entry);
    }
    return out;
}

// "a-1 b-2", or the error.
std::string solve(const std::vector<std::vector<IndexEntry>>& indexes,
                  const std::vector<std::string>& wanted) {
    auto chosen = find_closure(indexes, wanted);
    if (!chosen) return chosen.error().message;
    std::string out;
    for (const Chosen& one : *chosen)
        out += (out.empty() ? "" : " ") + one.entry->full_name();
    return out;
}

} // namespace

TEST_CASE("names, libraries, commands and paths lead to packages, circles included") {
    auto all = index({{"app", "1", {"so:libx.so.1", "cmd:tool", "/bin/sh", "app-data=1"}},
                      {"app-data", "1", {"app"}},
                      {"libx", "3", {}, {"so:libx.so.1=1.2"}},
                      {"tools", "4", {}, {"cmd:tool=4"}},
                      {"ash", "5", {}, {"/bin/sh"}, 100},
                      {"dash", "6", {}, {"/bin/sh"}, 60},
                      {"unused", "1"}});
    CHECK(solve({all}, {"app"}) == "app-1 app-data-1 ash-5 libx-3 tools-4");
    CHECK(solve({all}, {"dash", "app"}) == "app-1 app-data-1 dash-6 libx-3 tools-4");
}

TEST_CASE("the best candidate: version of the name, then priority, then the first repository") {
    auto first = index({{"a", "1"}, {"b", "2"}, {"so-one", "1", {}, {"so:x=1"}}});
    auto second = index({{"a", "2"}, {"b", "2"}, {"so-two", "1", {}, {"so:x=2"}}});
    CHECK(solve({first, second}, {"a", "so:x"}) == "a-2 so-two-1");
    CHECK(find_closure({first, second}, {"b"})->front().repository == 0);
    CHECK(solve({first, second}, {"a<2", "so:x<2"}) == "a-1 so-one-1");
}

TEST_CASE("what is missing is named, with who needs it") {
    auto all = index({{"app", "1", {"so:gone.so.2"}}, {"lib", "1"}, {"user", "1", {"lib>=2"}}});
    CHECK(solve({all}, {"nothing"}) ==
          "the package list: needs nothing, which no package has or provides");
    CHECK(solve({all}, {"app"}) == "app-1: needs so:gone.so.2, which no package has or provides");
    CHECK(solve({all}, {"user"}) ==
          "user-1: needs lib>=2, which no package satisfies; there is lib-1");
}

TEST_CASE("what cannot be decided here is an error that says so") {
    auto all = index({{"one", "1", {}, {"virtual"}},
                      {"two", "1", {}, {"virtual"}},
                      {"old", "1"},
                      {"old", "2"},
                      {"wants-old", "1", {"old<2"}},
                      {"tagged", "1", {"x@edge"}},
                      {"enemy", "1", {"!one"}}});
    CHECK(solve({all}, {"virtual"}) ==
          "the package list: needs virtual, which has to be chosen by name; providers are one two");
    CHECK(solve({all}, {"two", "virtual"}) == "two-1");
    CHECK(solve({all}, {"old", "wants-old"}).find("old-2 was chosen before") != std::string::npos);
    CHECK(solve({all}, {"tagged"}).find("repository tags") != std::string::npos);
    CHECK(solve({all}, {"enemy", "one"}) == "enemy-1: conflicts with one-1 (!one)");
    CHECK(solve({all}, {"enemy", "two"}) == "enemy-1 two-1");
}

TEST_CASE("a long chain of dependencies") {
    std::vector<Line> lines;
    for (int i = 0; i < 20000; ++i)
        lines.push_back({"p" + std::to_string(i), "1", {"p" + std::to_string(i + 1)}});
    lines.push_back({"p20000", "1"});
    CHECK(find_closure({index(lines)}, {"p0"})->size() == 20001);
}

TEST_CASE("broken index records give the line") {
    CHECK(parse_index("P:a\nV:1\nC:Q1x\n\nP:b\nV:1\nC:Q1y\n")->size() == 2);
    CHECK(parse_index("")->empty());
    for (const char* text : {"P:a\nwhat\n", "P:a\nV:1\n\n", "P:a/b\nV:1\nC:Q1\n\n",
                             "P:a\nV:1\nC:Q1\nS:big\n\n", "P:..\nV:1\nC:Q1\n\n"}) {
        auto entries = parse_index(text);
        REQUIRE_FALSE(entries.ok());
        CHECK(entries.error().message.find("APKINDEX line ") == 0);
    }
}

TEST_CASE("the complete real indexes are read, and packages with many needs found") {
    if (test::real_packages().empty()) return muster::test::skip(test::no_real_packages);
    std::string folder = test::real_packages() + "/full-index/";
    KeyRing keys;
    REQUIRE(keys.trust_folder(test::real_packages() + "/keys").ok());
    auto main_file = read_file(folder + "main/x86_64/APKINDEX.tar.gz");
    auto community_file = read_file(folder + "community/x86_64/APKINDEX.tar.gz");
    REQUIRE((main_file.ok() && community_file.ok()));
    auto main_index = read_index(*main_file, &keys);
    auto community = read_index(*community_file, &keys);
    REQUIRE((main_index.ok() && community.ok()));
    CHECK(main_index->size() == 5443);
    CHECK(community->size() == 17587);
    std::vector<std::vector<IndexEntry>> both = {*main_index, *community};
    auto chosen = find_closure(both, {"linux-virt", "nginx", "firefox"});
    REQUIRE(chosen.ok());
    CHECK(chosen->size() > 100);

    std::string changed = *main_file;
    changed[changed.size() / 2] = static_cast<char>(changed[changed.size() / 2] ^ 1);
    CHECK_FALSE(read_index(changed, &keys).ok());
    auto unknown = read_index(*main_file, std::make_unique<KeyRing>().get());
    REQUIRE_FALSE(unknown.ok());
    CHECK(unknown.error().message.find("not trusted") != std::string::npos);
}
