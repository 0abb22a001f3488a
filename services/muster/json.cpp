#include "services/muster/json.h"

#include <cstdio>

#include "init/preserves/utf8.h"

namespace muster::command {

void Json::separate() {
    if (after_key_) {
        after_key_ = false;
        return;
    }
    if (!first_) text_ += open_.size() == 1 ? "," : ", ";
    if (open_ == "]") text_ += "\n  ";
}

Json& Json::begin(char open, char close) {
    separate();
    text_ += open;
    open_ += close;
    first_ = true;
    return *this;
}

Json& Json::end() {
    if (open_ == "]" && !first_) text_ += '\n';
    text_ += open_.back();
    open_.pop_back();
    first_ = false;
    return *this;
}

Json& Json::key(std::string_view name) {
    if (!first_) text_ += ", ";
    first_ = false;
    quoted(name);
    text_ += ": ";
    after_key_ = true;
    return *this;
}

Json& Json::string(std::string_view text) {
    separate();
    first_ = false;
    quoted(text);
    return *this;
}

Json& Json::integer(int64_t value) {
    separate();
    first_ = false;
    text_ += std::to_string(value);
    return *this;
}

Json& Json::seconds(uint64_t us) {
    separate();
    first_ = false;
    char text[40];
    std::snprintf(text, sizeof text, "%llu.%06llu", static_cast<unsigned long long>(us / 1'000'000),
                  static_cast<unsigned long long>(us % 1'000'000));
    text_ += text;
    return *this;
}

Json& Json::boolean(bool value) {
    separate();
    first_ = false;
    text_ += value ? "true" : "false";
    return *this;
}

Json& Json::null() {
    separate();
    first_ = false;
    text_ += "null";
    return *this;
}

void Json::quoted(std::string_view text) {
    bool whole = preserves::is_utf8(text);
    text_ += '"';
    for (char each : text) {
        auto byte = static_cast<uint8_t>(each);
        if (each == '"' || each == '\\') {
            text_ += '\\';
            text_ += each;
        } else if (byte < 0x20 || byte == 0x7f) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", byte);
            text_ += escape;
        } else if (byte >= 0x80 && !whole) {
            text_ += "\\ufffd";
        } else {
            text_ += each;
        }
    }
    text_ += '"';
}

} // namespace muster::command
