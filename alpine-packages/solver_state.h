// What the solver knows while it decides. Host only; see solver.h.
#pragma once

#include <string>
#include <vector>

#include "alpine-packages/catalog.h"
#include "init/base/result.h"

namespace muster::apk {

// Why a package is out.
struct Reason {
    enum Kind {
        none,
        against,  // `by` has this need, which speaks against it
        lacks,    // it has this need itself, and that cannot be had
        taken,    // `by` is chosen and offers the name of `need` too
        unusable, // its record says what is not understood
    };
    Kind kind = none;
    PackageId by = nobody; // nobody: what was wanted
    Need need;
};

struct Asked {
    PackageId by = nobody; // nobody: it was wanted
    Need need;
};

struct NameState {
    int wanted = 0; // needs that are no conflicts
    bool seen = false, dirty = false, queued = false, forced = false, decided = false;
    Offer choice;                 // once decided
    std::vector<Asked> asked;     // conflicts too
    std::vector<PackageId> users; // seen packages that depend on it
};

struct PackageState {
    int against = 0;
    bool seen = false, recheck = false, triggered = false, chosen = false;
    Reason why;
    bool out() const { return why.kind != Reason::none; }
};

struct SolverState {
    SolverState(std::size_t package_count, std::size_t name_count)
        : packages(package_count), names(name_count) {}

    // Names may be added while dependencies are read.
    NameState& name(NameId id) {
        if (id >= names.size()) names.resize(id + id / 8 + 16);
        return names[id];
    }

    std::vector<PackageState> packages;
    std::vector<NameState> names;
    std::vector<Need> world;
    std::vector<PackageId> chosen; // in the order of the decisions
};

// Why the wanted name NAME cannot be had: a few lines.
Error explain(Catalog& catalog, SolverState& state, NameId name);

} // namespace muster::apk
