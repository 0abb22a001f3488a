// Archives: what is read, and what is refused by name.
#include "alpine-packages/tar.h"

#include "alpine-packages/test_package.h"
#include "init/base/catch.h"

using namespace muster::apk;
using test::Entry;

TEST_CASE("an archive is read with all that headers say") {
    std::string longest(200, 'n');
    std::string archive = test::tar(
        {{.path = "usr/", .type = '5', .mode = 01777, .group = "shadow"},
         {.path = "usr/a", .data = "text", .mode = 04755},
         {.path = "usr/b", .type = '1', .target = "usr/a"},
         {.path = "usr/c", .type = '2', .target = "../bin/x"},
         {.path = "x",
          .data = "long",
          .extended = {{"path", "usr/" + longest}, {"SCHILY.xattr.security.capability", "abc"}}}},
        true);
    auto entries = read_tar(archive, true);
    REQUIRE(entries.ok());
    REQUIRE(entries->size() == 5);
    const auto& e = *entries;
    CHECK((e[0].path == "usr" && e[0].kind == FileKind::folder && e[0].mode == 01777));
    CHECK((e[0].group == "shadow" && e[0].mtime == 1700000000));
    CHECK((e[1].data == "text" && e[1].mode == 04755 && e[1].sha1 == sha1("text")));
    CHECK((e[2].kind == FileKind::hardlink && e[2].target == "usr/a"));
    CHECK((e[3].kind == FileKind::symlink && e[3].target == "../bin/x"));
    CHECK((e[4].path == "usr/" + longest && e[4].attributes.count("security.capability") == 1));
}

TEST_CASE("hostile entries are refused and named") {
    struct Case {
        std::vector<Entry> entries;
        const char *name, *why;
    };
    std::string component(256, 'c'), name;
    while (name.size() <= 4095)
        name += "folder/";
    const std::vector<Case> cases = {
        {{{.path = "/etc/passwd"}}, "/etc/passwd", "absolute"},
        {{{.path = "a/../../b"}}, "a/../../b", ".."},
        {{{.path = "./"}}, "./", "root itself"},
        {{{.path = "x", .extended = {{"path", component}}}}, "ccc", "over 255"},
        {{{.path = "x", .extended = {{"path", name}}}}, "folder/", "over 4095"},
        {{{.path = "null", .type = '3'}}, "null", "character device"},
        {{{.path = "disk", .type = '4'}}, "disk", "block device"},
        {{{.path = "pipe", .type = '6'}}, "pipe", "FIFO"},
        {{{.path = "odd", .type = 'V'}}, "odd", "unknown type"},
        {{{.path = "up", .type = '2', .target = "../x"}}, "up", "out of the root"},
        {{{.path = "a/up", .type = '2', .target = "x/../../../y"}}, "a/up", "out of the root"},
        {{{.path = "up", .type = '2', .target = "/../x"}}, "up", "out of the root"},
        {{{.path = "none", .type = '2'}}, "none", "target"},
        {{{.path = "h", .type = '1', .target = "/etc/shadow"}}, "h", "absolute"},
        {{{.path = "h", .type = '1', .target = "later"}, {.path = "later"}}, "h", "later"},
        {{{.path = "l", .type = '2', .target = "/tmp"}, {.path = "l/x"}}, "l/x", "no folder"},
        {{{.path = "f"}, {.path = "f/x"}}, "f/x", "no folder"},
        {{{.path = "f"}, {.path = "f"}}, "f", "twice"},
        {{{.path = "d/f"}, {.path = "d", .type = '2', .target = "e"}}, "d", "twice"}};
    for (const Case& c : cases) {
        std::string archive = test::tar(c.entries, true);
        auto entries = read_tar(archive, true);
        INFO(c.name << ": " << c.why);
        REQUIRE_FALSE(entries.ok());
        INFO(entries.error().message);
        CHECK(entries.error().message.find(c.name) != std::string::npos);
        CHECK(entries.error().message.find(c.why) != std::string::npos);
    }
}

TEST_CASE("control characters of a name do not reach the terminal") {
    std::string archive = test::tar({{.path = "/a\x1b[2Jb"}}, true);
    auto entries = read_tar(archive, true);
    REQUIRE_FALSE(entries.ok());
    CHECK(entries.error().message.find('\x1b') == std::string::npos);
}

TEST_CASE("archives that are cut off or changed anywhere give an error or the same names") {
    std::string archive = test::tar(
        {{.path = "a", .data = std::string(700, 'x')}, {.path = "b", .type = '2', .target = "a"}},
        true);
    for (std::size_t size = 0; size < archive.size(); ++size) {
        INFO(size);
        CHECK_FALSE(read_tar(std::string_view(archive).substr(0, size), true).ok());
    }
    for (std::size_t at = 0; at < archive.size(); at += 3) {
        std::string changed = archive;
        changed[at] = static_cast<char>(changed[at] ^ 0x41);
        auto entries = read_tar(changed, true);
        if (entries.ok()) CHECK(entries->size() == 2);
    }
}

TEST_CASE("the end mark is where it has to be") {
    CHECK_FALSE(read_tar(test::tar({{.path = "a"}}, true), false).ok());
    CHECK_FALSE(read_tar(test::tar({{.path = "a"}}, false), true).ok());
    CHECK(read_tar(test::tar({{.path = "a"}}, false), false).ok());
    CHECK_FALSE(read_tar(test::tar({}, true) + test::tar({{.path = "a"}}, true), true).ok());
}
