// Trees and the archives made of them.
#include "alpine-packages/tree.h"

#include <sys/stat.h>

#include "alpine-packages/test_package.h"
#include "init/base/catch.h"

using namespace muster::apk;
using test::Recipe;

namespace {

Package package(const Recipe& recipe) {
    auto read = read_package(test::make_package(recipe), test::our_keys());
    if (!read) FAIL(read.error().message);
    return std::move(*read);
}

std::string add(Tree& tree, const Recipe& recipe) {
    auto done = tree.add_package(package(recipe));
    return done.ok() ? "" : done.error().message;
}

struct Member {
    std::string name, data;
    unsigned inode, mode, uid, gid, links, mtime;
};

// Reads newc, as in the kernel's documentation of the format.
std::vector<Member> read_cpio(const std::string& archive) {
    std::vector<Member> out;
    for (std::size_t at = 0;;) {
        REQUIRE(archive.substr(at, 6) == "070701");
        auto field = [&](int n) {
            return static_cast<unsigned>(
                std::stoul(archive.substr(at + 6 + 8 * n, 8), nullptr, 16));
        };
        Member member{archive.substr(at + 110, field(11) - 1),
                      "",
                      field(0),
                      field(1),
                      field(2),
                      field(3),
                      field(4),
                      field(5)};
        std::size_t data = (at + 110 + field(11) + 3) / 4 * 4;
        member.data = archive.substr(data, field(6));
        at = (data + field(6) + 3) / 4 * 4;
        if (member.name == "TRAILER!!!") return out;
        out.push_back(member);
    }
}

const Member* find(const std::vector<Member>& members, const std::string& name) {
    for (const Member& member : members)
        if (member.name == name) return &member;
    return nullptr;
}

} // namespace

TEST_CASE("owners, modes and times come straight from the package") {
    Tree tree;
    CHECK(add(tree, {.name = "base",
                     .files = {{.path = "etc", .type = '5', .mode = 0755},
                               {.path = "etc/group", .data = "root:x:0:\nshadow:x:42:\n"},
                               {.path = "etc/shadow", .data = "s", .mode = 0640, .group = "shadow"},
                               {.path = "etc/odd", .data = "o", .user = "nobody-here"},
                               {.path = "su", .data = "x", .mode = 04711},
                               {.path = "tmp", .type = '5', .mode = 01777}}}) == "");
    CHECK(add(tree, {.name = "other", .files = {{.path = "tmp", .type = '5', .mode = 0755}}}) ==
          "");
    REQUIRE(tree.finish().ok());
    auto archive = to_cpio(tree);
    REQUIRE(archive.ok());
    CHECK(archive->size() % 512 == 0);
    auto members = read_cpio(*archive);
    CHECK((find(members, "etc/shadow")->gid == 42 && find(members, "etc/shadow")->mode == 0100640));
    CHECK(find(members, "etc/shadow")->mtime == 1700000000);
    CHECK(find(members, "etc/odd")->uid == 0);
    CHECK(find(members, "su")->mode == 0104711);
    CHECK(find(members, "tmp")->mode == 041777);
    for (std::size_t i = 1; i < members.size(); ++i)
        CHECK(members[i - 1].name < members[i].name);
}

TEST_CASE("hard links share an inode and are stored once") {
    Tree tree;
    CHECK(add(tree, {.name = "zones",
                     .files = {{.path = "zulu", .data = "zone"},
                               {.path = "alpha", .type = '1', .target = "zulu"}}}) == "");
    REQUIRE(tree.finish().ok());
    auto members = read_cpio(*to_cpio(tree));
    REQUIRE(members.size() == 2);
    CHECK((members[0].name == "alpha" && members[0].data == "zone" && members[0].links == 2));
    CHECK((members[1].inode == members[0].inode && members[1].data.empty()));
}

TEST_CASE("two packages with the same file") {
    Recipe one{.name = "one", .files = {{.path = "f", .data = "1"}}};
    Recipe two{.name = "two", .files = {{.path = "f", .data = "2"}}};
    SECTION("are an error that names both") {
        Tree tree;
        CHECK(add(tree, one) == "");
        std::string message = add(tree, two);
        CHECK(message == "f: is in package one and in package two");
    }
    SECTION("are settled by `replaces`, whatever the order") {
        two.more = "replaces = one\n";
        Tree forward, backward;
        CHECK(add(forward, one) == "");
        CHECK(add(forward, two) == "");
        CHECK(add(backward, two) == "");
        CHECK(add(backward, one) == "");
        CHECK(forward.nodes().at("f").data == "2");
        CHECK(backward.nodes().at("f").data == "2");
    }
    SECTION("of one origin belong to the later") {
        one.more = two.more = "origin = both\n";
        Tree tree;
        CHECK(add(tree, one) == "");
        CHECK(add(tree, two) == "");
        CHECK(tree.nodes().at("f").data == "2");
    }
}

TEST_CASE("a file of one package below a link of another is refused") {
    Tree tree;
    CHECK(add(tree, {.name = "trap", .files = {{.path = "d", .type = '2', .target = "/tmp"}}}) ==
          "");
    CHECK(add(tree, {.name = "victim", .files = {{.path = "d/f", .data = "x"}}}) == "");
    auto done = tree.finish();
    REQUIRE_FALSE(done.ok());
    CHECK(done.error().message ==
          "d/f (package victim): lies below d, which is no folder (package trap)");
}

TEST_CASE("busybox' links are made where nothing is yet") {
    Tree tree;
    CHECK(add(tree, {.name = "busybox",
                     .files = {{.path = "bin/busybox", .data = "program", .mode = 0755},
                               {.path = "bin/cat", .data = "another cat"},
                               {.path = "etc/busybox-paths.d/busybox",
                                .data = "bin/cat\nsbin/init\nusr/bin/[[\n"}}}) == "");
    REQUIRE(tree.add_busybox_applets().ok());
    REQUIRE(tree.add_text("own init", "/sbin/init", 0755).ok());
    REQUIRE(tree.finish().ok());
    CHECK(tree.nodes().at("bin/cat").data == "another cat");
    CHECK(tree.nodes().at("usr/bin/[[").target == "/bin/busybox");
    CHECK(tree.nodes().at("sbin/init").data == "own init");
    CHECK(S_ISDIR(tree.nodes().at("usr/bin").mode));
    Tree none;
    CHECK_FALSE(none.add_busybox_applets().ok());
}

TEST_CASE("own files and folders of the host, through links of the tree") {
    test::Folder folder;
    REQUIRE(make_folders(folder / "in/deep").ok());
    REQUIRE(write_file(folder / "in/deep/text", "t").ok());
    REQUIRE(write_file(folder / "in/program", "p").ok());
    REQUIRE(chmod((folder / "in/program").c_str(), 0700) == 0);
    REQUIRE(symlink("deep/text", (folder / "in/link").c_str()) == 0);
    Tree tree;
    REQUIRE(tree.add_link("usr/bin", "/bin").ok());
    REQUIRE(tree.add_folder("/usr/bin", 0755).ok());
    REQUIRE(tree.add_host(folder / "in", "/opt/x", -1).ok());
    REQUIRE(tree.add_host(folder / "in/program", "/bin/program", 04755).ok());
    REQUIRE(tree.finish().ok());
    CHECK(tree.nodes().at("opt/x/deep/text").mode == (S_IFREG | 0644));
    CHECK(tree.nodes().at("opt/x/program").mode == (S_IFREG | 0755));
    CHECK(tree.nodes().at("opt/x/link").target == "deep/text");
    CHECK(tree.nodes().at("usr/bin/program").mode == (S_IFREG | 04755));
    CHECK_FALSE(tree.add_host(folder / "nothing", "/x", -1).ok());
    CHECK_FALSE(tree.add_host(folder / "in", "/../x", -1).ok());

    REQUIRE(write_folder(tree, folder / "out").ok());
    CHECK(*read_file(folder / "out/opt/x/deep/text") == "t");
    CHECK_FALSE(write_folder(tree, folder / "out").ok()); // not empty
}
