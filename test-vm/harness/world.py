"""Any init system as PID 1 of namespaces of its own, for measurements: bench-services.

The root is an overlay over a folder, its upper part a tmpfs that lives in the child's own mount
namespace; the rest is as in namespace.py: the host is not changed, and nothing remains.
"""

import os
import select
import shutil
import signal
import struct
import time

from . import linux
from .cgroup import Cgroup
from .failure import Failure

DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9),
           "tty": (5, 0)}
# What could reach the host in spite of the namespaces: MKNOD, SYS_MODULE, SYS_RAWIO, SYS_TIME
DROPPED = (27, 16, 17, 25)
RECORDS = "/bench/records"
FIFO = "/bench/fifo"
RECORD = struct.Struct("=IIq")


class World:
    """`system` says what it consists of: files, fill(), argv, environment."""

    def __init__(self, system, work, console):
        self.cgroup = Cgroup()
        self.records_file = self.fifo = self.pid = None
        reader, writer = os.pipe2(os.O_CLOEXEC)
        self.go, go = os.pipe2(os.O_CLOEXEC)
        outside = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        linux.unshare(linux.CLONE_NEWPID)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(go)
                self._prepare(system, work, console)
                os.write(writer, b"\0")
                os.read(self.go, 1)
                self._become(system)
            except BaseException as error:  # whatever it is, the parent must hear of it
                os.write(writer, str(error).encode()[:4000] or b"?")
            finally:
                os._exit(125)
        os.close(writer)
        os.close(self.go)
        linux.setns(outside, linux.CLONE_NEWPID)
        os.close(outside)
        with os.fdopen(reader, "rb") as report:
            problem = os.read(report.fileno(), 4096)
            if problem == b"\0":
                self.records_file = os.open(self.path(RECORDS), os.O_RDONLY | os.O_CLOEXEC)
                self.fifo = os.open(self.path(FIFO), os.O_RDWR | os.O_CLOEXEC)
                os.close(go)
                problem = report.read()
            else:
                os.close(go)
        if problem:
            self.end()
            raise Failure("namespace: " + problem.decode(errors="replace"))

    def _prepare(self, system, work, console):
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        self.cgroup.enter()
        os.setsid()
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC |
                      linux.CLONE_NEWNET | linux.CLONE_NEWCGROUP)
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("tmpfs", work, "tmpfs", 0, "mode=755")
        upper, scratch, root, lower = (os.path.join(work, n)
                                       for n in ("upper", "scratch", "root", "lower"))
        for folder in (upper, scratch, root, lower):
            os.mkdir(folder, 0o755)
        linux.mount("overlay", root, "overlay", 0,
                    f"lowerdir={system.folder or lower},upperdir={upper},workdir={scratch}")
        # On a tmpfs of its own, so that the time of a record is not that of the overlay.
        os.makedirs(root + "/bench", exist_ok=True)
        linux.mount("tmpfs", root + "/bench", "tmpfs", 0, "mode=755")
        for name in ("proc", "sys", "dev", "run", "tmp", "etc", "root", "var/log", "bin", "sbin"):
            os.makedirs(f"{root}/{name}", exist_ok=True)
        linux.mount("proc", root + "/proc", "proc", 14)
        linux.bind(root + "/proc/sys", root + "/proc/sys", read_only=True)
        linux.mount("sysfs", root + "/sys", "sysfs", 15)
        linux.mount("cgroup2", root + "/sys/fs/cgroup", "cgroup2", 14)
        linux.mount("tmpfs", root + "/run", "tmpfs", 6, "mode=755")
        dev = root + "/dev"
        linux.mount("tmpfs", dev, "tmpfs", linux.MS_NOSUID, "mode=755,size=64k")
        for name, (major, minor) in DEVICES.items():
            os.mknod(f"{dev}/{name}", 0o020666, os.makedev(major, minor))
            os.chmod(f"{dev}/{name}", 0o666)
        os.symlink("null", dev + "/console")
        for name in ("pts", "shm"):
            os.mkdir(f"{dev}/{name}", 0o755)
        linux.mount("tmpfs", dev + "/shm", "tmpfs", 6, "mode=1777")
        linux.mount("devpts", dev + "/pts", "devpts", 10, "newinstance,ptmxmode=0666,mode=620")
        with open(root + RECORDS, "wb"):
            pass
        os.mkfifo(root + FIFO, 0o600)
        system.fill(root)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(console, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(root)
        linux.pivot_root(".", ".")
        linux.umount(".")
        os.chdir("/")
        for capability in DROPPED:
            linux.prctl(linux.PR_CAPBSET_DROP, capability)
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(0o022)

    @staticmethod
    def _become(system):
        os.execve("/bench/probe", ["probe", "begin", RECORDS] + system.argv,
                  {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "container": "muster-bench",
                   "TERM": "dumb"})

    def path(self, name):
        return f"/proc/{self.pid}/root{name}"

    def records(self):
        """(kind, id, nanoseconds) of all that was noted."""
        size = os.fstat(self.records_file).st_size // RECORD.size * RECORD.size
        data = os.pread(self.records_file, size, 0) if size else b""
        return [(chr(kind), number, at) for kind, number, at in RECORD.iter_unpack(data)]

    def count(self):
        return os.fstat(self.records_file).st_size // RECORD.size

    def until(self, done, seconds, what):
        """Waits, mostly asleep, so that what is measured is not disturbed."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise Failure(f"{what}: not within {seconds} s")
            time.sleep(0.002)

    def run_inside(self, argv):
        """Runs a program of the root in all the namespaces, and waits for it."""
        pidfd = os.pidfd_open(self.pid)
        outside = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        linux.setns(pidfd, linux.CLONE_NEWPID)
        child = os.fork()
        if child == 0:
            try:
                self.cgroup.enter()
                root = os.open(self.path("/"), os.O_RDONLY | os.O_DIRECTORY)
                linux.setns(pidfd, linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC |
                            linux.CLONE_NEWNET)
                os.fchdir(root)
                os.chroot(".")
                os.close(root)
                null = os.open("/dev/null", os.O_RDWR)
                for number in (0, 1, 2):
                    os.dup2(null, number)
                os.execve(argv[0], argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
            finally:
                os._exit(127)
        linux.setns(outside, linux.CLONE_NEWPID)
        os.close(outside)
        os.close(pidfd)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def processes(self, *names):
        """The processes in there, on the host's terms, that have one of these names; all of them
        without names."""
        found = []
        for folder, _, _ in os.walk(self.cgroup.folder):
            with open(folder + "/cgroup.procs", encoding="ascii") as procs:
                found += [int(pid) for pid in procs.read().split()]
        if not names:
            return found
        result = []
        for pid in found:
            try:
                with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
                    if comm.read().rstrip("\n") in names:
                        result.append(pid)
            except OSError:
                pass  # ended meanwhile
        return result

    def processor_ms(self):
        """What all in there used so far."""
        with open(self.cgroup.folder + "/cpu.stat", encoding="ascii") as stat:
            return int(stat.readline().split()[1]) / 1000

    def wait(self, seconds):
        """Until PID 1 has ended; when that was seen."""
        pidfd = os.pidfd_open(self.pid)
        try:
            ended = select.poll()
            ended.register(pidfd, select.POLLIN)
            if not ended.poll(seconds * 1000):
                raise Failure(f"PID 1 did not end within {seconds} s")
            return time.monotonic_ns()
        finally:
            os.close(pidfd)

    def end(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)
        for descriptor in (self.records_file, self.fifo):
            if descriptor is not None:
                os.close(descriptor)
        self.cgroup.end()


def write(root, name, text, mode=0o644):
    path = root + name
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    os.chmod(path, mode)


def install(source, root, name):
    """A program, with the folders it lies in."""
    os.makedirs(os.path.dirname(root + name), exist_ok=True)
    if os.path.lexists(root + name):
        os.unlink(root + name)
    shutil.copyfile(source, root + name)
    os.chmod(root + name, 0o755)
