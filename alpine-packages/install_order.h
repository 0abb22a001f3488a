// The order in which chosen packages are installed. Host only.
#pragma once

#include "alpine-packages/solver_state.h"

namespace muster::apk {

// What a package depends on before it, in the order of its dependencies, beginning with what was
// wanted; a package with install_if as soon as all of that is there. Circles are cut where they
// are entered.
std::vector<PackageId> install_order(Catalog& catalog, SolverState& state);

} // namespace muster::apk
