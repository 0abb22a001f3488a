"""System calls that Python lacks. Numbers from the kernel's uapi headers, x86-64 and the same
elsewhere."""

import ctypes
import os

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x20000000, 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 1, 24, 36

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, *what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (" ".join(str(w) for w in what), os.strerror(number)))


def unshare(flags):
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor, kind):
    _check(_libc.setns(descriptor, kind), "setns")


def prctl(option, value):
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), "prctl", option)


def mount(source, target, kind=None, flags=0, data=None):
    def text(value):
        return None if value is None else os.fsencode(value)
    result = _libc.mount(text(source), text(target), text(kind), ctypes.c_ulong(flags), text(data))
    _check(result, "mount", kind or source, "on", target)


def bind(source, target, read_only=False):
    mount(source, target, None, MS_BIND | MS_REC)
    if read_only:
        mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY)


def umount(target):
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), "umount", target)


def pivot_root(new, old):
    _check(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), "pivot_root", new)
