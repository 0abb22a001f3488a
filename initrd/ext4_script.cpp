#include "initrd/ext4_script.h"

#include <sys/stat.h>

#include <array>
#include <cstdio>

#include "alpine-packages/files.h"

namespace muster::image {
namespace {

std::string octal(std::uint32_t mode) {
    std::array<char, 16> text;
    std::snprintf(text.data(), text.size(), "0%o", static_cast<unsigned>(mode));
    return text.data();
}

} // namespace

std::uint64_t ext4_needs(const apk::Tree& tree) {
    constexpr std::uint64_t block = 4096, inode = 256, mib = 1 << 20;
    std::uint64_t contents = 0, count = tree.nodes().size() + 11; // lost+found and what has no name
    for (const auto& [path, node] : tree.nodes()) {
        std::uint64_t size = S_ISDIR(node.mode) ? block : node.data.size();
        if (S_ISLNK(node.mode) && node.target.size() >= 60) size = node.target.size();
        contents += (size + block - 1) / block * block;
    }
    for (std::uint64_t size = mib;; size += mib) {
        std::uint64_t blocks = size / block;
        std::uint64_t journal = blocks < 2048     ? 0
                                : blocks < 32768  ? 1024
                                : blocks < 262144 ? 4096
                                                  : 8192;
        std::uint64_t inodes = size / (size < 512 * mib ? 4096 : 16384);
        std::uint64_t bitmaps = size / (128 * mib) * 2 + 8;
        if (inodes >= count && contents + (journal + bitmaps) * block + inodes * inode <= size)
            return size;
    }
}

Result<std::string> ext4_script(const apk::Tree& tree, const std::string& folder,
                                std::int64_t epoch) {
    std::string out;
    int number = 0;
    for (const auto& [path, node] : tree.nodes()) {
        if ((path + node.target).find_first_of("\"\n") != std::string::npos)
            return Error{path + ": debugfs cannot be told of a name with a quote in it"};
        std::string name = "\"/" + path + "\"";
        if (S_ISDIR(node.mode)) {
            out += "mkdir " + name + "\n";
        } else if (S_ISLNK(node.mode)) {
            out += "symlink " + name + " \"" + node.target + "\"\n";
        } else if (S_ISREG(node.mode)) {
            std::string content = folder + "/" + std::to_string(number++);
            if (auto done = apk::write_file(content, node.data); !done) return done.error();
            out += "write \"" + content + "\" " + name + "\n";
        } else {
            return Error{path + ": neither a file nor a folder nor a symbolic link"};
        }
        auto set = [&](const char* field, const std::string& value) {
            out += "sif " + name + " " + field + " " + value + "\n";
        };
        if (!S_ISLNK(node.mode)) set("mode", octal(node.mode));
        if (node.uid) set("uid", std::to_string(node.uid));
        if (node.gid) set("gid", std::to_string(node.gid));
        if (node.mtime != epoch) set("mtime", "@" + std::to_string(node.mtime));
    }
    return out;
}

} // namespace muster::image
