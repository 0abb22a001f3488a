#include "netlink/glob.h"

#include <fnmatch.h>

#include <random>
#include <string>

#include "init/base/catch.h"

using namespace muster::netlink;

TEST_CASE("glob: module aliases") {
    const std::string nic = "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00";
    CHECK(glob_matches("pci:v00001AF4d*sv*sd*bc*sc*i*", nic));
    CHECK(glob_matches("pci:v*d*sv*sd*bc02sc00i*", nic));
    CHECK_FALSE(glob_matches("pci:v*d*sv*sd*bc01sc00i*", nic));
    CHECK_FALSE(glob_matches("pci:v00001AF4d*sv*sd*bc*sc*i", nic));
    CHECK(glob_matches("usb:v*p*d*dc*dsc*dp*ic08isc0[256]ip50in*",
                       "usb:v0781p5581d0100dc00dsc00dp00ic08isc06ip50in00"));
    CHECK(glob_matches("input:b*v*p*e*-e*1,*k*", "input:b0011v0001p0001eAB41-e0,1,4,k71,ram"));
    CHECK(glob_matches("crc32c-intel", "crc32c_intel"));
    CHECK(glob_matches("*", ""));
    CHECK(glob_matches("", ""));
    CHECK_FALSE(glob_matches("", "x"));
    CHECK_FALSE(glob_matches("?", ""));
    CHECK(glob_matches("\\*", "*"));
    CHECK_FALSE(glob_matches("\\*", "x"));
}

TEST_CASE("glob: agrees with fnmatch") {
    std::mt19937 random(1);
    const std::string of_pattern = "abA*?*[]!^a-c\\", of_text = "abcA]";
    for (int round = 0; round < 200'000; ++round) {
        std::string pattern, text;
        for (size_t i = random() % 8; i > 0; --i)
            pattern += of_pattern[random() % of_pattern.size()];
        for (size_t i = random() % 6; i > 0; --i)
            text += of_text[random() % of_text.size()];
        // C libraries differ on brackets that are not closed or go backwards, on a backslash in
        // brackets or at the end, and on what '^' means there.
        if (pattern.find('\\') != std::string::npos && pattern.find('[') != std::string::npos)
            continue;
        if (pattern.ends_with('\\') || pattern.find('-') != std::string::npos) continue;
        const size_t open = pattern.find('['), close = pattern.rfind(']');
        if (open != std::string::npos && (close == std::string::npos || close < open + 2)) continue;
        if (open != std::string::npos && pattern.find('[', open + 1) != std::string::npos) continue;
        if (pattern.find("[!]") != std::string::npos || pattern.find("[^") != std::string::npos)
            continue;
        INFO(pattern << " and " << text);
        REQUIRE(glob_matches(pattern, text) == (::fnmatch(pattern.c_str(), text.c_str(), 0) == 0));
    }
}

TEST_CASE("glob: many stars do not take for ever") {
    std::string pattern, text(2000, 'a');
    for (int i = 0; i < 500; ++i)
        pattern += "*a";
    CHECK(glob_matches(pattern, text));
    CHECK_FALSE(glob_matches(pattern + "b", text));
}

TEST_CASE("glob: beginnings and names") {
    CHECK(literal_prefix("pci:v*") == 5);
    CHECK(literal_prefix("a?b") == 1);
    CHECK(literal_prefix("[ab]") == 0);
    CHECK(literal_prefix("plain") == 5);
    CHECK(compare_names("a-b", "a_b") == 0);
    CHECK(compare_names("a", "ab") < 0);
    CHECK(compare_names("b", "ab") > 0);
}
