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
