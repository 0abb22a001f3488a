// From names to the packages that are needed, by the dependencies in the indexes. Host only.
//
// Not a solver: every dependency is answered once, by what is already chosen or else by the best
// candidate, and nothing is ever taken back. Where that does not work out, it is an error that
// names both sides. install_if is not looked at.
//
// The best candidate for a name: a package of that name or one that provides it with a version,
// the highest version of the name first, then of the package; then one that provides it without a
// version and has the highest provider priority. A name that is only provided without version or
// priority, by several packages, has to be chosen by hand. Source: shared/reference/alpine.md.
#pragma once

#include <string>
#include <vector>

#include "alpine-packages/index.h"
#include "init/base/result.h"

namespace muster::apk {

// One repository's entries and its place in the order (lower wins ties).
struct Chosen {
    const IndexEntry* entry = nullptr; // into the indexes
    std::size_t repository = 0;
};

// WANTED are words as in dependencies ("busybox", "musl>=1.2"). Sorted by name.
Result<std::vector<Chosen>> find_closure(const std::vector<std::vector<IndexEntry>>& indexes,
                                         const std::vector<std::string>& wanted);

} // namespace muster::apk
