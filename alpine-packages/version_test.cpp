// Order of versions, and what dependencies allow.
#include "alpine-packages/version.h"

#include "init/base/catch.h"

using namespace muster::apk;

TEST_CASE("versions in ascending order") {
    const std::vector<std::string> ascending = {
        "0",      "0.1_alpha", "0.1_alpha2", "0.1_beta", "0.1_pre1", "0.1_rc1",         "0.1_rc2",
        "0.1",    "0.1-r0",    "0.1-r1",     "0.1-r10",  "0.1_cvs1", "0.1_git20230717", "0.1_hg2",
        "0.1_p1", "0.1_p1-r3", "0.1a",       "0.1b",     "0.1.01",   "0.1.1",           "0.2",
        "0.10",   "1",         "1.36.1-r15", "2",        "10",       "20230506-r0"};
    for (std::size_t i = 0; i < ascending.size(); ++i) {
        INFO(ascending[i]);
        CHECK(version_is_valid(ascending[i]));
        CHECK(compare_versions(ascending[i], ascending[i]) == Order::equal);
        for (std::size_t j = i + 1; j < ascending.size(); ++j) {
            INFO(ascending[j]);
            CHECK(compare_versions(ascending[i], ascending[j]) == Order::less);
            CHECK(compare_versions(ascending[j], ascending[i]) == Order::greater);
        }
    }
}

TEST_CASE("what is no version") {
    for (const char* text : {"", "a", "v1", "1.", "1..0", "1_", "1_what", "1-r", "1-1", "1ab", "1 ",
                             "1-r1.2", "1~", "1_p1a"}) {
        INFO(text);
        CHECK_FALSE(version_is_valid(text));
    }
}

TEST_CASE("dependencies and the versions they allow") {
    struct Case {
        const char *dependency, *version;
        bool allowed;
    };
    for (const Case& c : std::vector<Case>{{"zlib", "1.3.1-r0", true},
                                           {"zlib", "", true},
                                           {"zlib=1.3.1-r0", "1.3.1-r0", true},
                                           {"zlib=1.3.1-r0", "1.3.1-r1", false},
                                           {"zlib>=1.3", "1.3", true},
                                           {"zlib>=1.3", "1.2.99", false},
                                           {"zlib>1.3", "1.3", false},
                                           {"zlib<2", "1.9-r3", true},
                                           {"zlib<=2", "2", true},
                                           {"zlib<=2", "2-r0", false},
                                           {"zlib~1.3", "1.3.1-r0", true},
                                           {"zlib~1.3", "1.30", false},
                                           {"zlib~=3.11", "3.11.6-r1", true},
                                           {"zlib>~1.3", "1.4", true},
                                           {"zlib>~1.3", "1.3.9", true},
                                           {"zlib>=1.3", "", false},
                                           {"so:libz.so.1=1.3.1", "1.3.1", true}}) {
        INFO(c.dependency << " " << c.version);
        auto dependency = parse_dependency(c.dependency);
        REQUIRE(dependency.ok());
        CHECK(dependency->allows(c.version) == c.allowed);
    }
    CHECK(parse_dependency("!vlan")->conflict);
    CHECK(parse_dependency("/bin/sh")->name == "/bin/sh");
    CHECK(parse_dependency("a@edge>=2")->tag == "edge");
    CHECK(parse_dependency("a@edge>=2")->text() == "a@edge>=2");
    CHECK(parse_dependency("a><Q1abc=")->allows("", "Q1abc="));
    CHECK_FALSE(parse_dependency("a><Q1abc=")->allows("1", "Q1abd="));
}

TEST_CASE("dependencies that are not understood say so") {
    for (const char* text : {"", "!", "=1", "a@", "a@=1", "a><abc", "a=", "a=x", "a>=>1", "a<>1"}) {
        auto dependency = parse_dependency(text);
        REQUIRE_FALSE(dependency.ok());
        CHECK(dependency.error().message.find("\"" + std::string(text) + "\"") !=
              std::string::npos);
    }
}
