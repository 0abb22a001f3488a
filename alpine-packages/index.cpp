#include "alpine-packages/index.h"

#include <algorithm>
#include <charconv>

#include "alpine-packages/gzip.h"
#include "alpine-packages/package.h"
#include "alpine-packages/tar.h"

namespace muster::apk {
namespace {

constexpr std::size_t largest_index = std::size_t{512} << 20; // bytes, unpacked

std::vector<std::string> words(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        std::size_t size = std::min(text.find(' '), text.size());
        if (size > 0) out.emplace_back(text.substr(0, size));
        text.remove_prefix(std::min(size + 1, text.size()));
    }
    return out;
}

template <typename Number>
bool read_number(std::string_view text, Number& out) {
    auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), out);
    return wrong == std::errc() && end == text.data() + text.size();
}

// The name becomes part of a path and of messages.
bool plain(std::string_view text) {
    return !text.empty() && text.front() != '.' &&
           std::all_of(text.begin(), text.end(),
                       [](char c) { return c > ' ' && c < 127 && c != '/'; });
}

// One "X:value" line; "" or what is wrong.
std::string take_line(std::string_view line, IndexEntry& entry) {
    if (line.size() < 2 || line[1] != ':') return "not \"X:value\"";
    std::string_view value = line.substr(2);
    switch (line[0]) {
    case 'P':
        entry.name = value;
        break;
    case 'V':
        entry.version = value;
        break;
    case 'A':
        entry.arch = value;
        break;
    case 'C':
        entry.identity = value;
        break;
    case 'o':
        entry.origin = value;
        break;
    case 'D':
        entry.depends = words(value);
        break;
    case 'p':
        entry.provides = words(value);
        break;
    case 'S':
        if (!read_number(value, entry.size)) return "S: is no number";
        break;
    case 'k': {
        int priority = 0;
        if (!read_number(value, priority)) return "k: is no number";
        entry.provider_priority = priority;
        break;
    }
    default:
        break;
    }
    return "";
}

} // namespace

Result<std::vector<IndexEntry>> parse_index(std::string_view text) {
    std::vector<IndexEntry> entries;
    IndexEntry entry;
    bool some = false;
    int number = 0;
    while (!text.empty() || some) {
        ++number;
        std::size_t size = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, size);
        text.remove_prefix(std::min(size + 1, text.size()));
        std::string where = "APKINDEX line " + std::to_string(number) + ": ";
        if (!line.empty()) {
            some = true;
            if (std::string why = take_line(line, entry); !why.empty()) return Error{where + why};
            continue;
        }
        if (!some) continue;
        if (!plain(entry.name) || !plain(entry.version))
            return Error{where + "the record above has no usable name and version"};
        if (!entry.identity.starts_with("Q1"))
            return Error{where + entry.full_name() + " has no identity (C:) that is understood"};
        entries.push_back(std::move(entry));
        entry = {};
        some = false;
    }
    return entries;
}

Result<std::vector<IndexEntry>> read_index(std::string_view file, const KeyRing* keys) {
    auto members = split_gzip(file, largest_index);
    if (!members) return members.error();
    if (members->size() != 2)
        return Error{std::to_string(members->size()) +
                     " gzip members where a signed index has 2 (signature, index)"};
    if (keys) {
        auto good = check_signature((*members)[0].data, (*members)[1].compressed, *keys);
        if (!good) return good.error();
    }
    auto files = read_tar((*members)[1].data, true);
    if (!files) return files.error();
    for (const TarEntry& entry : *files)
        if (entry.path == "APKINDEX") return parse_index(entry.data);
    return Error{"no file APKINDEX inside"};
}

} // namespace muster::apk
