"""Writes cpio archives in the format the kernel unpacks (newc; kernel: buffer-format.rst)."""

import os
import stat


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
