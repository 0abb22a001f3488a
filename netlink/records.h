// The records that netlink asserts and sends, as values.
//
// All text becomes UTF-8: a byte that belongs to no well-formed character is replaced by U+FFFD.
// Properties whose key is not UTF-8 are left out.
#pragma once

#include "init/preserves/value.h"
#include "netlink/uevent.h"

namespace muster::netlink {

// <device SUBSYSTEM "devpath" {KEY: "value" …}>, without what is about the event (is_about_event).
preserves::Value device_record(std::string_view subsystem, std::string_view devpath,
                               const Properties& properties);

// <uevent SEQNUM ACTION {KEY: "value" …}>, with all keys but ACTION and SEQNUM.
preserves::Value uevent_record(const Uevent& event);

// <coldplug-complete SEQNUM>
preserves::Value coldplug_complete_record(uint64_t seqnum);

// `text` itself if it is UTF-8, else what became of it in `buffer`.
std::string_view make_utf8(std::string_view text, std::string& buffer);

} // namespace muster::netlink
