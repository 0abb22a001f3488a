"""Writes and unpacks cpio archives of the kind that the kernel takes (newc; buffer-format.rst)."""

import os
import stat

from .failure import Failure


class Archive:
    """Collects members; `bytes()` ends it. Everything belongs to root, times are zero."""

    def __init__(self):
        self.parts = []
        self.names = set()

    def _member(self, name, mode, data=b""):
        name = name.strip("/")
        fields = (len(self.names) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0,
                  len(os.fsencode(name)) + 1, 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields)
        head += os.fsencode(name) + b"\0"
        self.parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]
        self.names.add(name)

    def folder(self, path, mode=0o755):
        """A folder and those above it. An existing one in the guest keeps what is in it."""
        path = path.strip("/")
        if not path or path in self.names:
            return
        self.folder(os.path.dirname(path))
        self._member(path, stat.S_IFDIR | mode)

    def file(self, path, data, mode=0o644):
        self.folder(os.path.dirname(path))
        self._member(path, stat.S_IFREG | mode, data)

    def tree(self, host, guest):
        """A file, link or folder from here, with all that is in it, under the name GUEST."""
        status = os.lstat(host)
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            self.folder(os.path.dirname(guest))
            self._member(guest, stat.S_IFLNK | 0o777, os.fsencode(os.readlink(host)))
        elif stat.S_ISDIR(status.st_mode):
            self.folder(guest, mode)
            for entry in sorted(os.listdir(host)):
                self.tree(os.path.join(host, entry), guest.rstrip("/") + "/" + entry)
        else:
            with open(host, "rb") as source:
                self.file(guest, source.read(), mode)

    def bytes(self):
        self._member("TRAILER!!!", 0)
        return b"".join(self.parts)


def unpack(path, folder):
    """One archive into a new folder. Hard links are copies; owners are kept if we are root."""
    with open(path, "rb") as source:
        data = source.read()
    at = 0
    while True:
        if data[at:at + 6] != b"070701":
            raise Failure(f"{path}: no cpio member at byte {at}")
        fields = [int(data[at + 6 + 8 * n:at + 14 + 8 * n], 16) for n in range(13)]
        mode, uid, gid, size, name_size = (fields[n] for n in (1, 2, 3, 6, 11))
        name = os.fsdecode(data[at + 110:at + 110 + name_size - 1])
        start = at + 110 + name_size
        start += -start % 4
        if name == "TRAILER!!!":
            return
        put(os.path.join(folder, name.lstrip("/")), mode, (uid, gid), fields[9:11],
            data[start:start + size])
        at = start + size
        at += -at % 4


def put(path, mode, owner, device, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if stat.S_ISLNK(mode):
        os.symlink(data, os.fsencode(path))
    elif stat.S_ISDIR(mode):
        os.makedirs(path, exist_ok=True)
    elif stat.S_ISREG(mode):
        with open(path, "wb") as out:
            out.write(data)
    elif os.geteuid() == 0:
        os.mknod(path, mode, os.makedev(*device))
    else:
        return
    if os.geteuid() == 0:
        os.lchown(path, *owner)
    if not stat.S_ISLNK(mode):
        os.chmod(path, stat.S_IMODE(mode))
