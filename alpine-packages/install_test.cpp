// Installing into a root: order of scripts and triggers, where they run, what they cannot do, the
// database, files that are there already. With packages of our own and Debian's static busybox.
#include "alpine-packages/install.h"

#include <fcntl.h>

#include <algorithm>

#include "alpine-packages/repository.h"
#include "alpine-packages/root_files.h"
#include "alpine-packages/root_script.h"
#include "alpine-packages/test_package.h"
#include "init/base/catch.h"

using namespace muster::apk;

namespace {

// A package with scripts, read back as from a repository.
struct Made {
    std::string name;
    std::vector<test::Entry> files = {};
    std::vector<std::pair<std::string, std::string>> scripts = {}; // "post-install", text
    std::string more = "";
};

ToInstall make(const Made& made) {
    std::string data = test::gzip(test::tar(made.files, true));
    std::string info = "pkgname = " + made.name + "\npkgver = 1-r0\narch = x86_64\n" + made.more +
                       "datahash = " + hex(sha256(data)) + "\n";
    std::vector<test::Entry> control = {{.path = ".PKGINFO", .data = info, .sum = false}};
    for (const auto& [name, text] : made.scripts)
        control.push_back(
            {.path = "." + name, .data = "#!/bin/sh\n" + text, .mode = 0755, .sum = false});
    std::string middle = test::gzip(test::tar(control, false));
    auto package =
        read_package(test::signer().sign(middle, test::key_name) + middle + data, test::our_keys());
    REQUIRE(package.ok());
    std::string record =
        "C:" + package->identity + "\nP:" + made.name + "\nV:1-r0\nA:x86_64\nS:1\nI:1\n";
    return {std::move(*package), record};
}

ToInstall shell() {
    auto busybox = read_file(exists("/bin/busybox") ? "/bin/busybox" : "/usr/bin/busybox");
    REQUIRE(busybox.ok());
    return make({"shell",
                 {{.path = "bin/busybox", .data = *busybox, .mode = 0755},
                  {.path = "bin/sh", .type = '2', .target = "busybox", .mode = 0777}}});
}

std::string read(const std::string& path) {
    auto data = read_file(path);
    return data ? *data : "(" + data.error().message + ")";
}

} // namespace

TEST_CASE("installing: scripts and triggers in their order, inside the root") {
    test::Folder folder;
    std::vector<ToInstall> packages;
    packages.push_back(shell());
    std::string log = "/bin/busybox ";
    packages.push_back(make(
        {"first",
         {{.path = "usr/share/first/a", .data = "a"}},
         {{"pre-install", "/bin/busybox test ! -e /usr/share/first/a && echo pre first $* >>/log"},
          {"post-install", "/bin/busybox test -e /usr/share/first/a && echo post first $* >>/log"},
          {"trigger", "echo trigger $* >>/log; echo $PWD $PATH >>/log"}},
         "triggers = /usr/share/s* /opt\n"}));
    packages.push_back(make({"second",
                             {{.path = "usr/share/second/b", .data = "b"}},
                             {{"post-install", "echo post second >>/log; exit 3"}}}));
    InstallOptions options;
    options.world = {"second", "first"};
    options.repositories = {"https://example.org/main"};
    options.keys = {{"k.rsa.pub", "PEM"}};
    std::vector<std::string> notes;
    auto done = install(std::move(packages), folder / "root", options, notes);
    INFO((done.ok() ? "" : done.error().message));
    REQUIRE(done.ok());
    CHECK(read(folder / "root/log") == "pre first 1-r0\npost first 1-r0\npost second\n"
                                       "trigger /usr/share/second\n"
                                       "/ /usr/sbin:/usr/bin:/sbin:/bin\n");
    REQUIRE(notes.size() == 1);
    CHECK(notes[0] == "second-1-r0: post-install: exited with 3");
    CHECK(read(folder / "root/etc/apk/world") == "first\nsecond\n");
    CHECK(read(folder / "root/etc/apk/keys/k.rsa.pub") == "PEM");
    CHECK(read(folder / "root/etc/apk/repositories") == "https://example.org/main\n");
    std::string database = read(folder / "root/lib/apk/db/installed");
    CHECK(
        database.find("P:second\nV:1-r0\nA:x86_64\nS:1\nI:1\nf:s\nF:usr/share/second\nR:b\nZ:Q1") !=
        std::string::npos);
    CHECK(database.find("P:first") < database.find("P:second"));
    CHECK(read(folder / "root/lib/apk/db/triggers").ends_with(" /usr/share/s* /opt\n"));
    CHECK(list_folder(folder / "root/lib/apk/exec")->empty());
    CHECK(list_folder(folder / "root/dev")->empty()); // what scripts had there was theirs alone

    auto again = install({}, folder / "root", {}, notes);
    REQUIRE_FALSE(again.ok());
    CHECK(again.error().message.find("has packages installed already") != std::string::npos);
}

TEST_CASE("installing: a script reaches nothing outside the root") {
    test::Folder folder;
    REQUIRE(write_file(folder / "outside", "untouched").ok());
    std::vector<ToInstall> packages;
    packages.push_back(shell());
    packages.push_back(
        make({"hostile",
              {},
              {{"post-install",
                "b=/bin/busybox\n"
                "echo x >" +
                    folder.path() + "/outside; echo x >/proc/1/root" + folder.path() +
                    "/outside; echo x >../../../../.." + folder.path() +
                    "/outside\n"
                    "$b mknod /disk b 8 0 && echo device >>/log\n"
                    "$b mount -t tmpfs none /bin && echo mounted >>/log\n"
                    "$b hostname hacked && echo named >>/log\n"
                    "set -- $($b ps -o pid= | $b wc -l); [ $1 -lt 8 ] && echo alone >>/log\n"
                    "$b ip link 2>/dev/null | $b grep -q eth && echo network >>/log\n"
                    "echo >/dev/null && $b head -c 1 /dev/zero >/dev/null && echo dev >>/log\n"
                    "$b kill -9 -1; echo alive >>/log\n"}}}));
    std::vector<std::string> notes;
    auto done = install(std::move(packages), folder / "root", {}, notes);
    INFO((done.ok() ? "" : done.error().message));
    REQUIRE(done.ok());
    CHECK(read(folder / "outside") == "untouched");
    CHECK(read(folder / "root/log") == "alone\ndev\nalive\n");
}

TEST_CASE("installing: a script that does not end is ended, with all it started") {
    test::Folder folder;
    std::vector<ToInstall> packages;
    packages.push_back(shell());
    std::vector<std::string> notes;
    REQUIRE(install(std::move(packages), folder / "root", {}, notes).ok());
    REQUIRE(write_file(folder / "root/endless", "").ok());
    REQUIRE(std::filesystem::exists(folder / "root/bin/sh"));
    Leftovers leftovers;
    auto status =
        run_in_root(folder / "root", "/bin/sh",
                    {"-c", "/bin/busybox sleep 1000 & /bin/busybox sleep 1000"}, leftovers, 1);
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().message == "/bin/sh: took longer than 1 seconds");
    CHECK(*run_in_root(folder / "root", "/bin/sh", {"-c", "exit 7"}, leftovers) == 7);
    CHECK_FALSE(run_in_root(folder / "root", "/no/such/program", {}, leftovers).ok());
}

TEST_CASE("installing: links in the root lead nowhere else, and nothing is taken from others") {
    test::Folder folder;
    REQUIRE(make_folders(folder / "root/etc").ok());
    REQUIRE(make_folders(folder / "away").ok());
    REQUIRE(write_file(folder / "root/etc/mine.conf", "mine").ok());
    REQUIRE(write_file(folder / "root/etc/same.conf", "same").ok());
    REQUIRE(symlink("../../../../../../../tmp", (folder / "root/up").c_str()) == 0);
    auto package = [&] {
        return make({"files",
                     {{.path = "etc/mine.conf", .data = "theirs"},
                      {.path = "etc/same.conf", .data = "same"},
                      {.path = "srv/a", .data = "a", .mode = 04755},
                      {.path = "srv/b", .type = '1', .target = "srv/a"},
                      {.path = "up/x-muster-test", .data = "x"}}});
    };
    std::vector<ToInstall> packages;
    packages.push_back(package());
    std::vector<std::string> notes;
    auto done = install(std::move(packages), folder / "root", {}, notes);
    INFO((done.ok() ? "" : done.error().message));
    REQUIRE(done.ok());
    CHECK(read(folder / "root/etc/mine.conf") == "mine");
    CHECK(read(folder / "root/etc/mine.conf.apk-new") == "theirs");
    CHECK_FALSE(exists(folder / "root/etc/same.conf.apk-new"));
    CHECK(std::filesystem::hard_link_count(folder / "root/srv/a") == 2);
    CHECK_FALSE(exists("/tmp/x-muster-test"));
    CHECK(read(folder / "root/tmp/x-muster-test") == "x");

    // a link to a folder of the host is one to a folder that is not there
    REQUIRE(make_folders(folder / "linked").ok());
    REQUIRE(symlink((folder / "away").c_str(), (folder / "linked/srv").c_str()) == 0);
    packages.clear();
    packages.push_back(package());
    CHECK_FALSE(install(std::move(packages), folder / "linked", {}, notes).ok());
    CHECK(list_folder(folder / "away")->empty());

    // the same file in two packages is found before anything is written
    std::vector<ToInstall> two;
    two.push_back(make({"one", {{.path = "a", .data = "1"}}}));
    two.push_back(make({"two", {{.path = "a", .data = "2"}}}));
    auto refused = install(std::move(two), folder / "other", {}, notes);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().message == "a: is in one-1-r0 and in two-1-r0");
    CHECK(list_folder(folder / "other")->empty());
}
