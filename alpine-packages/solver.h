// Which packages answer what is wanted: apk's choice, for an empty root. Host only.
//
// Names are decided one after another. What is wanted is a list of needs; each need makes its name
// wanted and speaks against every package that offers the name but does not satisfy it. What is
// spoken against, depends on what cannot be had, or offers with a version a name that another
// package has got, is out, and that is carried on to whatever depends on it until nothing changes.
// Then the next wanted name is decided for the best of its offers: the package gets all the names
// it offers, and its needs join in. Packages with install_if join when all they list is decided.
//
// The best offer: not out, then least spoken against, then the highest version of the name, the
// highest version of the package, the highest provider_priority, the lowest repository. One without
// a version and without a priority is never chosen by itself. Source: shared/reference/alpine.md
// section 1, and what the real apk does with the sets in solver_choices.txt.
#pragma once

#include <string>
#include <vector>

#include "alpine-packages/catalog.h"
#include "init/base/result.h"

namespace muster::apk {

// WANTED are words as in dependencies ("busybox", "musl>=1.2", "!vlan"); there are no repositories
// with tags, so "musl@edge" is refused, as apk refuses it. The packages in the order in which they
// are to be installed: what a package depends on is before it, short of circles. The error explains
// why there is none, in a few lines, the first of which names what was wanted.
Result<std::vector<PackageId>> solve(Catalog& catalog, const std::vector<std::string>& wanted);

} // namespace muster::apk
