// Writing the signed index of a repository. Host only.
// Source: shared/reference/alpine.md section 1.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "alpine-packages/signing.h"
#include "init/base/result.h"

namespace muster::apk {

// The record of one package, in the order of letters in which apk writes them. FILE are the bytes
// of the .apk; its signature is not looked at. ARCH is the folder of the repository: apk finds no
// package whose record says another one, so packages without architecture get it too.
Result<std::string> index_record(std::string_view file, const std::string& arch);

// The same from what is known of a package: the text of its .PKGINFO, its identity (Q1...), the
// size of the .apk. Without the empty line at the end, as the database of what is installed has it.
std::string record_of(std::string_view pkginfo, const std::string& identity, std::uint64_t size,
                      const std::string& arch);

// The bytes of APKINDEX.tar.gz. RECORDS in the order given; DESCRIPTION is one line.
Result<std::string> write_index(const std::vector<std::string>& records,
                                const std::string& description, std::int64_t mtime,
                                const PrivateKey& key);

} // namespace muster::apk
