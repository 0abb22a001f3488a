// Descriptions of images: what a person writes, and what they are told when it is wrong.
#include "initrd/image_description.h"

#include "alpine-packages/files.h"
#include "init/base/catch.h"

namespace muster::image {
namespace {

std::string error(const std::string& text) {
    auto out = parse_description(text, "x.image", "/here");
    return out ? "" : out.error().message;
}

} // namespace

TEST_CASE("image: a description") {
    auto out = parse_description("# all of it\n"
                                 "layout disk\n"
                                 "size 300M # enough\n"
                                 "packages busybox  musl>=1.2\n"
                                 "packages e2fsprogs\n"
                                 "service sshd /usr/sbin/sshd -D -e\n"
                                 "service crond\n"
                                 "user ann groups=wheel,audio password=\n"
                                 "user root uid=0 shell=/bin/ash\n"
                                 "key ann ssh-ed25519 AAAA ann@home\n"
                                 "network eth0 dhcp\n"
                                 "network eth1 address=10.0.2.15/24 gateway=10.0.2.2 dns=10.0.2.3\n"
                                 "file motd /etc/motd 600\n"
                                 "file /etc/hosts /etc/hosts\n"
                                 "hostname box\n"
                                 "kernel quiet\n"
                                 "kernel \"a b\"\n",
                                 "x.image", "/here");
    REQUIRE(out);
    CHECK_FALSE(out->in_memory);
    CHECK(out->size == std::uint64_t{300} << 20);
    CHECK(out->packages == std::vector<std::string>{"busybox", "musl>=1.2", "e2fsprogs"});
    REQUIRE(out->services.size() == 2);
    CHECK(out->services[0].command == "/usr/sbin/sshd -D -e");
    CHECK(out->services[1].command.empty());
    REQUIRE(out->users.size() == 2);
    CHECK(out->users[0].uid == 1000);
    CHECK(out->users[0].home == "/home/ann");
    CHECK(out->users[0].groups == std::vector<std::string>{"wheel", "audio"});
    CHECK(out->users[0].password.empty());
    CHECK(out->users[1].home == "/root");
    CHECK(out->users[1].password == "*");
    REQUIRE(out->keys.size() == 1);
    CHECK(out->keys[0].text == "ssh-ed25519 AAAA ann@home");
    REQUIRE(out->networks.size() == 2);
    CHECK(out->networks[0].dhcp);
    CHECK(out->networks[1].address == "10.0.2.15/24");
    REQUIRE(out->files.size() == 2);
    CHECK(out->files[0].host == "/here/motd");
    CHECK(out->files[0].mode == 0600);
    CHECK(out->files[1].host == "/etc/hosts");
    CHECK(out->kernel == "quiet a b");
}

TEST_CASE("image: a service's command is one for the shell") {
    auto command = [](const std::string& words) {
        auto out = parse_description("packages busybox\nservice x " + words + "\n", "x", ".");
        return out && out->services.size() == 1 ? out->services[0].command : "wrong";
    };
    CHECK(command("httpd -f -p 80") == "httpd -f -p 80");
    CHECK(command("\"cd '/a b' && exec httpd\"") == "cd '/a b' && exec httpd");
    CHECK(command("cd /srv && httpd") == "cd /srv && httpd");
    CHECK(command("sh -c \"cd /srv && echo it's\"") == "sh -c 'cd /srv && echo it'\\''s'");
}

TEST_CASE("image: in memory, /etc is kept in any case") {
    auto out = parse_description("layout memory\npackages busybox\n", "x", ".");
    REQUIRE(out);
    CHECK(out->keep == std::vector<std::string>{"/etc"});
    CHECK(out->size == std::uint64_t{16} << 20);
    out = parse_description("layout memory\npackages busybox\nkeep /srv /etc\n", "x", ".");
    REQUIRE(out);
    CHECK(out->keep == std::vector<std::string>{"/srv", "/etc"});
    out = parse_description("layout memory\npackages busybox\nkeep /srv /etc/ssh /srv\n", "x", ".");
    REQUIRE(out);
    CHECK(out->keep == std::vector<std::string>{"/srv", "/etc"});
}

TEST_CASE("image: what is wrong is said with its line") {
    CHECK(error("") == "x.image: no packages");
    CHECK(error("packages busybox\nkeep /etc\n") == "x.image: keep is for layout memory");
    CHECK(error("\nlayout tape\n") == "x.image:2: layout is disk or memory");
    CHECK(error("layout disk\nlayout disk\n") == "x.image:2: layout is given twice");
    CHECK(error("size 12\n") == "x.image:1: size is a number with M or G behind it");
    CHECK(error("size 99999999999G\n") == "x.image:1: size is a number with M or G behind it");
    CHECK(error("packages\n") == "x.image:1: packages needs a value");
    CHECK(error("pacakges x\n") == "x.image:1: \"pacakges\" is not known");
    CHECK(error("user a:b\n") == "x.image:1: user needs a name");
    CHECK(error("user a uid=-1\n") == "x.image:1: uid=-1 is no number");
    CHECK(error("user a colour=red\n") == "x.image:1: \"colour=red\" is not known after user");
    CHECK(error("user a home=/x home=/y\n") == "x.image:1: home is given twice");
    CHECK(error("user a home=../x\n") == "x.image:1: home and shell are absolute paths");
    CHECK(error("user a\nuser a\n") == "x.image:2: user a is given twice");
    CHECK(error("key a\n") == "x.image:1: key needs a user and a line of authorized_keys");
    for (std::string line :
         {"eth0 address=10.0.2.300/24", "eth0 address=10.0.2.3", "eth0 address=10.0.2/24",
          "eth0 gateway=10.0.2.2", "eth0 dhcp address=10.0.2.3/24", "eth0 address=10.0.2.3/33"})
        CHECK(error("network " + line + "\n") ==
              "x.image:1: network needs either dhcp or address=ADDRESS/PREFIX");
    CHECK(error("network eth0 address=10.0.2.3/24 gateway=x\n") ==
          "x.image:1: gateway=x is no address");
    CHECK(error("file motd etc/motd\n") ==
          "x.image:1: file needs a name here, an absolute one there, and maybe a mode");
    CHECK(error("file motd /etc/motd 888\n") ==
          "x.image:1: mode 888 is no octal number of permissions");
    CHECK(error("keep /a/../b\n") == "x.image:1: /a/../b is no absolute path");
    CHECK(error("service \"x\n") == "x.image:1: a \" without another one");
}

TEST_CASE("image: the one that is there can be read") {
    for (std::string name : {"initrd/muster.image"}) {
        auto text = apk::read_file(name);
        REQUIRE(text);
        auto out = parse_description(*text, name, "initrd");
        INFO((out ? "" : out.error().message));
        CHECK(out);
    }
}

} // namespace muster::image
