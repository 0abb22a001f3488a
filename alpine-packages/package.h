// One .apk file, format 2: three gzip members, signature, control, data. Host only.
// Source: shared/reference/alpine.md section 1.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "alpine-packages/digest.h"
#include "alpine-packages/tar.h"
#include "init/base/result.h"

namespace muster::apk {

// What .PKGINFO says, as far as it is used here.
struct PackageInfo {
    std::string name, version, arch, origin, datahash;
    std::vector<std::string> depends, provides, replaces;
    std::vector<std::string> triggers;  // globs of absolute folders
    std::string replaces_priority = ""; // as written

    std::string full_name() const { return name + "-" + version; }
};

Result<PackageInfo> parse_pkginfo(std::string_view text);

// A package whose signature, data hash and file check sums were found right. Owns the unpacked
// data that `files` point into; movable, not copyable.
struct Package {
    PackageInfo info;
    std::string identity; // "Q1…", what the index calls C:
    std::vector<TarEntry> files;
    std::vector<TarEntry> control; // .PKGINFO and the scripts
    std::string data_, control_data_;

    Package() = default;
    Package(Package&&) = default;
    Package& operator=(Package&&) = default;
};

// Verifies and reads FILE (the bytes of a .apk). The error says what is wrong, not which file.
// Entries at the top level of the data whose names begin with a dot are left out, as apk does.
Result<Package> read_package(std::string_view file, const KeyRing& keys);

// The public keys that an alpine-keys package carries: file name and PEM. Nothing is
// verified: only for keys that are recognised otherwise (KeyRing::trust_if_pinned). Over 4 MiB
// unpacked are refused.
Result<std::vector<std::pair<std::string, std::string>>> keys_in_package(std::string_view file);

// Checks the signature member SIGNATURE (a tar of .SIGN.* entries) of SIGNED bytes.
Result<> check_signature(std::string_view signature, std::string_view signed_bytes,
                         const KeyRing& keys);

} // namespace muster::apk
