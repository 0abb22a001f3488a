// Many files from a server at once, with curl. Host only.
//
// Each comes into NAME.part first. What is there already is not asked for again: a transfer that
// breaks off goes on where it stopped, in the same run or the next one. The size is known from the
// index; a file that ends before it is not taken, and one that goes on after it is ended there.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "init/base/result.h"

namespace muster::apk {

struct WantedFile {
    std::string url;
    std::string path; // where it ends up; its folder is there
    std::uint64_t size = 0;
};

// Bytes that are there, bytes in all; twice a second and at the end, if any are missing.
using DownloadProgress = std::function<void(std::uint64_t, std::uint64_t)>;

// Error: names each file that could not be had and what was wrong; the others are there, and so
// is what came of them, for the next time. STALL: seconds without a byte that are waited. GONE
// becomes true when the server says that it has not got one of them. Without curl, one after the
// other with what there is.
Result<> download_all(const std::vector<WantedFile>& files, unsigned stall,
                      const DownloadProgress& progress, bool& gone);

} // namespace muster::apk
