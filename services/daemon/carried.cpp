#include "services/daemon/carried.h"

#include <limits>

#include "init/preserves/encoder.h"
#include "init/preserves/utf8.h"

namespace muster::services {

using preserves::Kind;

namespace {

// Of what fits into T; else `otherwise`.
template <typename T>
T number(preserves::View value, T otherwise) {
    const auto given = value.as_int();
    if (!given || *given < static_cast<int64_t>(std::numeric_limits<T>::min())) return otherwise;
    if constexpr (sizeof(T) < sizeof(int64_t))
        if (*given > static_cast<int64_t>(std::numeric_limits<T>::max())) return otherwise;
    return static_cast<T>(*given);
}

std::string text_at(preserves::View dictionary, std::string_view key) {
    return bytes_of(dictionary.get(key));
}

SlotRef slot_of(preserves::View dictionary) {
    return {number<uint32_t>(dictionary.get("slot"), 0),
            number<uint32_t>(dictionary.get("generation"), 0)};
}

CommandPlace place_at(preserves::View dictionary, std::string_view key) {
    CommandPlace place;
    preserves::View from = dictionary.get(key);
    if (!from.is(Kind::dictionary)) return place;
    place.what = text_at(from, "what");
    place.at = number<size_t>(from.get("at"), 0);
    place.slot = slot_of(from);
    if (preserves::View status = from.get("status"); status.valid())
        place.status = number<int>(status, -1);
    return place;
}

} // namespace

preserves::Value text_value(std::string_view bytes) {
    if (preserves::is_utf8(bytes)) return preserves::string(bytes);
    return preserves::byte_string({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

std::string bytes_of(preserves::View text) {
    if (auto string = text.as_string()) return std::string(*string);
    if (auto bytes = text.as_bytes())
        return {reinterpret_cast<const char*>(bytes->data()), bytes->size()};
    return {};
}

bool Carried::empty() const {
    return starts.empty() && says.empty() && !reloading && last.empty() && !failure &&
           before == 0 && commands.what.empty() && logger.what.empty() && main.generation == 0 &&
           !main_status;
}

preserves::Value Carried::encode() const {
    preserves::Encoder out;
    auto integer = [&](std::string_view key, uint64_t value) {
        out.symbol(key);
        out.integer(static_cast<int64_t>(value));
    };
    auto text = [&](std::string_view key, const std::string& value) {
        out.symbol(key);
        out.value(text_value(value));
    };
    auto place = [&](std::string_view key, const CommandPlace& of) {
        if (of.what.empty()) return;
        out.symbol(key);
        out.begin_dictionary();
        integer("at", of.at);
        if (of.slot.generation != 0) integer("slot", of.slot.index);
        text("what", of.what);
        if (of.status) {
            out.symbol("status");
            out.integer(*of.status);
        }
        if (of.slot.generation != 0) integer("generation", of.slot.generation);
        out.end();
    };
    // In the order of the encoding: nothing has to be sorted.
    out.begin_dictionary();
    if (!last.empty()) text("last", last);
    if (main.generation != 0 || main_status) {
        out.symbol("main");
        out.begin_dictionary();
        if (main.generation != 0) integer("slot", main.index);
        if (main_status) {
            out.symbol("status");
            out.integer(*main_status);
        }
        if (main.generation != 0) integer("generation", main.generation);
        out.end();
    }
    if (!says.empty()) text("says", says);
    if (before > 0) integer("before", before);
    place("logger", logger);
    if (!starts.empty()) {
        out.symbol("starts");
        out.begin_sequence();
        for (uint64_t each : starts)
            out.integer(static_cast<int64_t>(each));
        out.end();
    }
    if (failure) {
        out.symbol("failure");
        out.begin_dictionary();
        text("how", failure->how);
        out.symbol("lines");
        out.begin_sequence();
        for (const std::string& line : failure->lines)
            out.value(text_value(line));
        out.end();
        out.symbol("status");
        out.integer(failure->status);
        out.end();
    }
    place("commands", commands);
    if (reloading) {
        out.symbol("reloading");
        out.boolean(true);
    }
    out.end();
    return *out.finish();
}

Carried Carried::decode(preserves::View from) {
    Carried carried;
    if (!from.is(Kind::dictionary)) return carried;
    if (preserves::View starts = from.get("starts"); starts.is(Kind::sequence))
        for (preserves::View each : starts.items())
            carried.starts.push_back(number<uint64_t>(each, 0));
    carried.says = text_at(from, "says");
    carried.reloading = from.get("reloading").as_bool().value_or(false);
    carried.last = text_at(from, "last");
    if (preserves::View failure = from.get("failure"); failure.is(Kind::dictionary)) {
        carried.failure.emplace();
        carried.failure->how = text_at(failure, "how");
        carried.failure->status = number<int>(failure.get("status"), 0);
        if (preserves::View lines = failure.get("lines"); lines.is(Kind::sequence))
            for (preserves::View each : lines.items())
                carried.failure->lines.push_back(bytes_of(each));
    }
    carried.before = number<size_t>(from.get("before"), 0);
    carried.commands = place_at(from, "commands");
    carried.logger = place_at(from, "logger");
    if (preserves::View main = from.get("main"); main.is(Kind::dictionary)) {
        carried.main = slot_of(main);
        if (preserves::View status = main.get("status"); status.valid())
            carried.main_status = number<int>(status, -1);
    }
    return carried;
}

} // namespace muster::services
