#include "services/muster/enabling.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"

using namespace muster;
using namespace muster::command;
using preserves::Value;

namespace {

struct Root {
    std::string path;
    std::vector<std::string> files;
    Root() {
        char name[] = "/tmp/muster-enable-XXXXXX";
        REQUIRE(mkdtemp(name) != nullptr);
        path = name;
        mkdir((path + "/etc").c_str(), 0755);
        mkdir((path + "/etc/muster").c_str(), 0755);
    }
    ~Root() {
        for (const std::string& file : files)
            unlink(file.c_str());
        for (const char* each :
             {"/etc/muster/boot/disabled", "/etc/muster/boot", "/etc/muster/services/enabled",
              "/etc/muster/services", "/etc/muster", "/etc", ""})
            rmdir((path + each).c_str());
    }
    Value service(const char* text) {
        Value value = *preserves::parse_text(text);
        files.push_back(enabled_file(path, value));
        files.push_back(disabled_file(path, value));
        return value;
    }
};

std::string contents(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

} // namespace

TEST_CASE("enabling: a file that requires it comes, and goes when it is disabled") {
    Root root;
    Value sshd = root.service("<daemon sshd>");
    auto said = enable_service(root.path, sshd, {});
    REQUIRE(said);
    std::string file = root.path + "/etc/muster/services/enabled/sshd.pr";
    CHECK(*said == "sshd is enabled, by " + file);
    CHECK(contents(file) == "# muster enable sshd\n<require-service <daemon sshd>>\n");
    struct stat status {};
    REQUIRE(stat(file.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0644);
    CHECK(enable_service(root.path, sshd, {})->find("enabled already") != std::string::npos);

    std::string disabled = root.path + "/etc/muster/boot/disabled/sshd.pr";
    CHECK(*disable_service(root.path, sshd, {}) == "sshd is disabled, by " + disabled);
    CHECK_FALSE(exists(file));
    CHECK(contents(disabled) == "# muster disable sshd\n<disable-service <daemon sshd>>\n");
    CHECK(disable_service(root.path, sshd, {})->find("disabled already") != std::string::npos);
}

TEST_CASE("enabling: what its configuration has run is only not disabled any more") {
    Root root;
    Value sshd = root.service("<daemon sshd>");
    Standing standing;
    standing.needed = GENERATE(true, false);
    standing.started_by = !standing.needed;
    REQUIRE(disable_service(root.path, sshd, standing));
    auto said = enable_service(root.path, sshd, standing);
    REQUIRE(said);
    CHECK(said->find("sshd is not disabled any more; ") == 0);
    CHECK_FALSE(exists(enabled_file(root.path, sshd)));
    CHECK_FALSE(exists(disabled_file(root.path, sshd)));
}

TEST_CASE("enabling: what only an operator has run is enabled") {
    Root root;
    Value sshd = root.service("<daemon sshd>");
    Standing standing;
    standing.needed = standing.held_up = true;
    REQUIRE(enable_service(root.path, sshd, standing));
    CHECK(exists(enabled_file(root.path, sshd)));
    CHECK(disable_service(root.path, sshd, standing)->find("it runs until") != std::string::npos);
}

TEST_CASE("enabling: every name has a file of its own") {
    Root root;
    Value one = root.service("<daemon <getty \"ttyS0\">>");
    Value other = root.service("<daemon <getty ttyS0>>");
    CHECK(enabled_file("", one) ==
          "/etc/muster/services/enabled/%3Cdaemon%20%3Cgetty%20%22ttyS0%22%3E%3E.pr");
    CHECK(enabled_file("", one) != enabled_file("", other));
    CHECK(enabled_file("", root.service("<daemon =../../x>")).rfind('/') ==
          std::string("/etc/muster/services/enabled").size());
}

TEST_CASE("enabling: what cannot be written is an error") {
    Value sshd = *preserves::parse_text("<daemon sshd>");
    auto done = enable_service("/dev/null", sshd, {});
    REQUIRE_FALSE(done.ok());
    CHECK(done.error().message.find("/dev/null/etc/muster") != std::string::npos);
    CHECK(enabling_command("", true, "/nowhere/at/all", {"sshd"}) == 1);
}
