// The texts of apk's database of installed packages. Host only.
// Source: shared/reference/alpine.md section 1.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "alpine-packages/package.h"

namespace muster::apk {

// A file as it was installed.
struct InstalledFile {
    const TarEntry* entry = nullptr;
    std::uint32_t uid = 0, gid = 0;
    bool owned = true; // false: another package has it
};

// What apk compares an installed file with, a raw SHA-1: of its content, of a link's text, for a
// hard link that of what it is linked to. Empty for folders.
std::string installed_sum(const Package& package, const TarEntry& entry);

// One package's record in lib/apk/db/installed, with the empty line. RECORD: that of the index.
std::string installed_record(const std::string& record, const Package& package,
                             const std::vector<InstalledFile>& files, bool script_failed);

// lib/apk/db/scripts.tar. PACKAGES in the order of installation.
std::string installed_scripts(const std::vector<const Package*>& packages);

} // namespace muster::apk
