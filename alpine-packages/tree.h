// The file tree of an image: packages, own files, links; then one archive or folder. Host only.
//
// Nothing on the host is touched before write_folder: owners, modes and devices are only numbers
// here, so no privilege is needed.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "alpine-packages/package.h"
#include "init/base/result.h"

namespace muster::apk {

struct Node {
    std::uint32_t mode = 0; // with the type, as in stat(2)
    std::uint32_t uid = 0, gid = 0;
    std::string user, group; // from a package; looked up in the tree's own passwd and group
    std::int64_t mtime = 0;  // seconds since 1970
    std::uint32_t major = 0, minor = 0;
    std::string_view data;  // into the tree's own store
    std::string target;     // symbolic link
    std::string hard_links; // same text: the same file; empty: a file of its own
    std::string owner;      // package name, or "" for an own file
};

class Tree {
  public:
    // MTIME is that of everything that no package brings.
    explicit Tree(std::int64_t mtime = 0) : mtime_(mtime) {}

    // Adds all files of a package. Two packages with the same file: the one that `replaces` the
    // other wins, or the later of one origin; else it is an error that names both.
    Result<> add_package(Package package);

    // Adds a file or a folder (with everything in it) of the host at GUEST, replacing what is
    // there. Owner root; MODE for files, -1: 0755 if executable, else 0644; folders 0755.
    Result<> add_host(const std::string& host, const std::string& guest, int mode);

    Result<> add_folder(const std::string& guest, std::uint32_t mode);
    Result<> add_link(const std::string& target, const std::string& guest);
    Result<> add_text(const std::string& text, const std::string& guest, std::uint32_t mode);
    Result<> remove(const std::string& guest); // with everything below

    // Whose GUEST is, by names that finish() looks up; GROUP "": the group stays. It has to be
    // there.
    Result<> give(const std::string& guest, const std::string& user, const std::string& group);

    // Links every path of LIST (one a line) to TARGET where the tree has nothing yet.
    Result<> add_applets(std::string_view list, const std::string& target);

    // The same with the lists that the busybox package carries. An error if there is none.
    Result<> add_busybox_applets();

    // Parents that are missing are made; names of owners become numbers. Call once, at the end.
    Result<> finish();

    const std::map<std::string, Node>& nodes() const { return nodes_; }

    // Things that could not be kept, such as extended attributes; one line each.
    const std::vector<std::string>& notes() const { return notes_; }

  private:
    Result<std::string> place(const std::string& guest) const;
    Result<> put(const std::string& guest, Node node);
    Result<> merge(const std::string& path, Node node, const PackageInfo& package);
    bool replaces(const PackageInfo& package, const std::string& other) const;
    const Node* find_file(const std::string& path) const;

    std::int64_t mtime_;
    std::map<std::string, Node> nodes_; // by path without leading slash, in the archive's order
    std::deque<Package> packages_;
    std::deque<std::string> store_;
    std::vector<std::string> notes_;
};

// The tree as a newc archive, padded to 512 bytes, so that archives can be put one after another.
// Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
Result<std::string> to_cpio(const Tree& tree);

// The tree as files below FOLDER, which is made and must be empty. Owners and devices only when
// run by root.
Result<> write_folder(const Tree& tree, const std::string& folder);

} // namespace muster::apk
