#include "netlink/modprobe_config.h"

#include "netlink/test_peer.h"

using namespace muster::netlink;
using testing::Strings;

TEST_CASE("modprobe configuration: lines") {
    ModprobeConfig config;
    CHECK(config.add_line(""));
    CHECK(config.add_line("  # comment"));
    CHECK(config.add_line("blacklist snd-pcsp # why"));
    CHECK(config.add_line("alias net-pf-10 off"));
    CHECK(config.add_line("options e1000 a=1"));
    CHECK(config.add_line("options\te1000\tb=\"x y\" "));
    CHECK(config.add_line("softdep a-b pre: c d-e post: f"));
    CHECK(config.add_line("install x /bin/true"));
    CHECK(config.add_line("remove x /bin/true"));
    CHECK_FALSE(config.add_line("nonsense x"));
    CHECK_FALSE(config.add_line("blacklist"));
    CHECK_FALSE(config.add_line("alias x"));
    CHECK(config.blacklist == decltype(config.blacklist){"snd_pcsp"});
    CHECK(config.never == decltype(config.never){"x"});
    CHECK(config.options["e1000"] == "a=1 b=\"x y\"");
    CHECK(config.softdeps["a_b"].before == Strings{"c", "d_e"});
    CHECK(config.softdeps["a_b"].after == Strings{"f"});
}

TEST_CASE("modprobe configuration: the kernel's command line") {
    ModprobeConfig config;
    config.add_command_line("quiet root=/dev/vda1 modprobe.blacklist=a-b,,c .x=1 virtio_net.csum=0 "
                            "m.s=\"a b\" x.y init=a.b -- late.z=1\n");
    CHECK(config.blacklist == decltype(config.blacklist){"a_b", "c"});
    CHECK(config.options["virtio_net"] == "csum=0");
    CHECK(config.options["m"] == "s=\"a b\"");
    CHECK_FALSE(config.options.contains("late"));
    CHECK_FALSE(config.options.contains("root"));
}

TEST_CASE("modprobe configuration: folders, the first that has a file counts") {
    testing::Tree tree;
    tree.file("/etc/modprobe.d/b.conf", "blacklist etc\n");
    tree.file("/usr/lib/modprobe.d/b.conf", "blacklist usr\n");
    tree.file("/usr/lib/modprobe.d/c.conf", "options m \\\n a=1 \\\n b=2\nwhat is this");
    tree.file("/etc/modprobe.d/not", "blacklist not\n");
    tree.file("/m/modules.softdep", "softdep x pre: y\nodd line\n");
    const ModprobeConfig config = read_modprobe_config(tree.root(), tree.root() + "/m", false);
    CHECK(config.blacklist == decltype(config.blacklist){"etc"});
    CHECK(config.options.find("m")->second == "a=1  b=2");
    CHECK(config.softdeps.contains("x"));
}
