#include "services/process/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <vector>

namespace muster::services {

namespace {

constexpr size_t max_groups_below = 10'000; // of one service: enough, and an end
constexpr size_t max_name = 128;

std::string read_all(int directory, const char* name) {
    std::string text;
    Fd file(::openat(directory, name, O_RDONLY | O_CLOEXEC));
    if (!file) return text;
    char buffer[4096];
    for (ssize_t size; (size = ::read(file.get(), buffer, sizeof buffer)) > 0;)
        text.append(buffer, static_cast<size_t>(size));
    return text;
}

bool write_to(int directory, const std::string& name, std::string_view text) {
    Fd file(::openat(directory, name.c_str(), O_WRONLY | O_CLOEXEC));
    return file && ::write(file.get(), text.data(), text.size()) >= 0;
}

// The groups below `directory`, outer before inner, relative; "." first.
std::vector<std::string> groups_below(int directory) {
    std::vector<std::string> groups{"."};
    for (size_t next = 0; next < groups.size() && groups.size() < max_groups_below; ++next) {
        int fd = ::openat(directory, groups[next].c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) continue;
        DIR* entries = ::fdopendir(fd);
        if (entries == nullptr) {
            ::close(fd);
            continue;
        }
        while (const dirent* entry = ::readdir(entries)) {
            std::string_view name = entry->d_name;
            if (entry->d_type != DT_DIR || name == "." || name == "..") continue;
            groups.push_back(groups[next] + "/" + std::string(name));
        }
        ::closedir(entries);
    }
    return groups;
}

// Sends `number` to all; how many there were.
size_t signal_all(int directory, const std::vector<std::string>& groups, int number) {
    size_t count = 0;
    for (const std::string& group : groups) {
        std::string pids = read_all(directory, (group + "/cgroup.procs").c_str());
        for (const char* at = pids.c_str(); *at != '\0';) {
            char* end = nullptr;
            long pid = std::strtol(at, &end, 10);
            if (end == at) break;
            at = *end == '\n' ? end + 1 : end;
            if (pid <= 0) continue; // 0: not in our pid namespace
            ::kill(static_cast<pid_t>(pid), number);
            ++count;
        }
    }
    return count;
}

// mountinfo writes blanks and the like as \ooo.
std::string unescape_octal(std::string_view text) {
    std::string result;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 3 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '3') {
            result += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                        (text[i + 3] - '0'));
            i += 3;
        } else {
            result += text[i];
        }
    }
    return result;
}

std::string_view next_part(std::string_view& rest, char separator) {
    size_t end = rest.find(separator);
    std::string_view part = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    return part;
}

} // namespace

Cgroup& Cgroup::operator=(Cgroup&& other) noexcept {
    if (this == &other) return *this;
    remove();
    parent_ = std::move(other.parent_);
    name_ = std::move(other.name_);
    directory_ = std::move(other.directory_);
    events_ = std::move(other.events_);
    path_ = std::move(other.path_);
    return *this;
}

bool Cgroup::populated() const {
    char text[256];
    ssize_t size = ::pread(events_.get(), text, sizeof text, 0);
    if (size <= 0) return errno != ENODEV; // ENODEV: the group itself is gone
    return std::string_view(text, static_cast<size_t>(size)).find("populated 0") ==
           std::string_view::npos;
}

Result<> Cgroup::set(const std::string& file, std::string_view value) const {
    if (write_to(directory(), file, value)) return {};
    return system_error(file + " = " + std::string(value), errno);
}

bool Cgroup::out_of_memory() const {
    std::string events = read_all(directory(), "memory.events");
    size_t at = events.find("oom_kill ");
    return at != std::string::npos && events[at + 9] != '0';
}

void Cgroup::signal(int number) const {
    signal_all(directory(), groups_below(directory()), number);
}

void Cgroup::kill() const {
    if (write_to(directory(), "cgroup.kill", "1")) return;
    // Frozen processes cannot fork, and SIGKILL reaches them all the same.
    bool frozen = write_to(directory(), "cgroup.freeze", "1");
    // Without the freezer: until a round finds nothing; somebody who forks faster than that may
    // win, which is why there is a limit.
    for (int round = 0; round < (frozen ? 1 : 100); ++round)
        if (signal_all(directory(), groups_below(directory()), SIGKILL) == 0) break;
    if (frozen) write_to(directory(), "cgroup.freeze", "0");
}

void Cgroup::remove() {
    if (!directory_) return;
    if (::unlinkat(parent_.get(), name_.c_str(), AT_REMOVEDIR) < 0 && errno != ENOENT) {
        // The service may have made groups of its own.
        std::vector<std::string> groups = groups_below(directory());
        for (size_t i = groups.size(); i > 1; --i)
            ::unlinkat(directory(), groups[i - 1].c_str(), AT_REMOVEDIR);
        ::unlinkat(parent_.get(), name_.c_str(), AT_REMOVEDIR);
    }
    events_.reset();
    directory_.reset();
    parent_.reset();
}

CgroupTree& CgroupTree::operator=(CgroupTree&& other) noexcept {
    if (this == &other) return *this;
    remove();
    path_ = std::move(other.path_);
    prefix_ = std::move(other.prefix_);
    directory_ = std::move(other.directory_);
    ours_ = std::exchange(other.ours_, false);
    return *this;
}

void CgroupTree::remove() {
    if (directory_ && ours_) ::rmdir(path_.c_str());
    directory_.reset();
}

Result<CgroupTree> CgroupTree::under_init(const std::string& path) {
    return open(path + "/services", "services/", false);
}

Result<CgroupTree> CgroupTree::standalone() {
    std::string own = own_cgroup_path(read_all(AT_FDCWD, "/proc/self/cgroup"),
                                      read_all(AT_FDCWD, "/proc/self/mountinfo"));
    if (own.empty()) return Error{"no cgroup2 is mounted here"};
    std::string name = "muster-" + std::to_string(::getpid());
    return open(own + "/" + name, name + "/", true);
}

Result<CgroupTree> CgroupTree::open(const std::string& path, std::string prefix, bool ours) {
    if (::mkdir(path.c_str(), 0755) < 0 && errno != EEXIST) return system_error(path, errno);
    CgroupTree tree;
    tree.path_ = path;
    tree.prefix_ = std::move(prefix);
    tree.ours_ = ours;
    tree.directory_.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!tree.directory_) return system_error(path, errno);
    return tree;
}

Result<> CgroupTree::enable(std::string_view controller) const {
    std::string order = "+" + std::string(controller);
    std::string none = "no controller " + std::string(controller);
    auto has = [&](int directory, const char* file) {
        std::string all = " " + read_all(directory, file);
        for (char& c : all)
            if (c == '\n') c = ' ';
        return all.find(" " + std::string(controller) + " ") != std::string::npos;
    };
    if (has(directory_.get(), "cgroup.subtree_control")) return {};
    // By itself our own group holds us, and what holds processes has no limited groups.
    if (ours_) return Error{none + ": only under init"};
    Fd parent(::openat(directory_.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!parent || !has(parent.get(), "cgroup.controllers")) return Error{none};
    for (int directory : {parent.get(), directory_.get()})
        if (!write_to(directory, "cgroup.subtree_control", order)) return system_error(none, errno);
    return {};
}

Result<Cgroup> CgroupTree::create(std::string_view text) const {
    std::string base = cgroup_name(text);
    std::string name = base;
    int number = 1;
    for (;;) {
        if (::mkdirat(directory_.get(), name.c_str(), 0755) == 0) break;
        if (errno != EEXIST) return system_error("cgroup " + path_ + "/" + name, errno);
        struct stat status {};
        if (::fstatat(directory_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            !S_ISDIR(status.st_mode)) {
            base = "_" + base; // one of the kernel's files, `cgroup.procs`
            name = base;
            continue;
        }
        if (number > 1000) return Error{"cgroup " + path_ + "/" + base + ": too many"};
        name = base + "+" + std::to_string(++number);
    }
    return open_group(std::move(name));
}

Result<Cgroup> CgroupTree::reopen(std::string_view path) const {
    if (!path.starts_with(prefix_) || path.find('/', prefix_.size()) != std::string_view::npos)
        return Error{"cgroup " + std::string(path) + ": not one of ours"};
    return open_group(std::string(path.substr(prefix_.size())));
}

void CgroupTree::remove_empty(const std::unordered_set<std::string>& used) const {
    int fd = ::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* entries = fd >= 0 ? ::fdopendir(fd) : nullptr;
    if (entries == nullptr) {
        if (fd >= 0) ::close(fd);
        return;
    }
    while (const dirent* entry = ::readdir(entries)) {
        std::string_view name = entry->d_name;
        if (entry->d_type != DT_DIR || name == "." || name == "..") continue;
        // The kernel refuses for one that has processes or groups in it.
        if (used.find(prefix_ + entry->d_name) == used.end())
            ::unlinkat(directory_.get(), entry->d_name, AT_REMOVEDIR);
    }
    ::closedir(entries);
}

Result<Cgroup> CgroupTree::open_group(std::string name) const {
    Cgroup group;
    group.path_ = prefix_ + name;
    group.parent_.reset(::fcntl(directory_.get(), F_DUPFD_CLOEXEC, 3));
    group.name_ = name;
    group.directory_.reset(
        ::openat(directory_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    group.events_.reset(::openat(group.directory_.get(), "cgroup.events", O_RDONLY | O_CLOEXEC));
    if (!group.parent_ || !group.directory_ || !group.events_)
        return system_error("cgroup " + path_ + "/" + name, errno);
    return group;
}

std::string cgroup_name(std::string_view text) {
    constexpr char hex[] = "0123456789ABCDEF";
    std::string name;
    for (char c : text) {
        auto byte = static_cast<unsigned char>(c);
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     std::string_view("_+@:-").find(c) != std::string_view::npos ||
                     (c == '.' && !name.empty());
        if (plain) {
            name += c;
        } else {
            name += '%';
            name += hex[byte >> 4];
            name += hex[byte & 15];
        }
    }
    if (name.empty()) name = "%";
    if (name.size() > max_name) {
        uint64_t sum = 14695981039346656037ULL; // FNV-1a: the same in every run
        for (char c : text)
            sum = (sum ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
        name.resize(max_name - 17);
        name += '~';
        for (int shift = 60; shift >= 0; shift -= 4)
            name += hex[(sum >> shift) & 15];
    }
    return name;
}

std::string own_cgroup_path(std::string_view cgroup_file, std::string_view mountinfo) {
    std::string own;
    bool found = false;
    while (!cgroup_file.empty() && !found) {
        std::string_view line = next_part(cgroup_file, '\n');
        if (!line.starts_with("0::")) continue;
        own = line.substr(3);
        found = true;
    }
    if (!found || own.starts_with("/..")) return {};
    while (!mountinfo.empty()) {
        // 36 35 0:31 ROOT MOUNT-POINT options [optional…] - TYPE source options
        std::string_view line = next_part(mountinfo, '\n');
        size_t dash = line.find(" - ");
        if (dash == std::string_view::npos || !line.substr(dash + 3).starts_with("cgroup2 "))
            continue;
        for (int skipped = 0; skipped < 3; ++skipped)
            next_part(line, ' ');
        std::string root = unescape_octal(next_part(line, ' '));
        std::string mount = unescape_octal(next_part(line, ' '));
        std::string below = own == "/" ? "" : own;
        if (root == "/") return mount + below;
        if (below == root) return mount;
        if (below.starts_with(root + "/")) return mount + below.substr(root.size());
    }
    return {};
}

} // namespace muster::services
