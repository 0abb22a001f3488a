// Tar archives and gzip members as packages have them. Host only; reading is tar.h and gzip.h.
// Source: POSIX pax(1) (ustar, extended headers); RFC 1952; shared/reference/alpine.md section 1.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace muster::apk {

// What goes into an archive. Everything belongs to root.
struct TarMember {
    std::string path;           // relative, without trailing slash
    char type = '0';            // '0' file, '2' symbolic link, '5' folder
    std::uint32_t mode = 0644;  // permission bits
    std::string_view data = {}; // of a file
    std::string target = {};    // of a link
    bool sum = false;           // with APK-TOOLS.checksum.SHA1, which files and links of a
                                // package's data must have
};

class TarWriter {
  public:
    // MTIME of every entry, seconds since 1970.
    explicit TarWriter(std::int64_t mtime) : mtime_(mtime) {}

    // What does not fit into a ustar header (long names and targets) goes into an extended one.
    void add(const TarMember& member);

    // The archive so far, with the two zero blocks that end it or without.
    std::string take(bool end_mark);

  private:
    void block(const TarMember& member, std::string_view data);

    std::int64_t mtime_;
    std::string out_;
};

} // namespace muster::apk
