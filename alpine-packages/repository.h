// Where packages come from: folders and mirrors, with a cache by content. Host only.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "alpine-packages/catalog.h"
#include "alpine-packages/downloads.h"
#include "alpine-packages/index.h"
#include "alpine-packages/package.h"
#include "init/base/result.h"

namespace muster::apk {

struct MirrorOptions {
    std::string cache = "";       // folder for downloads
    std::string branch = "v3.19"; // looked for below a mirror's top folder
    std::string arch = "x86_64";
    std::vector<std::string> key_folders = {}; // trusted as they are; if any, nothing else is
    std::vector<std::string> key_sources = {}; // folders with keys that count only if recognised
    unsigned stall = 20;                       // seconds without a byte that a server is waited for

    // A tool's option: --cache, --branch, --arch, --keys, --key-source or --stall. False: none of
    // these.
    bool take(std::string_view name, const std::string& value);
};

// A mirror's repositories (main, community) with verified indexes.
class Mirror {
  public:
    // LOCATION is a URL or a folder: that of a repository itself (with APKINDEX.tar.gz in it), of
    // a branch (with main/ARCH), or of several branches.
    // Indexes of a server are asked for again after 24 hours, or earlier as fetch() says. A branch
    // may be without community, if that is truly absent; an index that cannot be had is an error.
    // REACHED false, with an error: nothing is there, or it did not come over. An error with
    // REACHED true means that something is there and wrong.
    static Result<Mirror> open(const std::string& location, const MirrorOptions& options,
                               bool& reached);

    // What is wanted and all it needs, sorted by name: the same whatever order it is wanted in.
    // The entries stay as long as the mirror.
    Result<std::vector<Chosen>> closure(const std::vector<std::string>& wanted);
    // The same in the order of installation.
    Result<std::vector<Chosen>> solution(const std::vector<std::string>& wanted);

    // The newest package of that very name, without its dependencies. Error if there is none.
    Result<Chosen> find(const std::string& name);

    // What CHOOSE chooses, downloaded; load() and load_all() read it. When the server has not got
    // one of them any more and an index was from before, all are asked for again and CHOOSE as
    // well, once: nothing that was chosen earlier is valid then.
    using Choose = std::function<Result<std::vector<Chosen>>(Mirror&)>;
    Result<std::vector<Chosen>> fetch(const Choose& choose, const DownloadProgress& progress = {});

    // Fetches, verifies against the keys and against the index, reads.
    Result<Package> load(const Chosen& chosen) const;

    // All of them, downloaded at once and read by several threads; the first error there is.
    Result<std::vector<Package>> load_all(const std::vector<Chosen>& chosen) const;

    // The record of the index, as it is written there.
    std::string record(const Chosen& chosen) const;

    const std::vector<std::string>& repositories() const { return repositories_; }

  private:
    static Result<Mirror> open_indexes(const std::string& location, const MirrorOptions& options,
                                       bool anew, bool& reached);
    std::string place_of(std::size_t repository, const IndexEntry& entry) const;
    Result<> fetch_all(const std::vector<Chosen>& chosen, const DownloadProgress& progress,
                       bool& gone) const;
    Result<std::string> fetch_one(std::size_t repository, const IndexEntry& entry,
                                  std::string& path) const;
    Result<Package> load_once(const Chosen& chosen, bool& from_cache) const;
    Result<> find_keys(const std::vector<std::string>& index_files);
    Result<> read_indexes(const std::vector<std::string>& files);
    Chosen chosen(PackageId package);

    std::string location_;
    MirrorOptions options_;
    std::vector<std::string> repositories_; // folder or URL of each
    std::optional<Catalog> catalog_;
    KeyRing keys_;
    bool from_before_ = false; // an index was not asked for just now
};

} // namespace muster::apk
