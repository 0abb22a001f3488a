// Tar archives as they occur in packages, with suspicion. Host only.
// Source: POSIX pax(1) (ustar, extended headers); of GNU's extensions only the long name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "init/base/result.h"

namespace muster::apk {

enum class FileKind { file, folder, symlink, hardlink };

struct TarEntry {
    std::string path; // relative, without "./", "..", empty components, trailing slash
    FileKind kind = FileKind::file;
    std::uint32_t mode = 0; // permission bits with set-id and sticky, no type
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::string user; // names, which count more than the numbers
    std::string group;
    std::int64_t mtime = 0; // seconds since 1970
    std::string target;     // symlink: the text; hardlink: a path like `path`
    std::string_view data;  // into the caller's archive
    std::string sha1;       // raw, from APK-TOOLS.checksum.SHA1; empty if there was none
    std::map<std::string, std::string> attributes; // extended attributes
};

// Reads every entry. Refused, each with the entry's name in the message: absolute names, "..",
// components over 255 and names over 4095 bytes, links that climb out of the root, devices, FIFOs
// and unknown types, the same name twice, entries below something that is no folder, header check
// sums that are wrong, entries that are cut off. END_MARK says that two zero blocks must end the
// archive; without it they must not be there.
Result<std::vector<TarEntry>> read_tar(std::string_view archive, bool end_mark);

// Why PATH, as written in an archive, is not a name of a file below the root; "" if it is one.
// On success NORMAL has it without "./", double and trailing slashes.
std::string refuse_path(std::string_view path, std::string& normal);

// Whether TARGET, written in a symbolic link at PATH, stays below the root when followed by text
// alone. Absolute targets do: they are meant inside the root.
bool stays_inside(std::string_view path, std::string_view target);

} // namespace muster::apk
