#include "init/mounts.h"

#include <cerrno>
#include <cstring>

#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "init/line.h"

namespace muster::pid1 {

namespace {

struct FileSystem {
    const char* type;
    const char* target;
    unsigned long flags;
    const char* options;
    unsigned mode; // of the directory, if it has to be made
    long magic;    // statfs(2)
};

constexpr unsigned long kPlain = MS_NOSUID | MS_NODEV | MS_NOEXEC;

constexpr FileSystem kFileSystems[] = {
    {"proc", "/proc", kPlain, nullptr, 0555, PROC_SUPER_MAGIC},
    {"sysfs", "/sys", kPlain, nullptr, 0555, SYSFS_MAGIC},
    {"devtmpfs", "/dev", MS_NOSUID, "mode=0755", 0755, TMPFS_MAGIC},
    {"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755", 0755, TMPFS_MAGIC},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666", 0755,
     DEVPTS_SUPER_MAGIC},
    {"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777", 01777, TMPFS_MAGIC},
    {"cgroup2", "/sys/fs/cgroup", kPlain, nullptr, 0755, CGROUP2_SUPER_MAGIC},
};

struct Device {
    const char* path;
    unsigned minor;
    unsigned major = 1;
};

constexpr Device kDevices[] = {{"/dev/null", 3},   {"/dev/zero", 5},    {"/dev/full", 7},
                               {"/dev/random", 8}, {"/dev/urandom", 9}, {"/dev/tty", 0, 5}};

void complain(Kernel& kernel, std::string_view what, std::string_view where, int error) {
    kernel.print(Line("init: ", what, " ", where, ": ", strerror(-error)).view());
}

bool already_there(Kernel& kernel, const FileSystem& fs) {
    if (kernel.is_mount_point(fs.target) != 1) return false;
    if (kernel.file_system(fs.target) != fs.magic) return false;
    // The proc of another pid namespace is of no use: process 1 has to be us.
    return fs.magic != PROC_SUPER_MAGIC ||
           kernel.inode("/proc/self/ns/pid") == kernel.inode("/proc/1/ns/pid");
}

// A /dev of our own: the devices that every program expects.
void fill_dev(Kernel& kernel) {
    for (const Device& device : kDevices) {
        int made = kernel.make_device(device.path, S_IFCHR | 0666, device.major, device.minor);
        if (made == 0 || made == -EEXIST) continue;
        complain(kernel, "make", "the devices in /dev", made);
        return;
    }
}

void link_dev(Kernel& kernel) {
    kernel.make_symlink("/proc/self/fd", "/dev/fd"); // is there: fine; cannot be: said by others
    kernel.make_symlink("fd/0", "/dev/stdin");
    kernel.make_symlink("fd/1", "/dev/stdout");
    kernel.make_symlink("fd/2", "/dev/stderr");
}

// What a container does with the entry; nullptr: nothing.
const FileSystem* for_container(Kernel& kernel, const FileSystem& fs, FileSystem& changed) {
    changed = fs;
    if (std::strcmp(fs.type, "sysfs") == 0) changed.flags |= MS_RDONLY;
    if (std::strcmp(fs.type, "devtmpfs") == 0) {
        // Devices that are there were put there for us.
        if (kernel.inode("/dev/null") != 0) return nullptr;
        changed.type = "tmpfs";
    }
    if (std::strcmp(fs.type, "devpts") == 0)
        changed.options = "newinstance,mode=0620,ptmxmode=0666";
    return &changed;
}

} // namespace

void mount_file_systems(Kernel& kernel, const State& state) {
    for (const FileSystem& entry : kFileSystems) {
        if (already_there(kernel, entry)) continue;
        FileSystem changed;
        const FileSystem* fs = state.container ? for_container(kernel, entry, changed) : &entry;
        if (fs == nullptr) continue;
        if (kernel.inode(fs->target) == 0) {
            int made = kernel.make_directory(fs->target, fs->mode);
            if (made < 0) {
                complain(kernel, "make directory", fs->target, made);
                continue;
            }
        }
        int mounted = kernel.mount(fs->type, fs->target, fs->type, fs->flags, fs->options);
        if (mounted < 0) {
            complain(kernel, "mount", fs->target, mounted);
            continue;
        }
        if (std::strcmp(fs->target, "/dev") != 0) continue;
        if (state.container) fill_dev(kernel);
        link_dev(kernel);
    }
    if (state.container && kernel.inode("/dev/ptmx") == 0)
        kernel.make_symlink("pts/ptmx", "/dev/ptmx");
}

void make_cgroups(Kernel& kernel, State& state) {
    state.cgroup2 = false;
    state.cgroup_kill = false;
    if (kernel.file_system("/sys/fs/cgroup") != CGROUP2_SUPER_MAGIC) return;
    // The true root of the tree, which is the host's, has no cgroup.events (cgroups(7)); whatever
    // our namespace is, it would be the host's tree that we change.
    if (state.container && kernel.inode("/sys/fs/cgroup/cgroup.events") == 0) {
        kernel.print("init: no cgroup of our own: cgroups are not used");
        return;
    }
    static constexpr const char* kScopes[] = {
        "/sys/fs/cgroup/init.scope", "/sys/fs/cgroup/muster.scope", "/sys/fs/cgroup/services"};
    for (const char* scope : kScopes) {
        int made = kernel.make_directory(scope, 0755);
        if (made == 0 || made == -EEXIST) continue;
        complain(kernel, "make cgroup", scope, made);
        return;
    }
    int moved = kernel.write_file("/sys/fs/cgroup/init.scope/cgroup.procs", "0");
    if (moved < 0) {
        complain(kernel, "move to cgroup", kScopes[0], moved);
        return;
    }
    state.cgroup2 = true;
    state.cgroup_kill = kernel.inode("/sys/fs/cgroup/services/cgroup.kill") != 0;
}

} // namespace muster::pid1
