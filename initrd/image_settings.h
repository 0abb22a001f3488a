// What a description says besides packages, put into a tree: users, keys, network, services, files.
// Host only.
#pragma once

#include <string>

#include "alpine-packages/tree.h"
#include "init/base/result.h"
#include "initrd/image_description.h"

namespace muster::image {

// The packages are in TREE, which is not finished yet. ROOT_UUID: of the root's file system, for
// fstab. Errors name what is asked for and not there: a user, a group.
Result<> add_settings(apk::Tree& tree, const Description& description,
                      const std::string& root_uuid);

} // namespace muster::image
