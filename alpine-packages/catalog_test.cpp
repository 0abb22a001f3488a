// Reading indexes, broken ones and the real ones.
#include "alpine-packages/catalog.h"

#include "alpine-packages/test_package.h"
#include "init/base/catch.h"

using namespace muster::apk;

TEST_CASE("broken index records give the line") {
    CHECK(parse_index("P:a\nV:1\nC:Q1x\n\nP:b\nV:1\nC:Q1y\n")->size() == 2);
    CHECK(parse_index("")->empty());
    CHECK(Catalog::build({"P:a\nV:1\nC:Q1x\n\n\nP:b\nV:1\nC:Q1y"}, {"x"})->package_count() == 2);
    for (const char* text : {"P:a\nwhat\n", "P:a\nV:1\n\n", "P:a/b\nV:1\nC:Q1\n\n",
                             "P:a\nV:1\nC:Q1\nk:big\n\n", "P:..\nV:1\nC:Q1\n\n"}) {
        INFO(text);
        auto entries = parse_index(text);
        REQUIRE_FALSE(entries.ok());
        CHECK(entries.error().message.find("APKINDEX, record at line 1: ") == 0);
        auto catalog = Catalog::build({"P:a\nV:1\nC:Q1x\n\n" + std::string(text)}, {"mirror"});
        REQUIRE_FALSE(catalog.ok());
        CHECK(catalog.error().message.find("mirror: APKINDEX, record at line 5: ") == 0);
    }
}

TEST_CASE("a catalog knows names, what offers them and what they trigger") {
    auto catalog = Catalog::build({"C:Q1a\nP:a\nV:1\np:so:a=3 /bin/a cmd:a=x1\nD:b>1 c\n\n",
                                   "C:Q1b\nP:b\nV:2\ni:docs a=1\nS:77\n\nC:Q1a\nP:a\nV:1\n"},
                                  {"one", "two"});
    REQUIRE(catalog.ok());
    REQUIRE(catalog->package_count() == 2);
    CHECK(catalog->package(0).repositories == 3);
    CHECK(catalog->offers(catalog->find("so:a"))[0].version == "3");
    CHECK_FALSE(catalog->offers(catalog->find("/bin/a"))[0].versioned);
    CHECK(catalog->find("cmd:a") == nobody); // with a version that is none
    CHECK(catalog->find("c") == nobody);
    CHECK(catalog->depends(0).size() == 2);
    CHECK(catalog->offers(catalog->find("c")).empty());
    CHECK(catalog->triggered_by(catalog->find("docs")).size() == 1);
    CHECK(catalog->install_if(1)[1].says.text() == "a=1");
    CHECK(catalog->entry(1).size == 77);
    CHECK(catalog->offered_by(0).size() == 3);
}

TEST_CASE("the complete real indexes are read and verified") {
    if (test::real_packages().empty()) return muster::test::skip(test::no_real_packages);
    std::string folder = test::real_packages() + "/full-index/";
    KeyRing keys;
    REQUIRE(keys.trust_folder(test::real_packages() + "/keys").ok());
    auto main_file = read_file(folder + "main/x86_64/APKINDEX.tar.gz");
    auto community_file = read_file(folder + "community/x86_64/APKINDEX.tar.gz");
    REQUIRE((main_file.ok() && community_file.ok()));
    auto main_index = index_text(*main_file, &keys);
    auto community = index_text(*community_file, &keys);
    REQUIRE((main_index.ok() && community.ok()));
    auto catalog = Catalog::build({*main_index, *community}, {"main", "community"});
    REQUIRE(catalog.ok());
    CHECK(catalog->package_count() == 5443 + 17587);

    std::string changed = *main_file;
    changed[changed.size() / 2] = static_cast<char>(changed[changed.size() / 2] ^ 1);
    CHECK_FALSE(index_text(changed, &keys).ok());
    auto unknown = index_text(*main_file, std::make_unique<KeyRing>().get());
    REQUIRE_FALSE(unknown.ok());
    CHECK(unknown.error().message.find("not trusted") != std::string::npos);
}
