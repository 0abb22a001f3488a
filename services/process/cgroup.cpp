#include "services/process/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <vector>

#include "init/base/fnv.h"

namespace muster::services {

namespace {

constexpr size_t max_groups_below = 10'000; // of one service: enough, and an end
constexpr size_t max_name = 128;

std::string read_all(Fd file) {
    std::string text;
    char buffer[4096];
    if (file)
        for (ssize_t size; (size = ::read(file.get(), buffer, sizeof buffer)) > 0;)
            text.append(buffer, static_cast<size_t>(size));
    return text;
}

std::string read_all(int directory, const char* name) {
    return read_all(Fd(::openat(directory, name, O_RDONLY | O_CLOEXEC)));
}

bool write_all(Fd file, std::string_view text) {
    return file && ::write(file.get(), text.data(), text.size()) >= 0;
}

bool write_to(int directory, const std::string& name, std::string_view text) {
    return write_all(Fd(::openat(directory, name.c_str(), O_WRONLY | O_CLOEXEC)), text);
}

// `top` and the groups below it, outer before inner; `open` gives a descriptor of one.
template <typename Open>
std::vector<std::string> groups_below(const char* top, const Open& open) {
    std::vector<std::string> groups{top};
    for (size_t next = 0; next < groups.size() && groups.size() < max_groups_below; ++next) {
        int fd = open(groups[next], O_RDONLY | O_DIRECTORY);
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

// All that are in it and below, and not in a pid namespace that we do not see.
template <typename Open, typename Each>
void each_process(const char* top, const Open& open, Each each) {
    for (const std::string& group : groups_below(top, open)) {
        std::string pids = read_all(Fd(open(group + "/cgroup.procs", O_RDONLY)));
        for (const char* at = pids.c_str(); *at != '\0';) {
            char* end = nullptr;
            long pid = std::strtol(at, &end, 10);
            if (end == at) break;
            at = *end == '\n' ? end + 1 : end;
            if (pid > 0) each(static_cast<pid_t>(pid));
        }
    }
}

// Sends `number` to all; how many there were.
template <typename Open>
size_t signal_all(const char* top, const Open& open, int number) {
    size_t count = 0;
    each_process(top, open, [&](pid_t pid) {
        ::kill(pid, number);
        ++count;
    });
    return count;
}

bool says_populated(std::string_view events) {
    return events.find("populated 0") == std::string_view::npos;
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

// --- Cgroup ---

int Cgroup::Parent::open(const std::string& path, int flags) const {
    int fd = ::openat(directory.get(), path.c_str(), flags | O_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE) && spare) {
        spare.reset();
        fd = ::openat(directory.get(), path.c_str(), flags | O_CLOEXEC);
    } else if (!spare) { // what it was given up for is closed by now
        int error = errno;
        spare.reset(::fcntl(directory.get(), F_DUPFD_CLOEXEC, 3));
        errno = error;
    }
    return fd;
}

Cgroup& Cgroup::operator=(Cgroup&& other) noexcept {
    if (this == &other) return *this;
    discard();
    parent_ = std::move(other.parent_);
    path_ = std::move(other.path_);
    late_ = other.late_;
    return *this;
}

std::string Cgroup::file(std::string_view file) const {
    std::string path(name());
    path += '/';
    path += file;
    return path;
}

Result<Fd> Cgroup::open_directory() const {
    Fd directory(parent_->open(name(), O_RDONLY | O_DIRECTORY));
    if (!directory) return system_error("cgroup " + path_, errno);
    return directory;
}

Fd Cgroup::open_events() const { return Fd(parent_->open(file("cgroup.events"), O_RDONLY)); }

bool Cgroup::populated(int events) {
    char text[256];
    ssize_t size = ::pread(events, text, sizeof text, 0);
    if (size <= 0) return errno != ENODEV; // ENODEV: the group itself is gone
    return says_populated({text, static_cast<size_t>(size)});
}

bool Cgroup::populated() const {
    Fd events = open_events();
    return events ? populated(events.get()) : errno != ENOENT;
}

bool Cgroup::remove() {
    if (parent_ && (left() || !remove_directory())) {
        if (populated()) return false;
        // It may have become empty in between. What cannot be removed even so counts as gone.
        if (!left()) (void)remove_directory();
    }
    parent_ = {};
    path_.clear();
    return true;
}

Result<> Cgroup::set(const std::string& name, std::string_view value) const {
    if (write_all(Fd(parent_->open(file(name), O_WRONLY)), value)) return {};
    return system_error(name + " = " + std::string(value), errno);
}

bool Cgroup::out_of_memory() const {
    std::string events = read_all(Fd(parent_->open(file("memory.events"), O_RDONLY)));
    size_t at = events.find("oom_kill ");
    return at != std::string::npos && events[at + 9] != '0';
}

void Cgroup::signal(int number) const {
    auto open = [this](const std::string& path, int flags) { return parent_->open(path, flags); };
    signal_all(name(), open, number);
}

bool Cgroup::has(pid_t pid) const {
    auto open = [this](const std::string& path, int flags) { return parent_->open(path, flags); };
    bool found = false;
    each_process(name(), open, [&](pid_t each) { found = found || each == pid; });
    return found;
}

void Cgroup::kill() const {
    auto write = [this](std::string_view to, std::string_view text) {
        return write_all(Fd(parent_->open(file(to), O_WRONLY)), text);
    };
    if (write("cgroup.kill", "1")) return;
    // Frozen processes cannot fork, and SIGKILL reaches them all the same.
    bool frozen = write("cgroup.freeze", "1");
    // Without the freezer: until a round finds nothing; somebody who forks faster than that may
    // win, which is why there is a limit.
    auto open = [this](const std::string& path, int flags) { return parent_->open(path, flags); };
    for (int round = 0; round < (frozen ? 1 : 100); ++round)
        if (signal_all(name(), open, SIGKILL) == 0) break;
    if (frozen) write("cgroup.freeze", "0");
}

// With the groups that the service may have made in it.
bool Cgroup::remove_directory() const {
    // Most have none, and the kernel refuses as long as there is something in it.
    if (::unlinkat(parent_->directory.get(), name(), AT_REMOVEDIR) == 0 || errno == ENOENT)
        return true;
    if (populated()) return false;
    auto open = [this](const std::string& path, int flags) { return parent_->open(path, flags); };
    std::vector<std::string> groups = groups_below(name(), open);
    for (size_t i = groups.size(); i > 0; --i)
        if (::unlinkat(parent_->directory.get(), groups[i - 1].c_str(), AT_REMOVEDIR) < 0 &&
            errno != ENOENT)
            return false;
    return true;
}

void Cgroup::discard() {
    if (parent_ && !left()) remove_directory();
    parent_ = {};
    path_.clear();
}

// --- CgroupTree ---

CgroupTree& CgroupTree::operator=(CgroupTree&& other) noexcept {
    if (this == &other) return *this;
    remove();
    path_ = std::move(other.path_);
    parent_ = std::move(other.parent_);
    ours_ = std::exchange(other.ours_, false);
    return *this;
}

void CgroupTree::remove() {
    if (parent_ && ours_) ::rmdir(path_.c_str());
    parent_ = {};
}

void CgroupTree::leave() const {
    if (parent_) parent_->leaves = true;
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
    tree.ours_ = ours;
    auto parent = make_ref<Cgroup::Parent>();
    parent->prefix = std::move(prefix);
    parent->directory.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!parent->directory) return system_error(path, errno);
    parent->spare.reset(::fcntl(parent->directory.get(), F_DUPFD_CLOEXEC, 3));
    tree.parent_ = std::move(parent);
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
    if (has(directory(), "cgroup.subtree_control")) return {};
    // By itself our own group holds us, and what holds processes has no limited groups.
    if (ours_) return Error{none + ": only under init"};
    Fd parent(::openat(directory(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!parent || !has(parent.get(), "cgroup.controllers")) return Error{none};
    for (int directory : {parent.get(), directory()})
        if (!write_to(directory, "cgroup.subtree_control", order)) return system_error(none, errno);
    return {};
}

Result<Cgroup> CgroupTree::create(std::string_view text) const {
    std::string base = cgroup_name(text);
    std::string name = base;
    int number = 1;
    for (;;) {
        if (::mkdirat(directory(), name.c_str(), 0755) == 0) break;
        if (errno != EEXIST) return system_error("cgroup " + path_ + "/" + name, errno);
        struct stat status {};
        if (::fstatat(directory(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            !S_ISDIR(status.st_mode)) {
            base = "_" + base; // one of the kernel's files, `cgroup.procs`
            name = base;
            continue;
        }
        if (number > 1000) return Error{"cgroup " + path_ + "/" + base + ": too many"};
        name = base + "+" + std::to_string(++number);
    }
    return group(name);
}

Result<Cgroup> CgroupTree::reopen(std::string_view path) const {
    size_t start = parent_->prefix.size();
    if (!path.starts_with(parent_->prefix) || path.size() == start ||
        path.find('/', start) != std::string_view::npos)
        return Error{"cgroup " + std::string(path) + ": not one of ours"};
    return group(std::string(path.substr(start)));
}

void CgroupTree::remove_empty(const std::unordered_set<std::string>& used) const {
    int fd = ::openat(directory(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* entries = fd >= 0 ? ::fdopendir(fd) : nullptr;
    if (entries == nullptr) {
        if (fd >= 0) ::close(fd);
        return;
    }
    while (const dirent* entry = ::readdir(entries)) {
        std::string_view name = entry->d_name;
        if (entry->d_type != DT_DIR || name == "." || name == "..") continue;
        // The kernel refuses for one that has processes or groups in it.
        if (used.find(parent_->prefix + entry->d_name) == used.end())
            ::unlinkat(directory(), entry->d_name, AT_REMOVEDIR);
    }
    ::closedir(entries);
}

Cgroup CgroupTree::group(const std::string& name) const {
    Cgroup group;
    group.parent_ = parent_;
    group.path_ = parent_->prefix + name;
    group.late_ = parent_->leaves;
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
        uint64_t sum = fnv1a(text);
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
