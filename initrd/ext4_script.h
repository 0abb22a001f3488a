// A tree as commands for debugfs(8), which fills an empty ext4 file system without mounting it and
// without privileges. Everything is in the tree's order, so that the same tree gives the same bytes
// whatever the host's file system does. Host only.
#pragma once

#include <cstdint>
#include <string>

#include "alpine-packages/tree.h"
#include "init/base/result.h"

namespace muster::image {

// Writes the contents of the files to FOLDER, which is there, and returns the commands. EPOCH is
// the time of whatever has none of its own. Refused: names that debugfs cannot be told, devices.
Result<std::string> ext4_script(const apk::Tree& tree, const std::string& folder,
                                std::int64_t epoch);

// Bytes, whole MiB, of the smallest file system that mke2fs makes of 4 KiB blocks and that has room
// for TREE. Source: e2fsprogs, mke2fs.conf(5) and ext2fs_default_journal_size.
std::uint64_t ext4_needs(const apk::Tree& tree);

} // namespace muster::image
