// Time stamps as RFC 3339 writes them, in UTC, with microseconds: "2026-11-22T01:02:03.000004Z".
#pragma once

#include <string>

namespace muster {

std::string rfc3339_now();

} // namespace muster
