// The texts of the files that are in force, kept in memory (/run) over the death of the second
// stage: if a file is no good any more when it is read again, what was in force goes on.
//
// One folder for each watcher, one file in it for each of its files, named by a digest of its path
// and replaced as a whole. Nothing is kept where there is no such folder.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "init/base/result.h"

namespace muster::config {

class KeptScripts {
  public:
    KeptScripts() = default; // keeps nothing
    // For the watcher of `watched`, in a folder below `folder`. `fresh`: what is there is of an
    // earlier life of the system.
    KeptScripts(const std::string& folder, const std::string& watched, bool fresh);

    // ERRORS: cannot be written; what was kept stays.
    Result<> keep(const std::string& path, std::string_view text) const;
    void forget(const std::string& path) const;
    // Forgets all but these.
    void keep_only(const std::set<std::string>& paths) const;
    std::optional<std::string> text_of(const std::string& path) const;

  private:
    std::string place_of(const std::string& path) const;
    std::string folder_;
};

} // namespace muster::config
