"""The initrd's tree, unpacked once and shared read-only by all namespace runs."""

import fcntl
import os
import shutil

from .cpio import unpack
from .vm import need

# Not in build/, where make looks for files.
CACHE = os.environ.get("MUSTER_CACHE") or os.path.expanduser("~/.cache/muster")
TREES = os.path.join(CACHE, "trees")


class Tree:
    """Holds a shared lock while in use, so that nobody clears it away."""

    def __init__(self):
        image = need("initrd/root.cpio")  # initrd.img is this one, compressed
        status = os.stat(image)
        name = "%x-%x" % (status.st_mtime_ns, status.st_size)
        os.makedirs(TREES, exist_ok=True)
        self.folder = os.path.join(TREES, name)
        self.lock = open_lock(name)
        fcntl.flock(self.lock, fcntl.LOCK_SH)
        if os.path.isdir(self.folder):
            return
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        if not os.path.isdir(self.folder):
            remove_others(name)
            new = self.folder + ".new"
            shutil.rmtree(new, ignore_errors=True)
            unpack(image, new)
            os.rename(new, self.folder)
        fcntl.flock(self.lock, fcntl.LOCK_SH)

    def end(self):
        os.close(self.lock)


def open_lock(name):
    path = os.path.join(TREES, name + ".lock")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def remove_others(name):
    """Trees that are not in use, of images that were made anew or of other checkouts."""
    for entry in os.listdir(TREES):
        other = entry.split(".")[0]
        if other == name or entry.endswith(".lock"):
            continue
        lock = open_lock(other)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(os.path.join(TREES, entry), ignore_errors=True)
            os.unlink(os.path.join(TREES, other + ".lock"))
        except OSError:
            pass
        finally:
            os.close(lock)


def copy(source, target):
    """Like the initrd's extra archive: over what is there, all of it root's."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
        shutil.copystat(source, target)
        for entry in os.listdir(source):
            copy_entry(os.path.join(source, entry), os.path.join(target, entry))
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        copy_entry(source, target)


def copy_entry(source, target):
    if os.path.islink(source):
        if os.path.lexists(target):
            os.unlink(target)
        os.symlink(os.readlink(source), target)
    elif os.path.isdir(source):
        copy(source, target)
    else:
        if os.path.islink(target):
            os.unlink(target)
        shutil.copyfile(source, target)
        shutil.copymode(source, target)
