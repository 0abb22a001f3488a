// How a command of `muster` that could not be done ends: a line on stderr, exit status 1.
#pragma once

#include <cstdio>
#include <string>

#include "init/base/result.h"

namespace muster::command {

// Without a text nothing is said: it is repeated (Bus::lost).
inline int failed(const Error& error) {
    if (!error.message.empty()) std::fprintf(stderr, "muster: %s\n", error.message.c_str());
    return 1;
}

// To who is not root on this bus.
inline int denied(const std::string& what) {
    return failed(Error{"permission denied: only root may " + what});
}

} // namespace muster::command
