// Writing below a folder that is to become a root, whatever links lie in there: every path is
// resolved by the kernel as if that folder were the root, so that nothing is written outside.
// Host only. Source: openat2(2), RESOLVE_IN_ROOT.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "alpine-packages/tar.h"
#include "init/base/fd.h"
#include "init/base/result.h"

namespace muster::apk {

// Where and how a file of a package ended.
enum class Put { done, beside }; // beside: as NAME.apk-new, since a file of somebody's is there

class RootFiles {
  public:
    // FOLDER is made if it is not there.
    static Result<RootFiles> open(const std::string& folder);

    const std::string& folder() const { return folder_; }

    // The folder at PATH (without leading slash) and those above it, 0755 where they are missing.
    Result<> make_folder(const std::string& path);

    // A folder of a package: made, with the mode and owner of ENTRY.
    Result<> put_folder(const TarEntry& entry, std::uint32_t uid, std::uint32_t gid);

    // A file or link of a package. Replaces what is there, but for a file below /etc with another
    // content, unless OURS says that a package brought that one.
    Result<Put> put(const TarEntry& entry, std::uint32_t uid, std::uint32_t gid, bool ours);

    Result<> write(const std::string& path, std::string_view data, std::uint32_t mode);
    Result<std::string> read(const std::string& path);
    bool exists(const std::string& path);
    void remove(const std::string& path);

    // Extended attributes that the file system refused: one line each.
    const std::string& refused() const { return refused_; }

  private:
    Result<int> parent(const std::string& path, std::string& base);
    Result<> write_at(int folder, const std::string& base, const TarEntry& entry, std::uint32_t uid,
                      std::uint32_t gid);

    std::string folder_;
    Fd root_;
    std::string last_path_; // the folder that was opened last: entries of one come together
    Fd last_;
    std::string refused_;
};

} // namespace muster::apk
