// The same choice as the real apk for 200 sets; solver_choices says how they came about, and
// solver_choices_test.sh asks apk itself.
#include <fstream>

#include "alpine-packages/solver.h"
#include "alpine-packages/test_package.h"
#include "init/base/catch.h"

using namespace muster::apk;

TEST_CASE("solver: 200 sets out of the complete indexes, and what apk chose") {
    if (test::real_packages().empty()) return muster::test::skip(test::no_real_packages);
    std::vector<std::string> texts;
    for (const char* name : {"main", "community"}) {
        auto file =
            read_file(test::real_packages() + "/full-index/" + name + "/x86_64/APKINDEX.tar.gz");
        REQUIRE(file.ok());
        auto text = index_text(*file, nullptr);
        REQUIRE(text.ok());
        texts.push_back(*text);
    }
    auto catalog = Catalog::build(texts, {"main", "community"});
    REQUIRE(catalog.ok());
    std::ifstream sets("alpine-packages/solver_choices.txt");
    int count = 0, impossible = 0;
    for (std::string line; std::getline(sets, line); ++count) {
        INFO(line);
        std::size_t tab = line.find('\t');
        REQUIRE(tab != std::string::npos);
        std::vector<std::string> wanted;
        each_word(std::string_view(line).substr(0, tab),
                  [&](std::string_view word) { wanted.emplace_back(word); });
        auto found = solve(*catalog, wanted);
        std::string expected = line.substr(tab + 1);
        if (expected == "-") {
            ++impossible;
            CHECK_FALSE(found.ok());
            continue;
        }
        INFO((found.ok() ? "" : found.error().message));
        REQUIRE(found.ok());
        std::vector<std::string> names;
        for (PackageId package : *found)
            names.push_back(catalog->full_name(package) + "\n");
        std::sort(names.begin(), names.end());
        std::string all;
        for (const std::string& name : names)
            all += name;
        CHECK(hex(sha1(all)) == expected);
    }
    CHECK(count == 200);
    CHECK(impossible > 0);
}
