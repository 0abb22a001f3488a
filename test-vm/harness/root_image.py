"""Disk images with the initrd's tree in them, for `--append root=…`."""

import os
import shutil
import subprocess
import sys
import tempfile

from . import guest
from .failure import Failure
from .options import added
from .tree import Tree, copy

USAGE = "usage: make-root [--add HOST:GUEST]... [--label LABEL] FILE"
SIZE = "96M"


def main(arguments):
    try:
        add, label, rest = [], "root", list(arguments)
        while len(rest) > 1:
            name, value = rest.pop(0), rest.pop(0)
            if name == "--add":
                add.append(added(value))
            elif name == "--label":
                label = value
            else:
                raise Failure(f"{name}: no such option\n{USAGE}", 2)
        if not rest:
            raise Failure(USAGE, 2)
        make(rest[0], add, label)
        return 0
    except Failure as failure:
        print(f"make-root: {failure}", file=sys.stderr)
        return failure.status


def make(path, add, label):
    folder = tempfile.mkdtemp(prefix="muster-boot-")
    tree = Tree()
    try:
        root = os.path.join(folder, "root")
        shutil.copytree(tree.folder, root, symlinks=True)
        for name, (mode, data) in guest.files().items():
            os.makedirs(os.path.dirname(root + name), exist_ok=True)
            with open(root + name, "wb") as out:
                out.write(data)
            os.chmod(root + name, mode)
        for host, name in add:
            copy(os.path.realpath(host), root + name)
        done = subprocess.run(
            ["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-d", root, path, SIZE],
            env=dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"),
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise Failure(f"{path}: {done.stderr.decode(errors='replace').strip()}")
    except FileNotFoundError as error:
        raise Failure(f"{error.filename}: not installed") from None
    finally:
        tree.end()
        shutil.rmtree(folder, ignore_errors=True)
