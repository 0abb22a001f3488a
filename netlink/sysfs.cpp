#include "netlink/sysfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <memory>

#include "netlink/files.h"

namespace muster::netlink {

namespace {

struct CloseFolder {
    void operator()(DIR* folder) const { ::closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

Folder open_folder(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return Folder(fd < 0 ? nullptr : ::fdopendir(fd));
}

// Calls visit(name) for each entry of a folder; none if it cannot be read.
template <typename Visit>
void each_entry(const std::string& path, Visit visit) {
    const Folder folder = open_folder(path);
    while (const dirent* entry = folder ? ::readdir(folder.get()) : nullptr) {
        if (entry->d_name[0] != '.') visit(entry->d_name);
    }
}

// Where a link leads; empty if there is none. `buffer` holds the result.
std::string_view read_link(const std::string& path, char (&buffer)[PATH_MAX]) {
    const ssize_t length = ::readlink(path.c_str(), buffer, sizeof buffer);
    const bool whole = length > 0 && static_cast<size_t>(length) < sizeof buffer;
    return {buffer, whole ? static_cast<size_t>(length) : 0};
}

} // namespace

bool Sysfs::available() const { return open_folder(root_ + "/devices") != nullptr; }

std::optional<Sysfs::Device> Sysfs::read(std::string_view devpath) const {
    std::string path = root_;
    path += devpath;
    const size_t folder = path.size();

    path += "/subsystem";
    char target[PATH_MAX];
    std::string_view subsystem = read_link(path, target);
    subsystem.remove_prefix(subsystem.rfind('/') + 1);
    if (subsystem.empty()) return {};

    path.resize(folder);
    path += "/uevent";
    std::optional<std::string> attribute = read_file(path);
    if (!attribute) return {};
    return Device{std::string(subsystem), std::move(*attribute)};
}

void Sysfs::walk(const std::function<void(const std::string&)>& found) const {
    const auto members = [&](const std::string& folder) {
        each_entry(folder, [&](const char* name) {
            char buffer[PATH_MAX];
            // "../../../devices/…"
            std::string_view target = read_link(folder + '/' + name, buffer);
            while (target.starts_with("../"))
                target.remove_prefix(3);
            const std::string devpath = '/' + std::string(target);
            if (devpath.starts_with("/devices/") && is_devpath(devpath)) found(devpath);
        });
    };
    const std::string buses = root_ + "/bus/", classes = root_ + "/class/";
    each_entry(buses, [&](const char* bus) { members(buses + bus + "/devices"); });
    each_entry(classes, [&](const char* name) { members(classes + name); });
}

uint64_t Sysfs::last_seqnum() const {
    const std::optional<std::string> text = read_file(root_ + "/kernel/uevent_seqnum");
    return text ? std::strtoull(text->c_str(), nullptr, 10) : 0;
}

} // namespace muster::netlink
