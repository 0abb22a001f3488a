// The same choice as the real apk for 200 sets; solver_choices says how they came about, and
// solver_choices_test.sh asks apk itself.
#include <fstream>
#include <map>
#include <set>

#include "alpine-packages/solver.h"
#include "alpine-packages/test_package.h"
#include "init/base/catch.h"

using namespace muster::apk;

namespace {

// Whether a package comes before something that it depends on, though the two stand in no circle.
// Says which, or nothing.
std::string wrong_order(Catalog& catalog, const std::vector<PackageId>& order) {
    std::map<PackageId, std::size_t> place;
    std::map<NameId, std::vector<PackageId>> chosen; // what of the solution offers a name
    for (std::size_t i = 0; i < order.size(); ++i) {
        place[order[i]] = i;
        for (const auto& [name, offer] : catalog.offered_by(order[i]))
            chosen[name].push_back(order[i]);
    }
    auto needs = [&](PackageId package) {
        std::vector<PackageId> out;
        for (const Need& need : catalog.depends(package))
            if (auto found = chosen.find(need.name); !need.says.conflict && found != chosen.end())
                if (found->second.size() == 1) out.push_back(found->second[0]);
        return out;
    };
    auto reaches = [&](PackageId from, PackageId to) {
        std::vector<PackageId> todo = {from};
        std::set<PackageId> seen = {from};
        while (!todo.empty()) {
            PackageId one = todo.back();
            todo.pop_back();
            if (one == to) return true;
            for (PackageId next : needs(one))
                if (seen.insert(next).second) todo.push_back(next);
        }
        return false;
    };
    for (PackageId package : order)
        for (PackageId needed : needs(package))
            if (place[needed] > place[package] && !reaches(needed, package))
                return catalog.full_name(package) + " comes before " + catalog.full_name(needed);
    return "";
}

} // namespace

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
        CHECK(wrong_order(*catalog, *found) == "");
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
