// APKINDEX.tar.gz: what a repository has. Host only.
// Source: shared/reference/alpine.md section 1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "alpine-packages/digest.h"
#include "init/base/result.h"

namespace muster::apk {

struct IndexEntry {
    std::string name, version, arch, identity, origin;
    std::uint64_t size = 0; // of the .apk file, bytes
    std::optional<int> provider_priority;
    std::vector<std::string> depends, provides, install_if; // as written

    std::string full_name() const { return name + "-" + version; }
    std::string file_name() const { return full_name() + ".apk"; }
};

// One package of a repository and that repository's place in the order.
struct Chosen {
    const IndexEntry* entry = nullptr; // into the catalog
    std::size_t repository = 0;
};

// The next "X:value" line of a record, or of an index. False at the end of TEXT or at a line that
// is none, which stays in TEXT. An empty line, which ends a record, has the letter 0.
bool next_line(std::string_view& text, char& letter, std::string_view& value);

// The words of a line, separated by spaces; calls TAKE with each.
template <typename Take>
void each_word(std::string_view text, Take take) {
    while (!text.empty()) {
        std::size_t size = text.find(' ');
        if (size == std::string_view::npos) size = text.size();
        if (size > 0) take(text.substr(0, size));
        text.remove_prefix(size < text.size() ? size + 1 : size);
    }
}

// Whether TEXT can be part of a file's name and of a message.
bool is_plain(std::string_view text);

// One record. Letters that are not needed here are skipped.
Result<IndexEntry> parse_record(std::string_view text);

// The text of an index. A record without name, version or identity is an error.
Result<std::vector<IndexEntry>> parse_index(std::string_view text);

// Verifies the bytes of an APKINDEX.tar.gz, then unpacks it and gives the text in it. KEYS null:
// nothing is verified and over 64 MiB unpacked are refused, which is only for finding the
// alpine-keys package whose keys are recognised otherwise.
Result<std::string> index_text(std::string_view file, const KeyRing* keys);

// Both at once.
Result<std::vector<IndexEntry>> read_index(std::string_view file, const KeyRing* keys);

} // namespace muster::apk
