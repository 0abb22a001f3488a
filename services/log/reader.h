// Reading log files, rotated ones too, and what is in the ring and not yet in a file: all lines of
// the services asked for in the order of their times, those of one service in the order they were
// written.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "init/base/result.h"
#include "services/log/files.h"

namespace muster::logs {

struct Query {
    std::string folder = usual_folder;
    std::string ring_folder = "/run/muster"; // empty: none
    std::vector<std::string> services;       // as the log has them (logged_name); none: all
    uint64_t since_us = 0;
};

struct Entry {
    std::string service;
    uint64_t time_us = 0;
    int32_t pid = 0;
    std::string stream;
    std::string text;
};

// Calls `each` for every line. Whose lines there are, also if those are older than was asked for.
// ERRORS: neither files nor a ring can be read.
Result<std::set<std::string>> read_logs(const Query& query,
                                        const std::function<void(const Entry&)>& each);

// "10m", "2h", "3d", "90s" before `now_us`, "2026-11-22", "2026-11-22 01:02:03" (both UTC), or a
// time of RFC 3339. ERRORS: none of these.
Result<uint64_t> parse_since(std::string_view text, uint64_t now_us);

} // namespace muster::logs
