// Mirrors: from a folder to the bytes of an image, and everything that stops it.
#include "alpine-packages/repository.h"

#include "alpine-packages/test_package.h"
#include "alpine-packages/tree.h"
#include "init/base/catch.h"

using namespace muster::apk;
using test::Folder;

namespace {

// The image of WANTED from LOCATION; an error's message goes to MESSAGE.
std::string image(const std::string& location, const MirrorOptions& options,
                  const std::vector<std::string>& wanted, std::string& message) {
    bool reached = false;
    message.clear();
    auto mirror = Mirror::open(location, options, reached);
    if (!mirror) return message = mirror.error().message, "";
    auto chosen = mirror->closure(wanted);
    if (!chosen) return message = chosen.error().message, "";
    Tree tree;
    for (const Chosen& one : *chosen) {
        auto package = mirror->load(one);
        if (!package) return message = package.error().message, "";
        if (auto done = tree.add_package(std::move(*package)); !done)
            return message = done.error().message, "";
    }
    if (auto done = tree.finish(); !done) return message = done.error().message, "";
    auto archive = to_cpio(tree);
    return archive.ok() ? *archive : "";
}

const std::vector<std::string> base = {"alpine-baselayout", "busybox", "busybox-binsh", "musl",
                                       "e2fsprogs"};

bool contains(const std::string& text, const std::string& part) {
    UNSCOPED_INFO(text);
    return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("the same packages give the same bytes, in whatever order they are named") {
    if (test::real_packages().empty()) return muster::test::skip(test::no_real_packages);
    std::string message;
    std::string first = image(test::real_packages(), {}, base, message);
    REQUIRE(message == "");
    std::vector<std::string> reversed(base.rbegin(), base.rend());
    std::string second =
        image(test::real_packages() + "/v3.19/main/x86_64/", {}, reversed, message);
    REQUIRE(message == "");
    CHECK(first.size() > 2000000);
    CHECK(first == second);
}

TEST_CASE("a mirror of broken real packages stops at the broken one and names it") {
    if (test::real_packages().empty()) return muster::test::skip(test::no_real_packages);
    Folder folder;
    std::string real = test::real_packages() + "/v3.19/main/x86_64/";
    auto take = [&](const std::string& name) {
        auto data = read_file(real + name);
        REQUIRE(data.ok());
        REQUIRE(write_file(folder / name, *data).ok());
    };
    take("APKINDEX.tar.gz");
    std::string message;
    MirrorOptions with_keys{.key_folders = {test::real_packages() + "/keys"}};
    CHECK(image(folder.path(), with_keys, {"musl"}, message) == "");
    CHECK(contains(message, "musl-1.2.4_git20230717-r4.apk: No such file"));
    CHECK(image(folder.path(), {}, {"musl"}, message) == "");
    CHECK(contains(message, "alpine-keys-2.4-r1.apk"));

    take("musl-1.2.4_git20230717-r4.apk");
    take("alpine-keys-2.4-r1.apk");
    CHECK(image(folder.path(), {}, {"musl"}, message) != "");
    std::string name = folder / "musl-1.2.4_git20230717-r4.apk";
    std::string file = *read_file(name);
    std::string changed = file;
    changed[file.size() / 2] = static_cast<char>(changed[file.size() / 2] ^ 1);
    REQUIRE(write_file(name, changed).ok());
    CHECK(image(folder.path(), {}, {"musl"}, message) == "");
    CHECK(contains(message, name + ": "));
    REQUIRE(write_file(name, file.substr(0, file.size() - 1)).ok());
    CHECK(image(folder.path(), {}, {"musl"}, message) == "");
    CHECK(contains(message, "the index says"));

    std::string index = *read_file(folder / "APKINDEX.tar.gz");
    index[index.size() / 2] = static_cast<char>(index[index.size() / 2] ^ 1);
    REQUIRE(write_file(folder / "APKINDEX.tar.gz", index).ok());
    CHECK(image(folder.path(), with_keys, {"musl"}, message) == "");
    CHECK(contains(message, "APKINDEX.tar.gz: "));
}

TEST_CASE("a mirror with somebody else's keys is not believed") {
    Folder folder;
    test::make_repository(folder,
                          {{.name = "alpine-keys",
                            .files = {{.path = "usr/share/apk/keys/" + test::key_name,
                                       .data = test::signer().public_pem()}}},
                           {.name = "app"}},
                          {});
    std::string message;
    CHECK(image(folder.path(), {}, {"app"}, message) == "");
    CHECK(contains(message, "no alpine-keys package with a key of Alpine"));
    CHECK(image(folder.path(), {.key_folders = {folder / "keys"}}, {"app"}, message) != "");
    if (test::real_packages().empty()) return muster::test::skip(test::no_real_packages);
    MirrorOptions others{.key_folders = {test::real_packages() + "/keys"}};
    CHECK(image(folder.path(), others, {"app"}, message) == "");
    CHECK(contains(message, "not trusted: " + test::key_name));
}

TEST_CASE("a package that is not the one in the index") {
    Folder folder;
    test::make_repository(folder, {{.name = "old", .version = "1-r0"}, {.name = "new"}}, {});
    MirrorOptions options{.key_folders = {folder / "keys"}};
    std::string message;
    CHECK(image(folder.path(), options, {"new"}, message) != "");
    // signed by the right key, of the right size, but another: a replay
    std::string other = test::make_package({.name = "new", .version = "0-r9"});
    std::string right = *read_file(folder / "new-1-r0.apk");
    if (other.size() == right.size()) {
        REQUIRE(write_file(folder / "new-1-r0.apk", other).ok());
        CHECK(image(folder.path(), options, {"new"}, message) == "");
        CHECK(contains(message, "the index says Q1"));
    }
    REQUIRE(write_file(folder / "new-1-r0.apk", other + "x").ok());
    CHECK(image(folder.path(), options, {"new"}, message) == "");
    CHECK(contains(message, "new-1-r0.apk"));
}

TEST_CASE("nothing there is told from something wrong there") {
    bool reached = true;
    CHECK_FALSE(Mirror::open("/nonexistent", {}, reached).ok());
    CHECK_FALSE(reached);
    Folder folder;
    REQUIRE(write_file(folder / "APKINDEX.tar.gz", "not gzip").ok());
    CHECK_FALSE(Mirror::open(folder.path(), {}, reached).ok());
    CHECK(reached);
}
