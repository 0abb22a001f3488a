// Any datagram, and any content of an attribute `uevent`: refused, or made into records.
#include <cstdlib>

#include "init/preserves/packed.h"
#include "netlink/records.h"

using namespace muster;
using namespace muster::netlink;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

void require_record(const preserves::Value& value, std::string_view label) {
    require(value.view().is_record(label, 3) && value.view().at(2).is(preserves::Kind::dictionary));
    require(preserves::scan(value.bytes()).canonical);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto event = parse_uevent(text)) {
        require(is_devpath(event->devpath) && event->devpath.find("/../") == std::string::npos);
        require_record(uevent_record(*event), "uevent");
    }
    const Properties properties = parse_uevent_attribute(text);
    const auto device = device_record(text, text, properties);
    require_record(device, "device");
    require(!device.view().at(2).get("SEQNUM").valid());
    return 0;
}
