// Whole files and folders of the host, and the programs that fetch. Host only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "init/base/result.h"

namespace muster::apk {

// The whole file.
Result<std::string> read_file(const std::string& path);

// Writes beside PATH and renames, so that PATH is never half written. Mode 0644.
Result<> write_file(const std::string& path, std::string_view data);

// mkdir -p.
Result<> make_folders(const std::string& path);

// Names in FOLDER without "." and "..", sorted by bytes.
Result<std::vector<std::string>> list_folder(const std::string& folder);

bool exists(const std::string& path);

// Runs a program found on PATH with these arguments, without output; its exit status, or 127 when
// there is no such program. `meanwhile`, if there is one, is called every 500 ms until it ends, or
// until it says false, which ends it. What it complains about goes to the file ERRORS.
Result<int> run_program(const std::vector<std::string>& arguments,
                        const std::function<bool()>& meanwhile = {},
                        const std::string& errors = "/dev/null");

// The words that run WORDS so that no file it writes gets larger than so many bytes, up to a block.
std::vector<std::string> with_limit(std::uint64_t bytes, std::vector<std::string> words);

// What became of a download: absent is the server's word (404, 410), unreachable is everything
// else.
enum class Download { done, absent, unreachable };

// Whether one of these programs complains that the server has no such file. COMPLAINT has no URLs.
bool says_absent(const std::string& complaint);

struct DownloadLimits {
    unsigned stall = 20;                          // seconds without a byte that are waited
    std::uint64_t size = std::uint64_t{64} << 20; // bytes, more are not taken
};

// Downloads URL to PATH with curl, wget or apt's helper, whichever is there first. What breaks off
// is begun anew, three times in all, what stalls twice. MESSAGE says what went wrong, in that
// program's words.
Download download(const std::string& url, const std::string& path, const DownloadLimits& limits,
                  std::string& message);

} // namespace muster::apk
