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
// there is no such program. `meanwhile`, if there is one, is called every 500 ms until it ends.
Result<int> run_program(const std::vector<std::string>& arguments,
                        const std::function<void()>& meanwhile = {});

// What became of a download: absent is the server's word, unreachable is everything else.
enum class Download { done, absent, unreachable };

// Downloads URL to PATH with curl, wget or apt's helper, whichever is there first. MESSAGE says
// what went wrong.
Download download(const std::string& url, const std::string& path, std::string& message);

} // namespace muster::apk
