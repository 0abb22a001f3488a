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
    std::vector<std::string> depends, provides; // as written

    std::string full_name() const { return name + "-" + version; }
    std::string file_name() const { return full_name() + ".apk"; }
};

// The text of an index. A record without name, version or identity is an error; letters that are
// not needed here are skipped.
Result<std::vector<IndexEntry>> parse_index(std::string_view text);

// Verifies and reads the bytes of an APKINDEX.tar.gz. KEYS null: nothing is verified, which is
// only for finding the alpine-keys package whose keys are recognised otherwise.
Result<std::vector<IndexEntry>> read_index(std::string_view file, const KeyRing* keys);

} // namespace muster::apk
