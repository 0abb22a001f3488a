#include "netlink/records.h"

#include "init/base/catch.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::netlink;
using preserves::to_text;

TEST_CASE("records: a device's dictionary is its state") {
    const Properties properties = {
        {"ACTION", "add"}, {"DEVPATH", "/devices/x"}, {"SUBSYSTEM", "block"}, {"DEVNAME", "vda"},
        {"SEQNUM", "7"},   {"SYNTH_UUID", "0"},       {"MAJOR", "254"}};
    CHECK(to_text(device_record("block", "/devices/x", properties)) ==
          "<device block \"/devices/x\" {MAJOR: \"254\", DEVNAME: \"vda\"}>");
    CHECK(to_text(device_record("a b", "/devices/y", {})) == "<device 'a b' \"/devices/y\" {}>");
}

TEST_CASE("records: an event's has everything else") {
    Uevent event;
    event.action = "move";
    event.devpath = "/devices/y";
    event.seqnum = 32663;
    event.properties = {
        {"ACTION", "move"}, {"SEQNUM", "32663"}, {"DEVPATH_OLD", "/devices/x"}, {"A", ""}};
    CHECK(to_text(uevent_record(event)) ==
          "<uevent 32663 move {A: \"\", DEVPATH_OLD: \"/devices/x\"}>");
    CHECK(to_text(coldplug_complete_record(5)) == "<coldplug-complete 5>");
}

TEST_CASE("records: bytes that are not UTF-8 are replaced, such keys left out") {
    CHECK(to_text(device_record("input", "/devices/i\xff",
                                {{"NAME", "\"caf\xe9 \xc3\xa9\""}, {"K\xff", "x"}})) ==
          "<device input \"/devices/i\xef\xbf\xbd\" "
          "{NAME: \"\\\"caf\xef\xbf\xbd \xc3\xa9\\\"\"}>");
    std::string buffer;
    CHECK(make_utf8("\xed\xa0\x80z", buffer) == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz");
    CHECK(make_utf8("\xe2\x82", buffer) == "\xef\xbf\xbd\xef\xbf\xbd");
}
