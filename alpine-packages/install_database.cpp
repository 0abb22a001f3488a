#include "alpine-packages/install_database.h"

#include <cstdio>
#include <map>

#include "alpine-packages/digest.h"
#include "alpine-packages/tar_write.h"

namespace muster::apk {
namespace {

std::string owner_and_mode(const InstalledFile& file, std::uint32_t mode) {
    char text[64];
    std::snprintf(text, sizeof text, "%u:%u:%o", file.uid, file.gid, mode);
    return text;
}

std::string join(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words)
        out += (out.empty() ? "" : " ") + word;
    return out;
}

std::string file_lines(const Package& package, const InstalledFile& file) {
    const TarEntry& entry = *file.entry;
    std::size_t slash = entry.path.rfind('/');
    std::string out = "R:" + entry.path.substr(slash == std::string::npos ? 0 : slash + 1) + "\n";
    std::string owner = owner_and_mode(file, entry.kind == FileKind::symlink ? 0777 : entry.mode);
    if (owner != "0:0:644") out += "a:" + owner + "\n";
    if (std::string sum = installed_sum(package, entry); !sum.empty()) out += "Z:" + q1(sum) + "\n";
    return out;
}

} // namespace

std::string installed_sum(const Package& package, const TarEntry& entry) {
    if (entry.kind == FileKind::folder) return "";
    if (entry.kind == FileKind::symlink) return sha1(entry.target);
    if (entry.kind == FileKind::file) return entry.sha1;
    for (const TarEntry& other : package.files)
        if (other.path == entry.target) return other.sha1;
    return "";
}

std::string installed_record(const std::string& record, const Package& package,
                             const std::vector<InstalledFile>& files, bool script_failed) {
    std::string out = record;
    if (!out.ends_with('\n')) out += '\n';
    if (!package.info.replaces.empty()) out += "r:" + join(package.info.replaces) + "\n";
    if (!package.info.replaces_priority.empty())
        out += "q:" + package.info.replaces_priority + "\n";
    if (script_failed) out += "f:s\n";
    // each folder once, followed by its files
    std::vector<std::string> order;
    std::map<std::string, std::string> lines;
    auto folder = [&](const std::string& path) -> std::string& {
        auto [place, fresh] = lines.try_emplace(path);
        if (fresh) {
            order.push_back(path);
            place->second = "F:" + path + "\n";
        }
        return place->second;
    };
    for (const InstalledFile& file : files) {
        const TarEntry& entry = *file.entry;
        if (entry.kind == FileKind::folder) {
            std::string& text = folder(entry.path);
            std::string owner = owner_and_mode(file, entry.mode);
            if (owner != "0:0:755") text += "M:" + owner + "\n";
        } else if (file.owned) {
            std::size_t slash = entry.path.rfind('/');
            folder(slash == std::string::npos ? "" : entry.path.substr(0, slash)) +=
                file_lines(package, file);
        }
    }
    for (const std::string& path : order)
        out += lines[path];
    return out + "\n";
}

std::string installed_scripts(const std::vector<const Package*>& packages) {
    TarWriter writer(0);
    for (const Package* package : packages)
        for (const TarEntry& entry : package->control)
            if (entry.kind == FileKind::file && entry.path != ".PKGINFO")
                writer.add(
                    {.path = package->info.full_name() + "." + package->identity + entry.path,
                     .mode = 0755,
                     .data = entry.data});
    return writer.take(true);
}

} // namespace muster::apk
