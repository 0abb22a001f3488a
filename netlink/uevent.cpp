#include "netlink/uevent.h"

#include <algorithm>

namespace muster::netlink {

namespace {

// More than the kernel has room for (UEVENT_NUM_ENVP is 64), so that looking for a key's earlier
// place stays cheap.
constexpr size_t max_properties = 256;

void put(Properties& properties, std::string_view line) {
    const size_t equals = line.find('=');
    if (equals == 0 || equals == std::string_view::npos) return;
    const Property property{line.substr(0, equals), line.substr(equals + 1)};
    for (Property& earlier : properties) {
        if (earlier.key == property.key) {
            earlier.value = property.value;
            return;
        }
    }
    if (properties.size() < max_properties) properties.push_back(property);
}

Properties split(std::string_view text, char separator) {
    Properties properties;
    while (!text.empty()) {
        const size_t end = std::min(text.find(separator), text.size());
        put(properties, text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return properties;
}

bool is_action(std::string_view word) {
    return !word.empty() &&
           std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

bool parse_number(std::string_view digits, uint64_t& number) {
    if (digits.empty() || digits.size() > 18) return false;
    number = 0;
    for (char c : digits) {
        if (c < '0' || c > '9') return false;
        number = number * 10 + static_cast<uint64_t>(c - '0');
    }
    return true;
}

} // namespace

bool is_devpath(std::string_view path) {
    if (path.size() < 2 || path[0] != '/') return false;
    while (!path.empty()) {
        path.remove_prefix(1);
        const size_t end = std::min(path.find('/'), path.size());
        const std::string_view part = path.substr(0, end);
        if (part.empty() || part == "." || part == "..") return false;
        if (part.find('\0') != std::string_view::npos) return false;
        path.remove_prefix(end);
    }
    return true;
}

bool is_about_event(std::string_view key) {
    return key == "ACTION" || key == "SEQNUM" || key == "DEVPATH" || key == "DEVPATH_OLD" ||
           key == "SUBSYSTEM" || key.starts_with("SYNTH_");
}

std::string_view find(const Properties& properties, std::string_view key) {
    for (const Property& property : properties) {
        if (property.key == key) return property.value;
    }
    return {};
}

Properties parse_uevent_attribute(std::string_view text) { return split(text, '\n'); }

Result<Uevent> parse_uevent(std::string_view message) {
    const size_t header = message.find('\0');
    if (header == std::string_view::npos || message.find('@') > header)
        return Error{"uevent: no ACTION@DEVPATH at the beginning"};
    Uevent event;
    event.properties = split(message.substr(header + 1), '\0');
    event.action = find(event.properties, "ACTION");
    event.devpath = find(event.properties, "DEVPATH");
    event.subsystem = find(event.properties, "SUBSYSTEM");
    if (!is_action(event.action)) return Error{"uevent: no ACTION"};
    if (!is_devpath(event.devpath)) return Error{"uevent: no DEVPATH"};
    if (!parse_number(find(event.properties, "SEQNUM"), event.seqnum))
        return Error{"uevent: no SEQNUM"};
    return event;
}

} // namespace muster::netlink
