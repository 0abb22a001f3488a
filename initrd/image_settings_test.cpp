// What images get beside their packages, read again by those who will: our own configuration's
// reader, and apk's database.
#include "initrd/image_settings.h"

#include "alpine-packages/test_package.h"
#include "init/base/catch.h"
#include "init/preserves/text_reader.h"
#include "initrd/ext4_script.h"
#include "initrd/image_database.h"

namespace muster::image {
namespace {

std::string text_of(const apk::Tree& tree, const std::string& path) {
    auto found = tree.nodes().find(path);
    return found == tree.nodes().end() ? "" : std::string(found->second.data);
}

// The command of the service that a description has.
std::string command_of(const std::string& words) {
    auto description =
        parse_description("packages busybox\nservice x " + words + "\n", "x.image", ".");
    REQUIRE(description);
    apk::Tree tree;
    REQUIRE(add_settings(tree, *description, "1"));
    std::string text = text_of(tree, "etc/muster/services/x.pr");
    std::size_t at = text.find("<daemon x ", text.find(">>"));
    REQUIRE(at != text.npos);
    auto value = preserves::parse_text(text.substr(at));
    INFO((value ? text : value.error().message));
    REQUIRE(value);
    return std::string(value->view().at(1).as_string().value_or("no string"));
}

} // namespace

TEST_CASE("image: a service's command arrives as it was written") {
    CHECK(command_of("/usr/sbin/sshd -D -e") == "exec /usr/sbin/sshd -D -e");
    CHECK(command_of("printf 'a\\n'") == "exec printf 'a\\n'");
    CHECK(command_of("printf %s\"x\"") == "exec printf %s\"x\"");
    // what the shell has to read stays with it
    for (std::string command : {"cd /srv && exec httpd -f", "httpd >/dev/null", "PORT=1 httpd",
                                "httpd -p $PORT", "exec httpd", "cd /srv; httpd"})
        CHECK(command_of("\"" + command + "\"") == command);
}

TEST_CASE("image: apk's database has the sum of a hard link") {
    std::string file = apk::test::make_package(
        {.name = "a",
         .files = {{.path = "bin/one", .data = "text"},
                   {.path = "bin/two", .type = '1', .target = "bin/one", .sum = false}}});
    auto package = apk::read_package(file, apk::test::our_keys());
    REQUIRE(package);
    std::vector<Installed> packages = {remember(*package, file.size(), "x86_64")};
    apk::Tree tree;
    REQUIRE(tree.add_package(std::move(*package)));
    REQUIRE(tree.finish());
    REQUIRE(add_database(tree, packages, {"a"}, "x86_64"));
    std::string sum = "\nZ:" + apk::q1(apk::sha1("text")) + "\n";
    std::string installed = text_of(tree, "lib/apk/db/installed");
    INFO(installed);
    CHECK(installed.find("\nR:one" + sum) != installed.npos);
    CHECK(installed.find("\nR:two" + sum) != installed.npos);
}

TEST_CASE("image: what a file system for a tree needs") {
    apk::Tree small;
    CHECK(ext4_needs(small) == 1 << 20);
    apk::Tree large;
    REQUIRE(large.add_text(std::string(std::size_t{20} << 20, 'x'), "/a", 0644));
    CHECK(ext4_needs(large) > std::uint64_t{24} << 20); // with a journal of 4 MiB
    CHECK(ext4_needs(large) < std::uint64_t{30} << 20);
}

} // namespace muster::image
