#include "alpine-packages/package_write.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>
#include <vector>

#include "alpine-packages/digest.h"
#include "alpine-packages/files.h"
#include "alpine-packages/gzip.h"
#include "alpine-packages/package.h"
#include "alpine-packages/tar.h"
#include "alpine-packages/tar_write.h"

namespace muster::apk {
namespace {

struct Staged {
    TarMember member;
    std::string data;
};

Result<std::string> link_target(const std::string& path) {
    std::array<char, 4096> text;
    ssize_t size = readlink(path.c_str(), text.data(), text.size());
    if (size < 0) return system_error("readlink " + path, errno);
    return std::string(text.data(), static_cast<std::size_t>(size));
}

Result<Staged> stage(const std::string& host, const std::string& path) {
    struct stat st {};
    if (lstat(host.c_str(), &st) != 0) return system_error("stat " + host, errno);
    std::string normal;
    if (std::string why = refuse_path(path, normal); !why.empty()) return Error{host + ": " + why};
    Staged out{.member = {.path = path, .mode = st.st_mode & 07777u, .sum = true}, .data = {}};
    if (S_ISDIR(st.st_mode)) {
        out.member.type = '5';
    } else if (S_ISLNK(st.st_mode)) {
        auto target = link_target(host);
        if (!target) return target.error();
        if (!stays_inside(path, *target)) return Error{host + ": leads out of the root"};
        out.member.type = '2';
        out.member.mode = 0777;
        out.member.target = std::move(*target);
    } else if (S_ISREG(st.st_mode)) {
        auto data = read_file(host);
        if (!data) return data.error();
        out.data = std::move(*data);
    } else {
        return Error{host + ": neither a file nor a folder nor a symbolic link"};
    }
    return out;
}

// Everything below FOLDER, folders before what is in them.
Result<std::vector<Staged>> stage_all(const std::string& folder) {
    std::vector<Staged> out;
    std::vector<std::string> open = {""};
    while (!open.empty()) {
        std::string at = std::move(open.back());
        open.pop_back();
        auto names = list_folder(folder + "/" + at);
        if (!names) return names.error();
        for (const std::string& name : *names) {
            std::string path = at.empty() ? name : at + "/" + name;
            if (at.empty() && name[0] == '.')
                return Error{folder + "/" + name + ": apk skips such names at the top"};
            auto one = stage(folder + "/" + path, path);
            if (!one) return one.error();
            if (one->member.type == '5') open.push_back(path);
            out.push_back(std::move(*one));
        }
    }
    std::sort(out.begin(), out.end(),
              [](const Staged& a, const Staged& b) { return a.member.path < b.member.path; });
    return out;
}

// The name of the command if PATH is where commands are.
std::string command_name(const Staged& file) {
    for (std::string_view folder : {"bin/", "sbin/", "usr/bin/", "usr/sbin/"}) {
        std::string_view path = file.member.path;
        if (!path.starts_with(folder) || file.member.type == '5') continue;
        path.remove_prefix(folder.size());
        bool runs = file.member.type == '2' || (file.member.mode & 0111) != 0;
        if (path.find('/') == std::string_view::npos && runs) return std::string(path);
    }
    return "";
}

constexpr std::array<std::string_view, 7> script_kinds = {
    "pre-install",   "post-install",   "pre-upgrade", "post-upgrade",
    "pre-deinstall", "post-deinstall", "trigger"};

Result<> add_scripts(const PackageParts& parts, const PackageInfo& info, TarWriter& control,
                     bool& any) {
    for (std::string_view kind : script_kinds) {
        std::string path = parts.scripts + "/" + info.name + "." + std::string(kind);
        if (!exists(path)) continue;
        auto text = read_file(path);
        if (!text) return text.error();
        if (!text->starts_with("#!/")) return Error{path + ": does not begin with #!/"};
        control.add({.path = "." + std::string(kind), .mode = 0755, .data = *text});
        any = true;
    }
    return {};
}

} // namespace

Result<std::string> write_package(const PackageParts& parts, const PrivateKey& key) {
    auto info = parse_pkginfo(parts.info);
    if (!info) return info.error();
    std::vector<Staged> files;
    if (!parts.files.empty()) {
        auto staged = stage_all(parts.files);
        if (!staged) return staged.error();
        files = std::move(*staged);
    }
    std::uint64_t size = 0;
    bool shell = false;
    std::set<std::string> commands;
    TarWriter data(parts.mtime);
    for (Staged& file : files) {
        file.member.data = file.data;
        size += file.data.size();
        data.add(file.member);
        if (std::string name = command_name(file); !name.empty()) commands.insert(name);
        shell = shell || file.data.starts_with("#!/bin/sh");
    }
    std::string members = compress_gzip(data.take(true));

    // .PKGINFO comes first, but says what the rest is.
    TarWriter scripts(parts.mtime);
    bool scripted = false;
    if (!parts.scripts.empty())
        if (auto done = add_scripts(parts, *info, scripts, scripted); !done) return done.error();
    std::string text = parts.info;
    if (!text.empty() && text.back() != '\n') text += '\n';
    // apk takes a package of size 0 for a virtual one, and runs none of its scripts
    text += "size = " + std::to_string(std::max<std::uint64_t>(size, 1)) + "\n";
    for (const std::string& name : commands)
        text += "provides = cmd:" + name + "=" + info->version + "\n";
    bool asked =
        std::find(info->depends.begin(), info->depends.end(), "/bin/sh") != info->depends.end();
    if ((shell || scripted) && !asked) text += "depend = /bin/sh\n";
    text += "datahash = " + hex(sha256(members)) + "\n";
    TarWriter head(parts.mtime);
    head.add({.path = ".PKGINFO", .data = text});
    std::string control = compress_gzip(head.take(false) + scripts.take(false));
    auto signature = key.signature_member(control);
    if (!signature) return signature.error();
    return *signature + control + members;
}

} // namespace muster::apk
