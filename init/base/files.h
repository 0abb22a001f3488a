// Small files as a whole.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "init/base/result.h"

namespace muster {

// Appends what can be read of `fd`, up to its end, or until `text` is longer than `most`. False,
// with errno: it cannot be read.
bool read_to_end(int fd, std::string& text, size_t most = static_cast<size_t>(-1));

// Writes a file of ours, mode 0600, so that whoever reads it finds the old text or the new one:
// into PATH.new, which then takes its place. Not for what has to outlive a loss of power. ERRORS:
// it cannot be written; what was there stays.
Result<> replace_file(const std::string& path, std::string_view text);

} // namespace muster
