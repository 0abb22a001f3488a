#include "netlink/devices.h"

#include "netlink/test_peer.h"

using namespace muster;
using namespace muster::netlink;
using namespace std::string_literals;
using testing::Strings;

namespace {

// A machine whose /sys is a folder, and what is told of it.
struct Machine : testing::Connection {
    testing::Tree tree;
    Sysfs sysfs{tree.root() + "/sys"};
    Strings driverless;
    std::optional<Devices> devices;
    uint64_t seqnum = 0;

    Machine() {
        tree.file("/sys/devices/x", "");
        devices.emplace(sysfs, *publisher, [this](std::string_view device, std::string_view alias) {
            driverless.push_back(std::string(device) + " " + std::string(alias));
        });
    }
    void event(const std::string& action, const std::string& devpath,
               const std::string& more = "") {
        const std::string text = action + "@" + devpath + "\0ACTION="s + action + "\0DEVPATH="s +
                                 devpath + "\0SUBSYSTEM=test\0"s + more + "SEQNUM="s +
                                 std::to_string(++seqnum) + "\0"s;
        const auto parsed = parse_uevent(text);
        REQUIRE(parsed.ok());
        devices->handle(*parsed);
    }
    void scan() {
        devices->scan([] {});
    }
};

} // namespace

TEST_CASE("devices: those in /sys, of buses and of classes") {
    Machine m;
    m.tree.file("/sys/devices/pci0/1/uevent", "MODALIAS=pci:1\n");
    m.tree.link("/sys/devices/pci0/1/subsystem", "../../../bus/pci");
    m.tree.link("/sys/bus/pci/devices/1", "../../../devices/pci0/1");
    m.tree.file("/sys/bus/pci/uevent", "");
    m.tree.device("/devices/pci0/1/net/eth0", "net", "INTERFACE=eth0\nIFINDEX=2\n");
    m.tree.file("/sys/class/net/bonding_masters", "");
    m.tree.file("/sys/devices/pci0/uevent", ""); // the root of a bus: no subsystem
    // What leads elsewhere is no device.
    m.tree.file("/elsewhere/uevent", "");
    m.tree.link("/elsewhere/subsystem", "x");
    m.tree.link("/sys/class/net/out", "../../../elsewhere");
    m.tree.link("/sys/class/net/outer", "../../devices/../../elsewhere");
    m.tree.link("/sys/class/net/gone", "../../devices/gone");
    m.tree.link("/sys/class/net/self", "self");
    m.scan();
    const Strings happened = m.happened();
    CHECK(happened ==
          Strings{"+<device pci \"/devices/pci0/1\" {MODALIAS: \"pci:1\"}>",
                  "+<device net \"/devices/pci0/1/net/eth0\" {IFINDEX: \"2\", INTERFACE: "
                  "\"eth0\"}>"});
    CHECK(m.driverless == Strings{"/devices/pci0/1 pci:1"});
}

TEST_CASE("devices: the same from a scan and from an event, without doubles") {
    Machine m;
    m.tree.device("/devices/a", "test", "DEVNAME=a\nMODALIAS=t:1\n");
    m.event("add", "/devices/a", "DEVNAME=a\0MODALIAS=t:1\0EXTRA=1\0"s);
    CHECK(m.happened() ==
          Strings{"+<device test \"/devices/a\" {DEVNAME: \"a\", MODALIAS: \"t:1\"}>",
                  "!<uevent 1 add {EXTRA: \"1\", DEVNAME: \"a\", DEVPATH: "
                  "\"/devices/a\", MODALIAS: \"t:1\", SUBSYSTEM: \"test\"}>"});
    m.scan();
    m.event("add", "/devices/a");
    m.event("change", "/devices/a", "DISK_MEDIA_CHANGE=1\0"s);
    m.event("bind", "/devices/a");
    for (const std::string& what : m.happened())
        CHECK(what.starts_with("!"));
    CHECK(m.peer.asserted().size() == 1);
}

TEST_CASE("devices: a change asserts the new before it retracts the old") {
    Machine m;
    m.tree.device("/devices/a", "test", "ONLINE=0\n");
    m.scan();
    m.happened();
    m.tree.device("/devices/a", "test", "ONLINE=1\nDRIVER=d\nMODALIAS=x\n");
    m.driverless.clear();
    m.event("change", "/devices/a");
    CHECK(m.happened() ==
          Strings{"+<device test \"/devices/a\" {DRIVER: \"d\", ONLINE: \"1\", MODALIAS: \"x\"}>",
                  "-<device test \"/devices/a\" {ONLINE: \"0\"}>",
                  "!<uevent 1 change {DEVPATH: \"/devices/a\", SUBSYSTEM: \"test\"}>"});
    m.event("add", "/devices/a");
    CHECK(m.driverless.empty()); // it has a driver
}

TEST_CASE("devices: remove, and remove of what is not known") {
    Machine m;
    m.tree.device("/devices/a", "test", "");
    m.scan();
    m.happened();
    m.event("remove", "/devices/a");
    CHECK(m.happened() ==
          Strings{"-<device test \"/devices/a\" {}>",
                  "!<uevent 1 remove {DEVPATH: \"/devices/a\", SUBSYSTEM: \"test\"}>"});
    m.event("remove", "/devices/a");
    CHECK(m.happened().size() == 1);
    CHECK(m.peer.asserted().empty());
}

TEST_CASE("devices: a move takes those below with it") {
    Machine m;
    m.tree.device("/devices/eth0", "net", "INTERFACE=eth0\n");
    m.tree.device("/devices/eth0/leds/green", "leds", "");
    m.tree.device("/devices/eth01", "net", "INTERFACE=eth01\n");
    m.scan();
    m.happened();
    m.tree.rename("/sys/devices/eth0", "/sys/devices/lan");
    m.tree.device("/devices/lan", "net", "INTERFACE=lan\n");
    m.event("move", "/devices/lan", "DEVPATH_OLD=/devices/eth0\0"s);
    const Strings happened = m.happened();
    REQUIRE(happened.size() == 5);
    CHECK(happened[0][0] == '+');
    CHECK(happened[1][0] == '+');
    CHECK(happened[2][0] == '-');
    CHECK(happened[3][0] == '-');
    CHECK(happened[4][0] == '!');
    CHECK(m.peer.asserted() == Strings{"<device leds \"/devices/lan/leds/green\" {}>",
                                       "<device net \"/devices/eth01\" {INTERFACE: \"eth01\"}>",
                                       "<device net \"/devices/lan\" {INTERFACE: \"lan\"}>"});
}

TEST_CASE("devices: what is not a device is only a message") {
    Machine m;
    m.tree.file("/sys/devices/eth0/queues/rx-0/rps", "");
    m.event("add", "/devices/eth0/queues/rx-0");
    m.event("add", "/module/loop");
    m.event("add", "/devices/gone/already");
    const Strings happened = m.happened();
    CHECK(happened.size() == 3);
    CHECK(m.peer.asserted().empty());
}

TEST_CASE("devices: a scan tells the difference") {
    Machine m;
    m.tree.device("/devices/a", "test", "");
    m.tree.device("/devices/b", "test", "N=1\n");
    m.tree.device("/devices/c", "test", "");
    m.scan();
    m.happened();
    m.tree.remove("/sys/devices/a");
    m.tree.device("/devices/b", "test", "N=2\n");
    m.tree.device("/devices/d", "test", "");
    m.scan();
    Strings happened = m.happened();
    std::sort(happened.begin(), happened.end());
    CHECK(happened ==
          Strings{"+<device test \"/devices/b\" {N: \"2\"}>", "+<device test \"/devices/d\" {}>",
                  "-<device test \"/devices/a\" {}>", "-<device test \"/devices/b\" {N: \"1\"}>"});
    m.scan();
    CHECK(m.happened().empty());
}

TEST_CASE("devices: without /sys the events have to do") {
    Machine m;
    m.tree.remove("/sys");
    m.scan();
    m.event("add", "/devices/a", "DEVNAME=a\0"s);
    m.event("change", "/devices/a", "DEVNAME=b\0"s);
    CHECK(m.peer.asserted().empty());
    m.happened();
    CHECK(m.peer.asserted() == Strings{"<device test \"/devices/a\" {DEVNAME: \"b\"}>"});
    m.event("move", "/devices/b", "DEVPATH_OLD=/devices/a\0"s);
    m.happened();
    CHECK(m.peer.asserted() == Strings{"<device test \"/devices/b\" {}>"});
    m.event("remove", "/devices/b");
    m.happened();
    CHECK(m.peer.asserted().empty());
}

TEST_CASE("devices: in a scan, what was said leaves now and then") {
    Machine m;
    for (int i = 0; i < 100; ++i)
        m.tree.device("/devices/" + std::to_string(i), "test", "");
    int pauses = 0;
    m.devices->scan([&] { ++pauses; });
    CHECK(pauses == 3);
    m.happened();
    CHECK(m.peer.asserted().size() == 100);
}
