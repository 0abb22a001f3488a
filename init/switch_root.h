// Switching to another root file system by exec.
//
// The API file systems go along (/dev, /proc, /sys and /run with all below them are moved), the
// old root is emptied if it is an initramfs, the new one is moved over it, and its init is executed
// as process 1, whatever program that is. Our own finds its state through the descriptor named by
// the environment variable MUSTER_STATE; others ignore it.
//
// Sources: switch_root(8), Documentation/filesystems/ramfs-rootfs-initramfs.rst, openat2(2).
#pragma once

#include "init/state.h"

namespace muster::pid1 {

inline constexpr const char* kStateVariable = "MUSTER_STATE";

// 1, 0 or -errno: is `path` a directory on which a file system is mounted (`/` counts)?
int is_mount_point(const char* path);

struct NewInit {
    char path[records::kPathSize];
};

// Finds what is to be executed: `to.init`, else `from_command_line`, else the first of /sbin/init,
// /etc/init, /bin/init, /bin/sh that there is. Links are followed as they will be in the new root.
// 0; -EXDEV: `to.new_root` is no mount point; -ENOENT, -EACCES, …: of the program.
int find_new_init(const records::SwitchRoot& to, const char* from_command_line, NewInit& init);

// Empties a directory and what is below it, never crossing to another file system. Closes `dir`.
void empty_directory(int dir);

// Does it. `state_fd` is the memfd that holds `state`. Returns -errno: before the move of the root
// everything is as it was, but for mounts that were moved already.
int switch_root(const records::SwitchRoot& to, State& state, int state_fd, char* const* arguments);

} // namespace muster::pid1
