// What we write is what our own reader, which is strict, finds right. The real apk's word is in
// packages_test.sh.
#include "alpine-packages/package_write.h"

#include <sys/stat.h>
#include <unistd.h>

#include "alpine-packages/gzip.h"
#include "alpine-packages/index.h"
#include "alpine-packages/package.h"
#include "alpine-packages/repository_write.h"
#include "alpine-packages/test_package.h"
#include "init/base/catch.h"

namespace muster::apk {
using test::Folder;

namespace {

// A key of our own and the ring that trusts it.
struct Keys {
    test::Signer signer;
    PrivateKey own = *PrivateKey::from_pem(signer.private_pem(), "writer.rsa.pub");
    KeyRing ring;
    Keys() { REQUIRE(ring.trust("writer.rsa.pub", signer.public_pem())); }
};
Keys& keys() {
    static Keys one;
    return one;
}

void put(const std::string& path, std::string_view text, unsigned mode = 0644) {
    REQUIRE(make_folders(path.substr(0, path.rfind('/'))));
    REQUIRE(write_file(path, text));
    REQUIRE(chmod(path.c_str(), mode) == 0);
}

const std::string info = "pkgname = thing\npkgver = 1.2-r3\npkgdesc = A thing\narch = x86_64\n";

} // namespace

TEST_CASE("packages: what is written is read again") {
    Folder folder;
    std::string deep = "usr/share/" + std::string(90, 'd') + "/" + std::string(120, 'f');
    put(folder / ("files/" + deep), "far down");
    put(folder / "files/usr/bin/thing", "#!/bin/sh\necho thing\n", 0755);
    REQUIRE(symlink("thing", (folder / "files/usr/bin/other").c_str()) == 0);
    put(folder / "scripts/thing.post-install", "#!/bin/sh\nexit 0\n", 0600);
    put(folder / "scripts/another.post-install", "#!/bin/sh\nexit 1\n");
    PackageParts parts{info, folder / "files", folder / "scripts", 1700000000};
    auto file = write_package(parts, keys().own);
    REQUIRE(file);

    auto package = read_package(*file, keys().ring);
    REQUIRE(package);
    CHECK(package->info.full_name() == "thing-1.2-r3");
    CHECK(package->info.provides ==
          std::vector<std::string>{"cmd:other=1.2-r3", "cmd:thing=1.2-r3"});
    CHECK(package->info.depends == std::vector<std::string>{"/bin/sh"});
    REQUIRE(package->control.size() == 2);
    CHECK(package->control[1].path == ".post-install");
    CHECK(package->control[1].mode == 0755);
    REQUIRE(package->files.size() == 7);
    CHECK(package->files[0].path == "usr");
    CHECK(package->files[2].target == "thing");
    CHECK(package->files[2].sha1 == sha1("thing"));
    CHECK(package->files[3].mode == 0755);
    CHECK(package->files[6].path == deep);
    CHECK(package->files[6].mtime == 1700000000);
    CHECK(*write_package(parts, keys().own) == *file);
}

TEST_CASE("packages: without files") {
    auto file = write_package({info, "", "", 0}, keys().own);
    REQUIRE(file);
    auto package = read_package(*file, keys().ring);
    REQUIRE(package);
    CHECK(package->files.empty());
    // 0 would mean to apk that there is nothing to install, scripts neither
    CHECK(package->control[0].data.find("size = 1\n") != std::string_view::npos);
}

TEST_CASE("packages: what cannot be in one is refused by name") {
    Folder folder;
    put(folder / "files/etc/thing", "");
    auto error = [&](const std::string& lines) {
        auto file = write_package({lines, folder / "files", folder / "scripts", 0}, keys().own);
        return file ? "" : file.error().message;
    };
    CHECK(error(info) == "");
    CHECK(error("pkgname = x\n") == ".PKGINFO: no name or no version");
    CHECK(error("pkgname\n") == ".PKGINFO line 1: not \"key = value\"");

    put(folder / "scripts/thing.trigger", "echo\n");
    CHECK(error(info) == (folder / "scripts/thing.trigger: does not begin with #!/"));
    unlink((folder / "scripts/thing.trigger").c_str());

    SECTION("a link out of the root") {
        REQUIRE(symlink("../../etc", (folder / "files/etc/up").c_str()) == 0);
        CHECK(error(info) == (folder / "files/etc/up: leads out of the root"));
    }
    SECTION("a pipe") {
        REQUIRE(mkfifo((folder / "files/etc/pipe").c_str(), 0644) == 0);
        CHECK(error(info) ==
              (folder / "files/etc/pipe: neither a file nor a folder nor a symbolic link"));
    }
    SECTION("a name that apk skips") {
        put(folder / "files/.hidden", "");
        CHECK(error(info) == (folder / "files/.hidden: apk skips such names at the top"));
    }
}

TEST_CASE("packages: an index of them") {
    auto file = write_package(
        {info + "provides = virtual\nprovider_priority = 7\nlicense = MIT\n", "", "", 0},
        keys().own);
    REQUIRE(file);
    auto record = index_record(*file, "x86_64");
    REQUIRE(record);
    auto members = split_gzip(*file, 1 << 20);
    CHECK(*record == "C:" + q1(sha1((*members)[1].compressed)) +
                         "\nP:thing\nV:1.2-r3\nA:x86_64\nS:" + std::to_string(file->size()) +
                         "\nI:1\nT:A thing\nL:MIT\nk:7\np:virtual\n\n");
    CHECK(index_record(*file, "aarch64").error().message == "is for x86_64, not for aarch64");
    CHECK_FALSE(index_record(file->substr(0, file->size() - 9), "x86_64"));

    auto index = write_index({*record}, "test", 0, keys().own);
    REQUIRE(index);
    auto entries = read_index(*index, &keys().ring);
    REQUIRE(entries);
    REQUIRE(entries->size() == 1);
    CHECK(entries->front().full_name() == "thing-1.2-r3");
    CHECK(entries->front().provider_priority == 7);
    KeyRing others;
    REQUIRE(others.trust("writer.rsa.pub", test::signer().public_pem()));
    CHECK_FALSE(read_index(*index, &others));
}

TEST_CASE("packages: keys that cannot sign") {
    CHECK(PrivateKey::from_pem("nothing", "x").error().message ==
          "not a private key in PEM without a password");
    CHECK_FALSE(PrivateKey::from_pem(keys().signer.public_pem(), "x"));
}

} // namespace muster::apk
