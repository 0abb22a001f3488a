#include "netlink/module_tables.h"

#include "netlink/test_peer.h"

using namespace muster;
using namespace muster::netlink;
using testing::Strings;

namespace {

struct Tables : testing::Tree {
    std::string folder = root() + "/lib/modules/6.1.0";
    ModprobeConfig config;

    void alias(const std::string& text) { file("/lib/modules/6.1.0/modules.alias", text); }
    void dep(const std::string& text) { file("/lib/modules/6.1.0/modules.dep", text); }
    Strings names(const Strings& aliases) {
        std::vector<ModuleRequest> requests;
        for (const std::string& alias : aliases)
            requests.push_back({"/devices/" + std::to_string(requests.size()), alias});
        Strings names;
        for (const ModuleToLoad& module : modules_for(requests, folder, config))
            names.push_back(module.name);
        return names;
    }
};

} // namespace

TEST_CASE("module tables: what a module depends on comes first, each once") {
    Tables t;
    t.alias("# comment\n"
            "alias virtio:d00000002v* virtio_blk\n"
            "alias virtio:d00000001v* virtio-net\n"
            "alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci\n");
    t.dep("kernel/drivers/virtio/virtio.ko:\n"
          "kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko\n"
          "kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko "
          "kernel/drivers/virtio/virtio.ko\n"
          "kernel/drivers/net/virtio_net.ko.xz: kernel/net/core/failover.ko.xz "
          "kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n"
          "kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio_ring.ko "
          "kernel/drivers/virtio/virtio.ko\n");
    CHECK(t.names({"virtio:d00000002v00001AF4"}) == Strings{"virtio", "virtio_ring", "virtio_blk"});
    CHECK(t.names({"pci:v00001AF4d00001000sv1sd1bc02sc00i00", "virtio:d00000001v00001AF4",
                   "virtio:d00000002v00001AF4", "acpi:PNP0C0A:"}) ==
          Strings{"virtio", "virtio_ring", "virtio_pci", "failover", "virtio_net", "virtio_blk"});
    const std::vector<ModuleRequest> one = {{"/devices/x", "virtio:d00000001v1"}};
    t.config.add_line("options virtio-net napi_weight=64 csum=1");
    const auto load = modules_for(one, t.folder, t.config);
    REQUIRE(load.size() == 4);
    CHECK(load[3] == ModuleToLoad{"virtio_net", t.folder + "/kernel/drivers/net/virtio_net.ko.xz",
                                  "napi_weight=64 csum=1", "/devices/x"});
}

TEST_CASE("module tables: several modules for one alias, without those that are blacklisted") {
    Tables t;
    t.alias("alias x:* a\nalias x:1 b\nalias x:?* c\nalias x:1 a\n");
    t.dep("a.ko:\nb.ko: a.ko\nc.ko:\n");
    CHECK(t.names({"x:1"}) == Strings{"a", "b", "c"});
    t.config.add_line("blacklist a");
    CHECK(t.names({"x:1"}) == Strings{"a", "b", "c"}); // b needs it
    t.config.add_line("blacklist b");
    CHECK(t.names({"x:1"}) == Strings{"c"});
    t.config.add_line("install c /bin/false");
    CHECK(t.names({"x:1"}).empty());
}

TEST_CASE("module tables: soft dependencies, by name or by alias, before and after") {
    Tables t;
    t.alias("alias fs-x xfs\nalias crypto-crc32c crc32c_generic\nalias crc32c crc32c_intel\n");
    t.dep("/abs/xfs.ko: lib/libcrc32c.ko\nlib/libcrc32c.ko:\nlib/crc32c_generic.ko:\n"
          "lib/crc32c_intel.ko: lib/helper.ko\nlib/helper.ko:\nlib/later.ko:\n");
    t.config.add_line("softdep libcrc32c pre: crypto-crc32c crc32c not-there");
    t.config.add_line("softdep xfs ignored post: later");
    CHECK(t.names({"fs-x"}) ==
          Strings{"crc32c_generic", "helper", "crc32c_intel", "libcrc32c", "xfs", "later"});
    const std::vector<ModuleRequest> one = {{"", "fs-x"}};
    CHECK(modules_for(one, t.folder, t.config)[4].path == "/abs/xfs.ko");
}

TEST_CASE("module tables: circles and nonsense end") {
    Tables t;
    t.alias("alias a:* a\nalias\nalias \nalias b:*\nalia\n\0\xff\xff\n" +
            std::string(100'000, 'x') +
            "\nalias [ never\nalias * a\nalias loop loop2\n"
            "alias loop2 loop\nalias q:* loop");
    t.dep("a.ko: b.ko a.ko\nb.ko: a.ko\n:\n: :\nnonsense\n.ko: \n/\n" + std::string(70'000, 'y') +
          ":\nc.ko:");
    t.config.add_line("softdep a pre: b post: a");
    t.config.add_line("softdep b pre: a");
    CHECK(t.names({"a:1"}) == Strings{"b", "a"});
    CHECK(t.names({"q:1"}) == Strings{"b", "a"}); // by "*"; the circle of aliases is nothing
    CHECK(t.names({""}) == Strings{"b", "a"});
    t.remove("/lib");
    CHECK(t.names({"a:1"}).empty());
}

TEST_CASE("module tables: those of a real kernel can be read") {
    // The virtual machine's, which the initrd is made with, or this system's own.
    for (const char* all : {"build/initrd/modules", "/lib/modules"}) {
        std::error_code none; // then there is nothing to look through
        for (const auto& entry : std::filesystem::directory_iterator(all, none)) {
            const std::string folder = entry.path();
            if (!std::filesystem::exists(folder + "/modules.dep")) continue;
            const std::vector<ModuleRequest> requests = {
                {"/devices/x", "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00"}};
            for (const auto& module : modules_for(requests, folder, ModprobeConfig()))
                CHECK(std::filesystem::exists(module.path));
            return;
        }
    }
    muster::test::skip("no modules are installed");
}
