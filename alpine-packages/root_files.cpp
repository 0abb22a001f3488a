#include "alpine-packages/root_files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "alpine-packages/digest.h"
#include "alpine-packages/files.h"

namespace muster::apk {
namespace {

int open_inside(int root, const std::string& path, std::uint64_t flags) {
    open_how how{};
    how.flags = flags | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    return static_cast<int>(
        syscall(SYS_openat2, root, path.empty() ? "." : path.c_str(), &how, sizeof how));
}

Result<> write_all(int fd, std::string_view data, const std::string& path) {
    while (!data.empty()) {
        ssize_t put = ::write(fd, data.data(), data.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return system_error("write " + path, errno);
        data.remove_prefix(static_cast<std::size_t>(put));
    }
    return {};
}

Result<std::string> read_all(int fd, const std::string& path) {
    std::string data;
    for (;;) {
        std::size_t have = data.size();
        data.resize(have + (1 << 16));
        ssize_t got = ::read(fd, data.data() + have, 1 << 16);
        data.resize(have + (got > 0 ? static_cast<std::size_t>(got) : 0));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error("read " + path, errno);
        if (got == 0) return data;
    }
}

} // namespace

Result<RootFiles> RootFiles::open(const std::string& folder) {
    if (auto done = make_folders(folder); !done) return done.error();
    RootFiles out;
    out.folder_ = folder;
    out.root_ = Fd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!out.root_) return system_error("open " + folder, errno);
    return out;
}

Result<> RootFiles::make_folder(const std::string& path) {
    for (std::size_t end = path.find('/');; end = path.find('/', end + 1)) {
        std::string part = path.substr(0, end);
        Fd there(open_inside(root_.get(), part, O_PATH | O_DIRECTORY));
        if (!there) {
            if (errno != ENOENT) return system_error("open " + folder_ + "/" + part, errno);
            std::size_t slash = part.rfind('/');
            bool top = slash == std::string::npos;
            Fd above(
                open_inside(root_.get(), top ? "" : part.substr(0, slash), O_PATH | O_DIRECTORY));
            std::string base = top ? part : part.substr(slash + 1);
            if (!above || mkdirat(above.get(), base.c_str(), 0755) != 0)
                return system_error("mkdir " + folder_ + "/" + part, errno);
            if (fchmodat(above.get(), base.c_str(), 0755, 0) != 0)
                return system_error("chmod " + folder_ + "/" + part, errno);
        }
        if (end == std::string::npos) return {};
    }
}

// The opened folder that PATH is in, and its last component.
Result<int> RootFiles::parent(const std::string& path, std::string& base) {
    std::size_t slash = path.rfind('/');
    bool top = slash == std::string::npos;
    std::string folder = top ? "" : path.substr(0, slash);
    base = top ? path : path.substr(slash + 1);
    if (last_ && folder == last_path_) return last_.get();
    last_ = Fd(open_inside(root_.get(), folder, O_PATH | O_DIRECTORY));
    if (!last_ && errno == ENOENT) {
        if (auto done = make_folder(folder); !done) return done.error();
        last_ = Fd(open_inside(root_.get(), folder, O_PATH | O_DIRECTORY));
    }
    if (!last_) return system_error("open " + folder_ + "/" + folder, errno);
    last_path_ = folder;
    return last_.get();
}

Result<> RootFiles::put_folder(const TarEntry& entry, std::uint32_t uid, std::uint32_t gid) {
    std::string base;
    auto folder = parent(entry.path, base);
    if (!folder) return folder.error();
    bool fresh = mkdirat(*folder, base.c_str(), 0755) == 0;
    if (!fresh && errno != EEXIST)
        return system_error("mkdir " + folder_ + "/" + entry.path, errno);
    struct stat st {};
    if (fstatat(*folder, base.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        return system_error("stat " + folder_ + "/" + entry.path, errno);
    if (S_ISLNK(st.st_mode)) return make_folder(entry.path); // to a folder, which keeps its mode
    if (!S_ISDIR(st.st_mode))
        return Error{folder_ + "/" + entry.path + ": is there and is no folder"};
    // what says more than the usual counts, whatever the order
    if (!fresh && entry.mode == 0755 && uid == 0 && gid == 0) return {};
    if (geteuid() == 0 && fchownat(*folder, base.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) != 0)
        return system_error("chown " + folder_ + "/" + entry.path, errno);
    if (fchmodat(*folder, base.c_str(), entry.mode, 0) != 0)
        return system_error("chmod " + folder_ + "/" + entry.path, errno);
    return {};
}

Result<> RootFiles::write_at(int folder, const std::string& base, const TarEntry& entry,
                             std::uint32_t uid, std::uint32_t gid) {
    std::string shown = folder_ + "/" + entry.path;
    bool root = geteuid() == 0;
    if (entry.kind == FileKind::symlink) {
        if (symlinkat(entry.target.c_str(), folder, base.c_str()) != 0)
            return system_error("link " + shown, errno);
        if (root && fchownat(folder, base.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) != 0)
            return system_error("chown " + shown, errno);
        return {};
    }
    if (entry.kind == FileKind::hardlink) {
        Fd target(open_inside(root_.get(), entry.target, O_PATH | O_NOFOLLOW));
        if (!target) return system_error("open " + folder_ + "/" + entry.target, errno);
        std::string by_number = "/proc/self/fd/" + std::to_string(target.get());
        if (linkat(AT_FDCWD, by_number.c_str(), folder, base.c_str(), AT_SYMLINK_FOLLOW) != 0)
            return system_error("link " + shown, errno);
        return {};
    }
    Fd fd(openat(folder, base.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd) return system_error("create " + shown, errno);
    if (auto done = write_all(fd.get(), entry.data, shown); !done) return done;
    if (root && fchown(fd.get(), uid, gid) != 0) return system_error("chown " + shown, errno);
    if (fchmod(fd.get(), entry.mode) != 0) return system_error("chmod " + shown, errno);
    for (const auto& [name, value] : entry.attributes)
        if (fsetxattr(fd.get(), name.c_str(), value.data(), value.size(), 0) != 0)
            refused_ += entry.path + ": " + name + ": " + std::strerror(errno) + "\n";
    timespec times[2] = {{0, UTIME_OMIT}, {entry.mtime, 0}};
    if (futimens(fd.get(), times) != 0) return system_error("set the time of " + shown, errno);
    return {};
}

Result<Put> RootFiles::put(const TarEntry& entry, std::uint32_t uid, std::uint32_t gid, bool ours) {
    std::string base;
    auto folder = parent(entry.path, base);
    if (!folder) return folder.error();
    Put result = Put::done;
    struct stat st {};
    if (fstatat(*folder, base.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISDIR(st.st_mode))
            return Error{folder_ + "/" + entry.path + ": is there and is a folder"};
        if (!ours && entry.kind == FileKind::file && S_ISREG(st.st_mode) &&
            entry.path.starts_with("etc/")) {
            Fd there(openat(*folder, base.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
            if (!there) return system_error("open " + folder_ + "/" + entry.path, errno);
            auto data = read_all(there.get(), entry.path);
            if (!data) return data.error();
            if (*data != entry.data) {
                base += ".apk-new";
                result = Put::beside;
            }
        }
        if (unlinkat(*folder, base.c_str(), 0) != 0 && errno != ENOENT)
            return system_error("remove " + folder_ + "/" + entry.path, errno);
    }
    if (auto done = write_at(*folder, base, entry, uid, gid); !done) return done.error();
    return result;
}

Result<> RootFiles::write(const std::string& path, std::string_view data, std::uint32_t mode) {
    std::string base;
    auto folder = parent(path, base);
    if (!folder) return folder.error();
    std::string beside = base + ".new";
    unlinkat(*folder, beside.c_str(), 0);
    Fd fd(openat(*folder, beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                 0600));
    if (!fd) return system_error("create " + folder_ + "/" + path, errno);
    if (auto done = write_all(fd.get(), data, path); !done) return done;
    if (fchmod(fd.get(), mode) != 0) return system_error("chmod " + path, errno);
    if (renameat(*folder, beside.c_str(), *folder, base.c_str()) != 0)
        return system_error("rename to " + folder_ + "/" + path, errno);
    return {};
}

Result<std::string> RootFiles::read(const std::string& path) {
    Fd fd(open_inside(root_.get(), path, O_RDONLY | O_NONBLOCK));
    if (!fd) return system_error("open " + folder_ + "/" + path, errno);
    return read_all(fd.get(), path);
}

bool RootFiles::exists(const std::string& path) {
    return Fd(open_inside(root_.get(), path, O_PATH | O_NOFOLLOW)).valid();
}

void RootFiles::remove(const std::string& path) {
    std::string base;
    if (auto folder = parent(path, base)) unlinkat(*folder, base.c_str(), 0);
}

} // namespace muster::apk
