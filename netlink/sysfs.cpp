#include "netlink/sysfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>
#include <vector>

#include "init/base/fd.h"
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

bool is_folder(DIR* folder, const dirent& entry) {
    if (entry.d_type != DT_UNKNOWN) return entry.d_type == DT_DIR;
    struct stat status;
    return ::fstatat(::dirfd(folder), entry.d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(status.st_mode);
}

} // namespace

bool Sysfs::available() const { return open_folder(root_ + "/devices") != nullptr; }

std::optional<Sysfs::Device> Sysfs::read(std::string_view devpath) const {
    std::string path = root_;
    path += devpath;
    const size_t folder = path.size();

    path += "/subsystem";
    char target[PATH_MAX];
    const ssize_t length = ::readlink(path.c_str(), target, sizeof target);
    if (length <= 0 || static_cast<size_t>(length) == sizeof target) return {};
    std::string_view subsystem(target, static_cast<size_t>(length));
    subsystem.remove_prefix(subsystem.rfind('/') + 1);
    if (subsystem.empty()) return {};

    path.resize(folder);
    path += "/uevent";
    std::optional<std::string> attribute = read_file(path);
    if (!attribute) return {};
    return Device{std::string(subsystem), std::move(*attribute)};
}

void Sysfs::walk(const std::function<void(const std::string&)>& found) const {
    std::vector<std::string> waiting{"/devices"};
    while (!waiting.empty()) {
        const std::string here = std::move(waiting.back());
        waiting.pop_back();
        const Folder folder = open_folder(root_ + here);
        if (!folder) continue;
        bool has_uevent = false, has_subsystem = false;
        const size_t first_child = waiting.size();
        while (const dirent* entry = ::readdir(folder.get())) {
            const std::string_view name = entry->d_name;
            if (name == "." || name == "..") continue;
            if (name == "uevent")
                has_uevent = true;
            else if (name == "subsystem")
                has_subsystem = true;
            else if (is_folder(folder.get(), *entry))
                waiting.push_back(here + '/' + entry->d_name);
        }
        if (!has_uevent || !has_subsystem) continue;
        found(here);
        // A device's folder `power` holds attributes.
        for (size_t i = first_child; i < waiting.size(); ++i) {
            if (waiting[i].ends_with("/power")) {
                waiting.erase(waiting.begin() + static_cast<ptrdiff_t>(i));
                break;
            }
        }
    }
}

uint64_t Sysfs::last_seqnum() const {
    const std::optional<std::string> text = read_file(root_ + "/kernel/uevent_seqnum");
    return text ? std::strtoull(text->c_str(), nullptr, 10) : 0;
}

} // namespace muster::netlink
