#include "services/muster/output.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "services/muster/failed.h"

namespace muster::command {

namespace {

int lost(int reason) { return failed(system_error("standard output", reason)); }

} // namespace

void put(std::string_view text) {
    // Now, since later nobody knows the reason.
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) std::exit(lost(errno));
}

void put_line(std::string_view text) {
    put(text);
    put("\n");
}

void flush_output() {
    if (std::fflush(stdout) != 0) std::exit(lost(errno));
}

int finish(int result) { return std::fflush(stdout) == 0 ? result : lost(errno); }

} // namespace muster::command
