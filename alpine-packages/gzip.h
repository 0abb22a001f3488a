// Files made of gzip members back to back, which is what packages and indexes are. Host only.
// Source: RFC 1952.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "init/base/result.h"

namespace muster::apk {

struct GzipMember {
    std::string_view compressed; // into the caller's file
    std::string data;
};

// Takes the first member off FILE and inflates it; at most LIMIT bytes. A truncated member, a wrong
// check sum or what is no member is an error.
Result<GzipMember> take_gzip(std::string_view& file, std::size_t limit);

// Splits FILE into its members and inflates each; at most LIMIT bytes in all. Trailing bytes that
// are no member, a truncated member or a wrong check sum are errors.
Result<std::vector<GzipMember>> split_gzip(std::string_view file, std::size_t limit);

// One member, always the same for the same DATA: no name and no time in it.
std::string compress_gzip(std::string_view data);

} // namespace muster::apk
