"""One control group of cgroup v2 for each run, under the one we are in ourselves."""

import os
import select
import time

from .failure import Failure

PREFIX = "muster-test-"


def prefix(run):
    """How the groups of one run of a scenario begin: several go on beside each other."""
    return f"{PREFIX}{run}-"


def maker(name):
    """The process whose group this is, as /proc knows it; None: none of our names."""
    pid = name.rsplit("-", 1)[1] if name.startswith(PREFIX) else ""
    return "/proc/" + pid if pid.isdigit() else None


def own_folder():
    """Our own group in the first cgroup2 mount."""
    mount_point = None
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            words = line.split()
            if words[2] == "cgroup2":
                mount_point = words[1]
                break
    if not mount_point:
        raise Failure("no cgroup2 is mounted: --in namespace needs one to end its processes")
    with open("/proc/self/cgroup", encoding="utf-8") as groups:
        for line in groups:
            if line.startswith("0::"):
                path = mount_point + line[3:].rstrip("\n")
                # a process that was moved out of a removed group sees " (deleted)"
                return path if os.path.isdir(path) else mount_point
    return mount_point


class Cgroup:
    def __init__(self):
        parent = own_folder()
        self._sweep(parent)
        name = prefix(os.environ.get("BOOT_RUN", "0")) + str(os.getpid())
        self.folder = os.path.join(parent, name)
        try:
            os.mkdir(self.folder)
        except OSError as error:
            raise Failure(f"{self.folder}: {error.strerror}") from None

    @staticmethod
    def _sweep(parent):
        """Removes empty groups of runs that were killed themselves."""
        for name in os.listdir(parent):
            process = maker(name)
            if process and not os.path.exists(process):
                remove(os.path.join(parent, name))

    def enter(self):
        """Moves the calling process in."""
        with open(self.folder + "/cgroup.procs", "w", encoding="ascii") as procs:
            procs.write("0")

    def end(self):
        """Kills what is in there, waits until it is gone, removes the group."""
        if not os.path.isdir(self.folder):
            return
        kill(self.folder)
        with open(self.folder + "/cgroup.events", "rb") as events:
            watch = select.poll()
            watch.register(events, select.POLLPRI)
            end = time.monotonic() + 10
            while b"populated 1" in os.pread(events.fileno(), 4096, 0):
                if time.monotonic() > end:
                    raise Failure(f"{self.folder}: its processes do not go away")
                watch.poll(1000)
        if not remove(self.folder):
            raise Failure(f"{self.folder}: cannot be removed")


def kill(folder):
    try:
        with open(folder + "/cgroup.kill", "w", encoding="ascii") as switch:
            switch.write("1")
        return
    except FileNotFoundError:
        pass  # Linux before 5.14
    for path, _, _ in os.walk(folder):
        with open(path + "/cgroup.procs", encoding="ascii") as procs:
            for pid in procs.read().split():
                try:
                    os.kill(int(pid), 9)
                except ProcessLookupError:
                    pass


def remove(folder):
    for path, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(path)
        except OSError:
            return False
    return True
