#include "netlink/uevent.h"

#include "init/base/catch.h"

using namespace muster::netlink;
using namespace std::string_literals;

namespace {
const std::string plug = "add@/devices/pci0000:00/0000:00:03.0/virtio1/block/vda\0"
                         "ACTION=add\0"
                         "DEVPATH=/devices/pci0000:00/0000:00:03.0/virtio1/block/vda\0"
                         "SUBSYSTEM=block\0"
                         "MAJOR=254\0MINOR=0\0DEVNAME=vda\0DEVTYPE=disk\0SEQNUM=1234\0"s;

bool refused(const std::string& message) { return !parse_uevent(message).ok(); }
} // namespace

TEST_CASE("uevent: an event of the kernel") {
    const auto event = parse_uevent(plug);
    REQUIRE(event.ok());
    CHECK(event->action == "add");
    CHECK(event->devpath == "/devices/pci0000:00/0000:00:03.0/virtio1/block/vda");
    CHECK(event->subsystem == "block");
    CHECK(event->seqnum == 1234);
    CHECK(event->properties.size() == 8);
    CHECK(find(event->properties, "DEVNAME") == "vda");
    CHECK(find(event->properties, "DEVNAM").empty());
}

TEST_CASE("uevent: what is none is refused") {
    CHECK(refused(""));
    CHECK(refused("add"));
    CHECK(refused("add@/devices/x"));
    CHECK(refused("\0\0\0"s));
    CHECK(refused("libudev\0\xfe\xed\xca\xfe\0@"s));
    const auto with = [](const std::string& action, const std::string& path,
                         const std::string& number) {
        return "x@y\0ACTION="s + action + "\0DEVPATH="s + path + "\0SEQNUM="s + number + "\0"s;
    };
    CHECK_FALSE(refused(with("add", "/devices/x", "1")));
    CHECK(refused(with("", "/devices/x", "1")));
    CHECK(refused(with("ad d", "/devices/x", "1")));
    CHECK(refused(with("add", "devices/x", "1")));
    CHECK(refused(with("add", "/devices/../../etc", "1")));
    CHECK(refused(with("add", "/devices//x", "1")));
    CHECK(refused(with("add", "/devices/x/", "1")));
    CHECK(refused(with("add", "/devices/x", "")));
    CHECK(refused(with("add", "/devices/x", "-1")));
    CHECK(refused(with("add", "/devices/x", "1x")));
    CHECK(refused(with("add", "/devices/x", "99999999999999999999")));
}

TEST_CASE("uevent: cut off anywhere, it is refused or read without harm") {
    for (size_t i = 0; i < plug.size(); ++i)
        (void)parse_uevent(std::string_view(plug).substr(0, i));
    CHECK(refused(plug.substr(0, plug.size() - 7)));
}

TEST_CASE("uevent: of a key that comes twice the last counts, and odd lines are passed over") {
    const Properties properties =
        parse_uevent_attribute("A=1\nB\n=2\n\nC=\nA=3=4\nD=a b\nE=no line feed");
    REQUIRE(properties.size() == 4);
    CHECK(find(properties, "A") == "3=4");
    CHECK(find(properties, "C").empty());
    CHECK(find(properties, "D") == "a b");
    CHECK(find(properties, "E") == "no line feed");
    std::string many;
    for (int i = 0; i < 5000; ++i)
        many += "K" + std::to_string(i) + "=v\n";
    CHECK(parse_uevent_attribute(many).size() == 256);
}

TEST_CASE("uevent: what is about the event is no state of the device") {
    for (const char* key :
         {"ACTION", "SEQNUM", "SYNTH_UUID", "SYNTH_ARG_X", "DEVPATH", "DEVPATH_OLD", "SUBSYSTEM"})
        CHECK(is_about_event(key));
    for (const char* key : {"DEVNAME", "DEVTYPE", "MODALIAS", "SYNTH", "ACTIONS", ""})
        CHECK_FALSE(is_about_event(key));
}
