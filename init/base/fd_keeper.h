// Who keeps descriptors over our death, by name, for our successor. All or none.
#pragma once

#include <functional>
#include <string>

#include "init/base/fd.h"
#include "init/base/result.h"

namespace muster {

struct FdKeeper {
    std::function<Fd(const std::string& name)> take; // kept for a predecessor; none: invalid
    // Keeps a copy. ERRORS: there is no room, the name is taken.
    std::function<Result<>(const std::string& name, int fd)> store;
    std::function<void(const std::string& name)> drop;
    explicit operator bool() const { return static_cast<bool>(take); }
};

} // namespace muster
