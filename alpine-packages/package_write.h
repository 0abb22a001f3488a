// Writing packages, format 2, by the stricter rules of apk 3. Host only.
// Source: shared/reference/alpine.md sections 1, 3 and 4.
#pragma once

#include <cstdint>
#include <string>

#include "alpine-packages/signing.h"
#include "init/base/result.h"

namespace muster::apk {

// What a package is made of.
struct PackageParts {
    // Lines `key = value` of .PKGINFO; pkgname, pkgver, pkgdesc, arch have to be there. What
    // follows from the files is added: size, datahash, `provides = cmd:…` for the programs,
    // `depend = /bin/sh` if there are scripts or programs that begin with #!/bin/sh.
    std::string info;
    std::string files;      // a folder with everything that is to be installed; "": nothing
    std::string scripts;    // a folder with PACKAGE.post-install and the like; "": none
    std::int64_t mtime = 0; // of everything, seconds since 1970
};

// The bytes of the .apk. Everything in it belongs to root. The same parts and key give the same
// bytes, whatever the order of the folders. Refused: what is neither file, folder nor symbolic
// link, names that no package may have, a wrong .PKGINFO.
Result<std::string> write_package(const PackageParts& parts, const PrivateKey& key);

} // namespace muster::apk
