// Log files: their names, their lines, how they are rotated. Shared by who writes and who reads.
//
//   /var/log/muster/sshd.log      what is written now
//   /var/log/muster/sshd.log.7    what was before that; .6 is older
//
//   2026-11-22T01:02:03.456789Z stdout[123]: text
//   2026-11-22T01:02:03.456789Z supervisor: text
//
// A file is made a numbered one by rename(2), so at no moment is a line in none or in two.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "init/base/result.h"
#include "services/log/ring.h"

namespace muster::logs {

inline constexpr const char* usual_folder = "/var/log/muster";

// What a service that says nothing of it gets: 1 MiB, 7 days, 4 files of before.
Rotation with_defaults(Rotation rotation);

// A service as the log has it: of a name that is too long for a file, its beginning and a digest of
// all of it.
std::string logged_name(std::string_view service);
// `sshd` -> "sshd.log"; what is no letter, digit or one of "._-@+,:" becomes %XX, and so does a dot
// at the beginning. `service`: a logged name.
std::string file_of(std::string_view service);
// The service of "sshd.log" or "sshd.log.7"; empty if it is none. `number`: 7, 0 for the current.
std::string service_of(std::string_view file, uint32_t& number);

// "2026-11-22T01:02:03.456789Z"
std::string time_text(uint64_t time_us);
// ERRORS: not such a time. The fraction may have fewer digits, or be left out.
Result<uint64_t> parse_time(std::string_view text);

// One line, with its line feed. `line`: without.
void append_line(std::string& out, uint64_t time_us, const Source& source, std::string_view line);

struct Line {
    uint64_t time_us = 0;
    int32_t pid = 0;
    std::string_view stream;
    std::string_view text;
};
// False if this is no line of ours (without its line feed).
bool parse_line(std::string_view line, Line& out);

struct LogFile {
    std::string service;
    std::string name;
    uint32_t number = 0; // 0: the current one
};
// Of all services, by service, oldest first.
// ERRORS: the folder cannot be read.
Result<std::vector<LogFile>> log_files(const std::string& folder);

} // namespace muster::logs
