#include "alpine-packages/index.h"

#include <algorithm>
#include <charconv>

#include "alpine-packages/gzip.h"
#include "alpine-packages/package.h"
#include "alpine-packages/tar.h"

namespace muster::apk {
namespace {

// Bytes, unpacked.
constexpr std::size_t largest_signature = 1 << 20;
constexpr std::size_t largest_index = std::size_t{512} << 20;
constexpr std::size_t largest_unverified = std::size_t{64} << 20;

std::vector<std::string> words(std::string_view text) {
    std::vector<std::string> out;
    each_word(text, [&](std::string_view word) { out.emplace_back(word); });
    return out;
}

template <typename Number>
bool read_number(std::string_view text, Number& out) {
    auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), out);
    return wrong == std::errc() && end == text.data() + text.size();
}

// "" or what is wrong.
std::string take_line(char letter, std::string_view value, IndexEntry& entry) {
    switch (letter) {
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
    case 'i':
        entry.install_if = words(value);
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

bool next_line(std::string_view& text, char& letter, std::string_view& value) {
    if (text.empty()) return false;
    std::size_t size = std::min(text.find('\n'), text.size());
    if (size == 0) {
        letter = 0;
        value = {};
    } else {
        if (size < 2 || text[1] != ':') return false;
        letter = text[0];
        value = text.substr(2, size - 2);
    }
    text.remove_prefix(std::min(size + 1, text.size()));
    return true;
}

bool is_plain(std::string_view text) {
    return !text.empty() && text.front() != '.' &&
           std::all_of(text.begin(), text.end(),
                       [](char c) { return c > ' ' && c < 127 && c != '/'; });
}

Result<IndexEntry> parse_record(std::string_view text) {
    IndexEntry entry;
    char letter = 0;
    std::string_view value;
    while (next_line(text, letter, value))
        if (std::string why = take_line(letter, value, entry); !why.empty()) return Error{why};
    if (!text.empty()) return Error{"not \"X:value\""};
    if (!is_plain(entry.name) || !is_plain(entry.version))
        return Error{"the record has no usable name and version"};
    if (!entry.identity.starts_with("Q1"))
        return Error{entry.full_name() + " has no identity (C:) that is understood"};
    return entry;
}

Result<std::vector<IndexEntry>> parse_index(std::string_view text) {
    std::vector<IndexEntry> entries;
    std::string_view rest = text;
    while (!rest.empty()) {
        std::size_t size = std::min(rest.find("\n\n"), rest.size());
        std::string_view record = rest.substr(0, size);
        if (!record.empty() && record != "\n") {
            auto entry = parse_record(record);
            if (!entry) {
                auto before = text.substr(0, text.size() - rest.size());
                auto line = std::count(before.begin(), before.end(), '\n') + 1;
                return entry.error().with_context("APKINDEX, record at line " +
                                                  std::to_string(line));
            }
            entries.push_back(std::move(*entry));
        }
        rest.remove_prefix(std::min(size + 2, rest.size()));
    }
    return entries;
}

Result<std::string> index_text(std::string_view file, const KeyRing* keys) {
    std::string_view rest = file;
    auto signature = take_gzip(rest, largest_signature);
    if (!signature) return signature.error().with_context("gzip member 1");
    if (rest.empty()) return Error{"1 gzip member where a signed index has 2 (signature, index)"};
    std::size_t limit = keys ? largest_index : largest_unverified;
    if (keys) {
        if (auto good = check_signature(signature->data, rest, *keys); !good) {
            // what is cut off is told as that, too
            auto whole = take_gzip(rest, largest_unverified);
            if (whole) return good.error();
            return Error{good.error().message + "; gzip member 2: " + whole.error().message};
        }
    }
    auto index = take_gzip(rest, limit);
    if (!index) return index.error().with_context("gzip member 2");
    if (!rest.empty())
        return Error{"more than 2 gzip members where a signed index has 2 (signature, index)"};
    auto files = read_tar(index->data, true);
    if (!files) return files.error();
    for (const TarEntry& entry : *files) {
        if (entry.path != "APKINDEX") continue;
        std::string& archive = index->data;
        std::size_t begin = static_cast<std::size_t>(entry.data.data() - archive.data());
        std::size_t size = entry.data.size();
        std::string text = std::move(archive);
        text.resize(begin + size);
        text.erase(0, begin);
        return text;
    }
    return Error{"no file APKINDEX inside"};
}

Result<std::vector<IndexEntry>> read_index(std::string_view file, const KeyRing* keys) {
    auto text = index_text(file, keys);
    if (!text) return text.error();
    return parse_index(*text);
}

} // namespace muster::apk
