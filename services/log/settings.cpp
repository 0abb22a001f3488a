#include "services/log/settings.h"

#include "init/base/byte_size.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"

namespace muster::logs {

using preserves::View;
namespace pat = dataspace::pattern;

namespace {

Error wrong(View key, View value, const char* expected) {
    return Error{"log: " + preserves::to_text(key) + ": " + preserves::to_text(value) + " is not " +
                 expected};
}

Result<> parse_entry(View key, View value, Rotation& rotation) {
    int64_t number = value.as_int().value_or(-1);
    if (key.is_symbol("size")) {
        if (auto text = value.as_text())
            number = static_cast<int64_t>(byte_size(*text).value_or(0));
        if (number < 4096 || number > (int64_t(1) << 40))
            return wrong(key, value, "a number of bytes from 4096 on, or as in \"64K\"");
        rotation.size_kib = static_cast<uint32_t>(number / 1024);
    } else if (key.is_symbol("number")) {
        if (number < 1 || number > 10'000) return wrong(key, value, "a number from 1 to 10000");
        rotation.number = static_cast<uint16_t>(number);
    } else if (key.is_symbol("age")) {
        if (number < 3600 || number > int64_t(1'000'000'000))
            return wrong(key, value, "a number of seconds from 3600 on");
        rotation.age_hours = static_cast<uint32_t>(number / 3600);
    } else {
        return Error{"log: unknown field " + preserves::to_text(key)};
    }
    return {};
}

} // namespace

Result<Rotation> parse_rotation(View value) {
    Rotation rotation;
    if (value.is_symbol("none")) {
        rotation.none = 1;
        return rotation;
    }
    if (!value.is(preserves::Kind::dictionary))
        return Error{"log: " + preserves::to_text(value) + " is neither none nor a dictionary"};
    View key;
    for (View item : value.items()) {
        if (!key.valid()) {
            key = item;
            continue;
        }
        if (auto entry = parse_entry(key, item, rotation); !entry) return entry.error();
        key = View();
    }
    return rotation;
}

void serve_settings(dataspace::Turn& turn, const dataspace::CapRef& config, Journal& journal,
                    std::function<void(const std::string&)> report) {
    observe(
        turn, config, pat::record("log-files", {pat::bind()}),
        [&journal, report](dataspace::Turn&, View seen) {
            auto rotation = parse_rotation(seen.at(0));
            if (!rotation) return report("<log-files …>: " + rotation.error().message);
            journal.set_default(*rotation);
        },
        [&journal](dataspace::Turn&, View) { journal.set_default({}); });
}

} // namespace muster::logs
