// Packages, real ones and broken ones.
#include "alpine-packages/package.h"

#include <algorithm>

#include "alpine-packages/gzip.h"
#include "alpine-packages/index.h"
#include "alpine-packages/test_package.h"
#include "init/base/catch.h"

using namespace muster::apk;
using test::Recipe;

namespace {

bool says(const muster::Result<Package>& package, const std::string& words) {
    if (package.ok()) return false;
    UNSCOPED_INFO(package.error().message);
    return package.error().message.find(words) != std::string::npos;
}

std::string read_real(const std::string& name) {
    auto file = read_file(test::real_packages() + "/v3.19/main/x86_64/" + name);
    REQUIRE(file.ok());
    return *file;
}

KeyRing real_keys() {
    KeyRing keys;
    REQUIRE(keys.trust_folder(test::real_packages() + "/keys").ok());
    return keys;
}

} // namespace

TEST_CASE("every real package verifies") {
    if (test::real_packages().empty()) return muster::test::skip(test::no_real_packages);
    KeyRing keys = real_keys();
    auto names = list_folder(test::real_packages() + "/v3.19/main/x86_64");
    REQUIRE(names.ok());
    int count = 0;
    for (const std::string& name : *names) {
        if (!name.ends_with(".apk")) continue;
        auto package = read_package(read_real(name), keys);
        INFO(name << ": " << (package.ok() ? "" : package.error().message));
        CHECK(package.ok());
        ++count;
    }
    CHECK(count == 100);
}

TEST_CASE("a real package is read as it is") {
    if (test::real_packages().empty()) return muster::test::skip(test::no_real_packages);
    auto package = read_package(read_real("busybox-1.36.1-r15.apk"), real_keys());
    REQUIRE(package.ok());
    CHECK(package->info.full_name() == "busybox-1.36.1-r15");
    CHECK(package->identity == "Q1AYNx2pLOAHRYZQgv3nM8TNtvRWY=");
    CHECK(package->info.depends == std::vector<std::string>{"so:libc.musl-x86_64.so.1"});
    auto found = std::find_if(package->files.begin(), package->files.end(),
                              [](const TarEntry& e) { return e.path == "bin/busybox"; });
    REQUIRE(found != package->files.end());
    CHECK((found->mode == 0755 && found->data.size() == 808712 && found->mtime == 1699383189));
}

TEST_CASE("one changed byte in any part of a real package is found") {
    if (test::real_packages().empty()) return muster::test::skip(test::no_real_packages);
    std::string file = read_real("musl-1.2.4_git20230717-r4.apk");
    auto sizes = test::members(file);
    REQUIRE(sizes.size() == 3);
    KeyRing keys = real_keys();
    auto flip = [&](std::size_t at) {
        std::string changed = file;
        changed[at] = static_cast<char>(changed[at] ^ 1);
        return read_package(changed, keys);
    };
    std::size_t start = 0;
    for (std::size_t size : sizes) {
        for (std::size_t part = 1; part < 8; ++part)
            CHECK_FALSE(flip(start + size * part / 8).ok());
        // the time stamp in the gzip header: still a perfect gzip file
        std::size_t time_stamp = start + 4;
        if (start == 0)
            CHECK(flip(time_stamp).ok()); // of the signature itself: signed by nobody
        else if (start == sizes[0])
            CHECK(says(flip(time_stamp), "BAD signature"));
        else
            CHECK(says(flip(time_stamp), "check sum is not the one"));
        start += size;
    }
}

TEST_CASE("truncated real packages and trailing junk are refused") {
    if (test::real_packages().empty()) return muster::test::skip(test::no_real_packages);
    std::string file = read_real("busybox-binsh-1.36.1-r15.apk");
    KeyRing keys = real_keys();
    for (std::size_t size = 0; size < file.size(); size += 7) {
        INFO(size);
        CHECK_FALSE(read_package(std::string_view(file).substr(0, size), keys).ok());
    }
    CHECK_FALSE(read_package(file + "junk", keys).ok());
    CHECK_FALSE(read_package(file + file, keys).ok());
    CHECK(read_package(file, keys).ok());
}

TEST_CASE("a signature by an unknown key, none, or under another's name") {
    std::string file = test::make_package({.name = "one"});
    CHECK(read_package(file, test::our_keys()).ok());
    CHECK(says(read_package(file, KeyRing()), "not trusted: " + test::key_name));
    auto sizes = test::members(file);
    CHECK(says(read_package(file.substr(sizes[0]), test::our_keys()), "gzip members"));
    std::string control = file.substr(sizes[0], sizes[1]);
    CHECK(says(read_package(control + file.substr(sizes[0]), test::our_keys()), "unsigned"));

    test::Signer other;
    KeyRing keys;
    REQUIRE(keys.trust(test::key_name, other.public_pem()).ok());
    CHECK(says(read_package(file, keys), "BAD signature by " + test::key_name));
}

TEST_CASE("signatures over SHA-256 and SHA-512") {
    CHECK(read_package(test::make_package({.name = "x", .kind = "RSA256"}), test::our_keys()).ok());
    CHECK(read_package(test::make_package({.name = "x", .kind = "RSA512"}), test::our_keys()).ok());
    CHECK(says(read_package(test::make_package({.name = "x", .kind = "DSA"}), test::our_keys()),
               "unsigned"));
}

TEST_CASE("what a package must say about its contents") {
    Recipe recipe{.name = "x", .files = {{.path = "a", .data = "text", .sum = false}}};
    CHECK(says(read_package(test::make_package(recipe), test::our_keys()), "a: has no check sum"));
    recipe.files[0].extended = {{"APK-TOOLS.checksum.SHA1", std::string(40, 'a')}};
    CHECK(
        says(read_package(test::make_package(recipe), test::our_keys()), "a: check sum is wrong"));
    recipe.files = {};
    recipe.datahash = false;
    CHECK(says(read_package(test::make_package(recipe), test::our_keys()), "no datahash"));
    CHECK(says(read_package(test::make_package({.name = "x", .more = "what\n"}), test::our_keys()),
               ".PKGINFO line 5"));
}

TEST_CASE("hostile entries of a signed package are named") {
    Recipe recipe{.name = "x", .files = {{.path = "../../etc/passwd", .data = "root"}}};
    CHECK(says(read_package(test::make_package(recipe), test::our_keys()), "../../etc/passwd"));
}

TEST_CASE("a key counts as Alpine's only with the fingerprint that is known") {
    if (test::real_packages().empty()) return muster::test::skip(test::no_real_packages);
    auto found = keys_in_package(read_real("alpine-keys-2.4-r1.apk"));
    REQUIRE(found.ok());
    KeyRing keys;
    for (const auto& [name, pem] : *found)
        keys.trust_if_pinned(name, pem);
    CHECK(keys.find("alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub"));
    CHECK_FALSE(keys.find("alpine-devel@lists.alpinelinux.org-616adfeb.rsa.pub")); // armv7
    CHECK(read_package(read_real("busybox-binsh-1.36.1-r15.apk"), keys).ok());

    KeyRing fooled;
    CHECK_FALSE(fooled.trust_if_pinned("alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub",
                                       test::signer().public_pem()));
    CHECK(fooled.empty());
}

TEST_CASE(
    "a package that grows without end is refused, and data that is not verified is not unpacked") {
    std::string zeros(std::size_t{65} << 20, '\0');
    std::string bomb = test::gzip(zeros);
    std::string good = test::make_package({.name = "a", .files = {{.path = "f", .data = "x"}}});
    std::size_t first = test::members(good)[0], second = test::members(good)[1];
    // as control part, before any signature can be looked at
    auto control = read_package(good.substr(0, first) + bomb + bomb, test::our_keys());
    REQUIRE_FALSE(control.ok());
    CHECK(control.error().message == "gzip member 2: more than 67108864 bytes unpacked");
    // as data: its check sum is looked at first
    auto data = read_package(good.substr(0, first + second) + bomb, test::our_keys());
    REQUIRE_FALSE(data.ok());
    CHECK(data.error().message == "data: check sum is not the one in .PKGINFO");
    CHECK_FALSE(split_gzip(bomb, 1 << 20).ok());
    std::string_view rest = good;
    auto part = take_gzip(rest, 1 << 20);
    CHECK((part && part->compressed.size() == first && rest.size() == good.size() - first));
    // as an index whose signature is not looked at
    auto index = index_text(good.substr(0, first) + bomb, nullptr);
    REQUIRE_FALSE(index.ok());
    CHECK(index.error().message == "gzip member 2: more than 67108864 bytes unpacked");
    // as keys
    auto keys = keys_in_package(good.substr(0, first + second) + bomb);
    REQUIRE_FALSE(keys.ok());
    CHECK(keys.error().message.find("bytes unpacked") != std::string::npos);
}

TEST_CASE("an index is unpacked after its signature was found right") {
    std::string good = test::make_index("C:Q1YQ==\nP:a\nV:1-r0\n\n");
    KeyRing keys = test::our_keys();
    CHECK(index_text(good, &keys).ok());
    auto error = [&](const std::string& file) {
        auto text = index_text(file, &keys);
        return text ? "" : text.error().message;
    };
    std::size_t first = test::members(good)[0];
    std::string bad = "BAD signature by " + test::key_name;
    std::string changed = good;
    changed[first + 4] = 1; // the time in the header: still a perfect gzip file
    CHECK(error(changed) == bad);
    CHECK(error(good.substr(0, good.size() / 2 + first / 2)) ==
          bad + "; gzip member 2: truncated or damaged");
    CHECK(error(good + good) == bad);
    CHECK(error(good.substr(0, first)) ==
          "1 gzip member where a signed index has 2 (signature, index)");
    CHECK(error(good.substr(first)).find("1 gzip member") == 0);
    CHECK(error("") == "gzip member 1: truncated or damaged");
}
