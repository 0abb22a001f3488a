// Reading small files whole and large ones line by line.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "init/base/fd.h"

namespace muster::netlink {

// The content of a small file (at most 1 MiB, more is cut off); empty if it cannot be read (errno
// tells).
std::optional<std::string> read_file(const std::string& path);

// The lines of a file of any size, read piece by piece: nothing of it stays in memory, and a file
// that somebody shortens meanwhile just ends (a mapping would kill us).
class LineFile {
  public:
    // A file that cannot be opened has no lines.
    explicit LineFile(const std::string& path);

    // The next line without its line feed, valid until the next call. False at the end.
    bool next(std::string_view& line);

  private:
    bool fill();

    Fd fd_;
    std::string buffer_;
    size_t begin_ = 0; // of what was not handed out yet
    size_t end_ = 0;
};

// Takes the next word (blanks and tabs separate) off `line`; empty at the end.
std::string_view take_word(std::string_view& line);

} // namespace muster::netlink
