// pidfd_open(2), which older headers and musl do not have.
#pragma once

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "init/base/fd.h"

namespace muster {

// Readable when that process has ended. Invalid, with errno: there is none, or no room.
inline Fd open_pidfd(pid_t pid) { return Fd(static_cast<int>(::syscall(434, pid, 0))); }

} // namespace muster
