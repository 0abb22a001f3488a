#include "init/switch_root.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/line.h"

extern char** environ;

namespace muster::pid1 {

namespace {

constexpr const char* kMoved[] = {"/dev", "/proc", "/sys", "/run"};
constexpr const char* kUsual[] = {"/sbin/init", "/etc/init", "/bin/init", "/bin/sh"};
constexpr int kDepth = 32; // of directories in an initramfs; deeper ones stay

int program_in(int root, const char* path) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT;
    int fd = static_cast<int>(syscall(SYS_openat2, root, path, &how, sizeof how));
    if (fd < 0 && errno == ENOSYS) { // before Linux 5.6: at least it must exist
        while (*path == '/')
            ++path;
        struct stat file {};
        return fstatat(root, path, &file, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
    }
    if (fd < 0) return -errno;
    struct stat file {};
    int status = fstat(fd, &file) < 0 ? -errno : 0;
    close(fd);
    if (status < 0) return status;
    return S_ISREG(file.st_mode) && (file.st_mode & 0111) ? 0 : -EACCES;
}

struct Level {
    int fd;
    char name[256]; // in the level above
    long at;
    long size;
    alignas(8) char entries[4096];
};

// The child that empties the old root; the exec does not wait for it for ever.
void empty_in_child(int old_root) {
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        empty_directory(old_root);
        _exit(0);
    }
    close(old_root);
    if (child > 0) waitpid(child, nullptr, 0);
}

// The environment with where the state is; environ itself cannot be grown without allocating.
char** environment_with_state(int state_fd) {
    constexpr int kMany = 126;
    static char* variables[kMany + 2];
    static char setting[32];
    Line text(kStateVariable, "=", state_fd);
    copy_field(setting, sizeof setting, text.view());
    int count = 0;
    for (char** variable = environ; *variable != nullptr && count < kMany; ++variable)
        variables[count++] = *variable;
    variables[count++] = setting;
    variables[count] = nullptr;
    return variables;
}

} // namespace

int is_mount_point(const char* path) {
    struct stat here {};
    struct stat above {};
    Line parent(path, "/..");
    if (stat(path, &here) < 0 || stat(parent.c_str(), &above) < 0) return -errno;
    if (!S_ISDIR(here.st_mode)) return -ENOTDIR;
    return here.st_dev != above.st_dev || here.st_ino == above.st_ino ? 1 : 0;
}

int find_new_init(const records::SwitchRoot& to, const char* from_command_line, NewInit& init) {
    int mounted = is_mount_point(to.new_root);
    if (mounted <= 0) return mounted == 0 ? -EXDEV : mounted;
    struct stat old_root {};
    struct stat new_root {};
    if (stat("/", &old_root) < 0 || stat(to.new_root, &new_root) < 0) return -errno;
    if (old_root.st_dev == new_root.st_dev && old_root.st_ino == new_root.st_ino) return -EXDEV;
    int root = open(to.new_root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return -errno;
    const char* named = to.init[0] != 0 ? to.init : from_command_line;
    int status = -ENOENT;
    if (named[0] != 0) {
        copy_field(init.path, sizeof init.path, named);
        status = program_in(root, named);
    } else {
        for (const char* usual : kUsual) {
            copy_field(init.path, sizeof init.path, usual);
            status = program_in(root, usual);
            if (status == 0) break;
        }
    }
    close(root);
    return status;
}

void empty_directory(int dir) {
    static Level levels[kDepth];
    struct stat start {};
    if (fstat(dir, &start) < 0) return;
    int depth = 0;
    levels[0].fd = dir;
    levels[0].at = levels[0].size = 0;
    while (depth >= 0) {
        Level& level = levels[depth];
        if (level.at >= level.size) {
            level.size = syscall(SYS_getdents64, level.fd, level.entries, sizeof level.entries);
            level.at = 0;
            if (level.size <= 0) { // its end
                close(level.fd);
                if (depth > 0) unlinkat(levels[depth - 1].fd, level.name, AT_REMOVEDIR);
                --depth;
                continue;
            }
        }
        // struct linux_dirent64: inode 8, offset 8, length 2, type 1, name.
        std::uint16_t length;
        std::memcpy(&length, level.entries + level.at + 16, sizeof length);
        const char* name = level.entries + level.at + 19;
        level.at += length;
        if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0) continue;
        struct stat entry {};
        if (fstatat(level.fd, name, &entry, AT_SYMLINK_NOFOLLOW) < 0) continue;
        if (entry.st_dev != start.st_dev) continue; // a mount point
        if (!S_ISDIR(entry.st_mode)) {
            unlinkat(level.fd, name, 0);
            continue;
        }
        if (depth + 1 == kDepth) continue;
        int fd = openat(level.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) continue;
        ++depth;
        levels[depth].fd = fd;
        levels[depth].at = levels[depth].size = 0;
        copy_field(levels[depth].name, sizeof levels[depth].name, name);
    }
}

int switch_root(const records::SwitchRoot& to, State& state, int state_fd, char* const* arguments) {
    NewInit init;
    if (int bad = find_new_init(to, state.command_line.init, init); bad < 0) return bad;
    for (const char* path : kMoved) {
        if (is_mount_point(path) != 1) continue;
        Line target(to.new_root, path);
        mkdir(target.c_str(), 0755); // mostly there
        if (mount(path, target.c_str(), nullptr, MS_MOVE, nullptr) < 0)
            umount2(path, MNT_DETACH); // the new init mounts its own
    }
    int old_root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (old_root < 0 || chdir(to.new_root) < 0) return -errno;
    if (mount(".", "/", nullptr, MS_MOVE, nullptr) < 0) {
        int error = errno;
        close(old_root);
        return -error;
    }
    if (chroot(".") < 0 || chdir("/") < 0) return -errno;
    if (state.initramfs)
        empty_in_child(old_root);
    else
        close(old_root);

    // Nothing of the old system runs any more: only what is kept goes over.
    state.phase = Phase::start;
    state.action = records::Action::none;
    state.up = false;
    state.starts = 0;
    state.failures = 0;
    state.briefs = 0;
    for (std::uint32_t slot = 0; slot < records::kSlots; ++slot)
        while (const SlotDescriptors::Entry* entry = state.slot_descriptors.next(slot))
            state.slot_descriptors.drop(slot, entry->named.generation);
    state.store.set_close_on_exec(false);
    fcntl(state_fd, F_SETFD, 0);
    sigset_t none;
    sigset_t before;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, &before);
    char* words[32] = {init.path};
    for (int i = 0; i < 30 && arguments[i] != nullptr; ++i)
        words[i + 1] = arguments[i];
    execve(init.path, words, environment_with_state(state_fd));
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, nullptr);
    fcntl(state_fd, F_SETFD, FD_CLOEXEC);
    state.store.set_close_on_exec(true);
    return -error;
}

} // namespace muster::pid1
