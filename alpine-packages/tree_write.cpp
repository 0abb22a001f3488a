// The two ways out of a tree: a newc archive and a folder.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "alpine-packages/files.h"
#include "alpine-packages/tree.h"
#include "init/base/fd.h"

namespace muster::apk {
namespace {

void pad(std::string& out, std::size_t to) { out.append((to - out.size() % to) % to, '\0'); }

struct CpioHeader {
    std::uint32_t inode = 0, mode = 0, uid = 0, gid = 0, links = 1, mtime = 0, size = 0;
    std::uint32_t major = 0, minor = 0;
};

void append_entry(std::string& out, const CpioHeader& header, const std::string& name,
                  std::string_view data) {
    std::array<char, 111> text;
    std::snprintf(text.data(), text.size(),
                  "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", header.inode,
                  header.mode, header.uid, header.gid, header.links, header.mtime, header.size, 0u,
                  0u, header.major, header.minor, static_cast<unsigned>(name.size() + 1), 0u);
    out.append(text.data(), 110);
    out += name;
    out += '\0';
    pad(out, 4);
    out += data;
    pad(out, 4);
}

// The same file under several names has one inode; its bytes come with the first name.
struct LinkGroup {
    std::uint32_t inode = 0, count = 0;
};

} // namespace

Result<std::string> to_cpio(const Tree& tree) {
    std::map<std::string, LinkGroup> groups;
    for (const auto& [path, node] : tree.nodes())
        if (!node.hard_links.empty()) ++groups[node.hard_links].count;
    std::string out;
    std::uint32_t inode = 0;
    for (const auto& [path, node] : tree.nodes()) {
        std::string_view data = S_ISLNK(node.mode) ? std::string_view(node.target) : node.data;
        if (data.size() > UINT32_MAX) return Error{path + ": larger than 4 GiB"};
        CpioHeader header;
        header.inode = ++inode;
        header.mode = node.mode;
        header.uid = node.uid;
        header.gid = node.gid;
        header.links = S_ISDIR(node.mode) ? 2 : 1;
        header.mtime =
            static_cast<std::uint32_t>(std::clamp<std::int64_t>(node.mtime, 0, UINT32_MAX));
        header.major = node.major;
        header.minor = node.minor;
        if (!node.hard_links.empty()) {
            LinkGroup& group = groups[node.hard_links];
            header.links = group.count;
            if (group.inode != 0)
                data = {};
            else
                group.inode = inode;
            header.inode = group.inode;
        }
        header.size = static_cast<std::uint32_t>(data.size());
        append_entry(out, header, path, data);
    }
    append_entry(out, CpioHeader{}, "TRAILER!!!", {});
    pad(out, 512);
    return out;
}

Result<> write_folder(const Tree& tree, const std::string& folder) {
    if (auto done = make_folders(folder); !done) return done.error();
    auto names = list_folder(folder);
    if (!names) return names.error();
    if (!names->empty()) return Error{folder + ": is not empty"};
    bool root = geteuid() == 0;
    for (const auto& [path, node] : tree.nodes()) {
        std::string place = folder + "/" + path;
        if (S_ISDIR(node.mode)) {
            if (mkdir(place.c_str(), 0700) != 0) return system_error("mkdir " + place, errno);
        } else if (S_ISLNK(node.mode)) {
            if (symlink(node.target.c_str(), place.c_str()) != 0)
                return system_error("symlink " + place, errno);
        } else if (S_ISREG(node.mode)) {
            if (auto done = write_file(place, node.data); !done) return done.error();
        } else {
            if (!root) continue;
            if (mknod(place.c_str(), node.mode, makedev(node.major, node.minor)) != 0)
                return system_error("mknod " + place, errno);
        }
        if (root && lchown(place.c_str(), node.uid, node.gid) != 0)
            return system_error("chown " + place, errno);
    }
    // afterwards and from below: a folder's mode may forbid writing into it
    for (auto item = tree.nodes().rbegin(); item != tree.nodes().rend(); ++item) {
        const auto& [path, node] = *item;
        std::string place = folder + "/" + path;
        timespec times[2] = {{node.mtime, 0}, {node.mtime, 0}};
        if (!S_ISLNK(node.mode) && (root || S_ISREG(node.mode) || S_ISDIR(node.mode)) &&
            chmod(place.c_str(), node.mode & 07777) != 0)
            return system_error("chmod " + place, errno);
        utimensat(AT_FDCWD, place.c_str(), times, AT_SYMLINK_NOFOLLOW);
    }
    return {};
}

} // namespace muster::apk
