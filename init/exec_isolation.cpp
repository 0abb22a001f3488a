// Namespaces and mounts of a service's own. Sources: unshare(2), mount(2), mount_setattr(2),
// namespaces(7).
#include <cerrno>

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init/exec_order.h"
#include "init/line.h"

namespace muster::pid1 {

namespace {

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

// mount_setattr(2), Linux 5.12; the C library may not know it.
constexpr long kMountSetattr = 442;
constexpr unsigned kRecursive = 0x8000; // AT_RECURSIVE
constexpr std::uint64_t kReadOnly = 1;  // MOUNT_ATTR_RDONLY
struct MountAttributes {
    std::uint64_t set, clear, propagation, user_namespace;
};

void set_read_only(const Order& order, const char* path, bool on) {
    MountAttributes attributes{on ? kReadOnly : 0, on ? 0 : kReadOnly, 0, 0};
    if (syscall(kMountSetattr, AT_FDCWD, path, kRecursive, &attributes, sizeof attributes) == 0)
        return;
    // Without it: this mount alone, not what is mounted below.
    if (errno == ENOSYS &&
        mount(nullptr, path, nullptr, MS_REMOUNT | MS_BIND | (on ? MS_RDONLY : 0), nullptr) == 0)
        return;
    fail(order, on ? "make read-only " : "make writable ", path, errno);
}

// PATH below the new root; a leading `-`: nullptr if it is not there.
const char* place(const Order& order, const char* path, Line& line) {
    bool optional = *path == '-';
    if (optional) ++path;
    if (order.has("--root")) line.add(order.value("--root"));
    line.add(path);
    struct stat about {};
    if (line.cut()) fail(order, "use path ", path, ENAMETOOLONG);
    if (stat(line.c_str(), &about) == 0) return line.c_str();
    if (!optional || errno != ENOENT) fail(order, "find ", line.view(), errno);
    return nullptr;
}

void mount_itself(const Order& order, const char* path) {
    if (path[0] == '/' && path[1] == '\0') return; // our root would stay below it
    if (mount(path, path, nullptr, MS_BIND | MS_REC, nullptr) < 0)
        fail(order, "mount onto itself ", path, errno);
}

void hide(const Order& order, const char* path) {
    struct stat about {};
    int made = stat(path, &about);
    if (made == 0 && S_ISDIR(about.st_mode))
        made = mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
                     "mode=000,size=4k");
    else if (made == 0)
        made = mount("/dev/null", path, nullptr, MS_BIND, nullptr);
    if (made < 0) fail(order, "hide ", path, errno);
}

void private_tmp(const Order& order) {
    for (const char* folder : {"-/tmp", "-/var/tmp"}) {
        Line line;
        const char* path = place(order, folder, line);
        if (path != nullptr && mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") < 0)
            fail(order, "mount ", path, errno);
    }
}

int namespaces_of(const Order& order, std::string_view names) {
    int flags = 0;
    while (!names.empty()) {
        std::string_view name = next_part(names, ',');
        int flag = name == "mount"    ? CLONE_NEWNS
                   : name == "net"    ? CLONE_NEWNET
                   : name == "ipc"    ? CLONE_NEWIPC
                   : name == "uts"    ? CLONE_NEWUTS
                   : name == "cgroup" ? CLONE_NEWCGROUP
                   : name == "pid"    ? CLONE_NEWPID
                   : name == "user"   ? CLONE_NEWUSER
                                      : 0;
        if (flag == 0) fail(order, "find namespace ", name, EINVAL);
        flags |= flag;
    }
    return flags;
}

// A loopback interface that is down is of no use to anybody.
void raise_loopback(const Order& order) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    copy_field(request.ifr_name, sizeof request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0) fail(order, "raise ", "lo", errno);
    close(fd);
}

} // namespace

void isolate(const Order& order) {
    const char* names = order.value("--namespaces");
    int flags = names != nullptr ? namespaces_of(order, names) : 0;
    bool pid = (flags & CLONE_NEWPID) != 0; // whoever started us made it
    bool mounts = order.has("--read-only") || order.has("--writable") || order.has("--hidden") ||
                  order.has("--private") || order.has("--root") || pid;
    bool users = (flags & CLONE_NEWUSER) != 0; // made later
    flags &= ~(CLONE_NEWPID | CLONE_NEWUSER);
    if (mounts) flags |= CLONE_NEWNS;
    if (flags != 0 && unshare(flags) < 0)
        fail(order, "make namespaces", names != nullptr ? " " : "", errno);
    if ((flags & CLONE_NEWNET) != 0) raise_loopback(order);
    if ((flags & CLONE_NEWNS) != 0 && mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) < 0)
        fail(order, "keep mounts to itself", "", errno);
    if (!mounts) return;

    const char* root = order.value("--root");
    if (root != nullptr) mount_itself(order, root);
    if (pid) {
        Line line;
        const char* path = place(order, "-/proc", line);
        if (path != nullptr &&
            mount("proc", path, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) < 0)
            fail(order, "mount ", path, errno);
    }
    auto each = [&](const char* option, auto action) {
        order.all(option, [&](const char* given) {
            Line line;
            if (const char* path = place(order, given, line)) action(path);
        });
    };
    each("--read-only", [&](const char* path) {
        mount_itself(order, path);
        set_read_only(order, path, true);
    });
    each("--writable", [&](const char* path) {
        mount_itself(order, path);
        set_read_only(order, path, false);
    });
    each("--hidden", [&](const char* path) { hide(order, path); });
    if (order.has("--private")) private_tmp(order);
    // A user namespace is not made below a root that is not that of the mounts.
    const char* from = root;
    if (root != nullptr && users && !(root[0] == '/' && root[1] == '\0')) {
        if (chdir(root) < 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) < 0)
            fail(order, "move the root to ", root, errno);
        from = ".";
    }
    if (root != nullptr && (chroot(from) < 0 || chdir("/") < 0))
        fail(order, "change root to ", root, errno);
}

} // namespace muster::pid1
