// `<path …>`, `<directory-entry …>`, `<path-changed …>`: see presence.h.
//
// For each path that somebody asks for, all directories on the way to it that are there are
// watched, so that whatever comes, goes or is renamed above it is noticed. What is mounted on the
// way makes no event in a directory: each change of the mounts has all paths looked at. Not noticed
// is what happens to the target of a symbolic link in last place.
#pragma once

#include "services/presence/interest.h"
#include "services/presence/mount_table.h"
#include "services/presence/presence.h"

namespace muster::services {

// How many names of one directory are asserted; those that come first.
inline constexpr size_t max_directory_entries = 4096;

// From the current facet. What is to be known of observers is added to `interests`.
void serve_path_facts(dataspace::Turn& turn, Interests& interests, const PresenceContext& context,
                      Ref<MountTable> mounts);

} // namespace muster::services
