#include "netlink/records.h"

#include "init/preserves/encoder.h"
#include "init/preserves/utf8.h"

namespace muster::netlink {

using preserves::Encoder;
using preserves::Value;

std::string_view make_utf8(std::string_view text, std::string& buffer) {
    if (preserves::is_utf8(text)) return text;
    buffer.clear();
    const char* at = text.data();
    const char* const end = at + text.size();
    while (at != end) {
        const uint32_t point = preserves::read_code_point(at, end);
        if (point == preserves::no_code_point) ++at;
        preserves::append_code_point(point == preserves::no_code_point ? 0xfffd : point, buffer);
    }
    return buffer;
}

namespace {

template <typename Leave>
void put_properties(Encoder& out, const Properties& properties, Leave leave) {
    std::string buffer;
    out.begin_dictionary();
    for (const Property& property : properties) {
        if (leave(property.key) || !preserves::is_utf8(property.key)) continue;
        out.symbol(property.key);
        out.string(make_utf8(property.value, buffer));
    }
    out.end();
}

// What is put in above is well-formed by construction.
Value finish(Encoder& out) {
    auto value = out.finish();
    return value ? *value : preserves::boolean(false);
}

} // namespace

Value device_record(std::string_view subsystem, std::string_view devpath,
                    const Properties& properties) {
    std::string buffer;
    Encoder out;
    out.begin_record();
    out.symbol("device");
    out.symbol(make_utf8(subsystem, buffer));
    out.string(make_utf8(devpath, buffer));
    put_properties(out, properties, is_about_event);
    out.end();
    return finish(out);
}

Value uevent_record(const Uevent& event) {
    Encoder out;
    out.begin_record();
    out.symbol("uevent");
    out.integer(static_cast<int64_t>(event.seqnum));
    out.symbol(event.action);
    put_properties(out, event.properties,
                   [](std::string_view key) { return key == "ACTION" || key == "SEQNUM"; });
    out.end();
    return finish(out);
}

Value coldplug_complete_record(uint64_t seqnum) {
    return preserves::record("coldplug-complete",
                             {preserves::integer(static_cast<int64_t>(seqnum))});
}

} // namespace muster::netlink
