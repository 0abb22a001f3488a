// What apk knows of what is installed, for an image that apk did not make; and the bill of
// materials. Host only. Source: shared/reference/alpine.md section 1 (the database); the SPDX
// specification 2.3.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "alpine-packages/package.h"
#include "alpine-packages/tree.h"
#include "init/base/result.h"

namespace muster::image {

// A package that is in the image, as it has to be remembered after its files went into a tree.
struct Installed {
    struct File {
        std::string path, sha1; // sha1 raw, empty for folders
    };
    struct Script {
        std::string kind, text; // "post-install"
    };
    apk::PackageInfo info;
    std::string identity, licence, description, url, triggers;
    std::string record; // the lines that the index has for it
    std::vector<File> files;
    std::vector<Script> scripts;
};

// SIZE: of the .apk, bytes. ARCH: what the index calls it.
Installed remember(const apk::Package& package, std::uint64_t size, const std::string& arch);

// Puts lib/apk/db and etc/apk/{world,arch} into TREE, which has to be finished, and is to be
// finished again. WORLD: what somebody asked for.
Result<> add_database(apk::Tree& tree, const std::vector<Installed>& packages,
                      const std::vector<std::string>& world, const std::string& arch);

// Something in the image that is no package of Alpine's format.
struct Other {
    std::string name, version, purl; // package URL
};

// An SPDX document, JSON. NAME and ID (a hash of what it is about) name it; EPOCH is its date.
std::string bill_of_materials(const std::vector<Installed>& packages,
                              const std::vector<Other>& others, const std::string& name,
                              const std::string& id, std::int64_t epoch, const std::string& arch);

} // namespace muster::image
