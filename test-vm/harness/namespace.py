"""`init --container` as PID 1 of namespaces of its own, on the initrd's tree.

The root is an overlay over the unpacked initrd with its upper part in a tmpfs; both are mounted
in the child's private mount namespace only, so they end with it and leave nothing; no file system
of the host's is mounted in there for writing. The child is killed with us (parent death signal),
and its control group is killed and removed in any case.
"""

import os
import shutil
import signal

from . import guest
from . import linux
from .cgroup import Cgroup
from .failure import Failure
from .tree import Tree, copy

DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9),
           "tty": (5, 0)}
LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2",
         "ptmx": "pts/ptmx"}
# What could reach the host in spite of the namespaces: MKNOD, SYS_MODULE, SYS_RAWIO, SYS_TIME
DROPPED = (27, 16, 17, 25)
PIPES = ("stdout", "stderr", "control", "command")


class Container:
    def __init__(self, workspace):
        self.console = workspace.console
        self.work = workspace.path("root")
        self.pid = self.pidfd = self.tree = self.cgroup = self.terminal = None
        self.descriptors = []

    def start(self, options, _, interactive):
        if os.geteuid() != 0:
            raise Failure("--in namespace needs root")
        self.options = options
        self.files = guest.files(interactive)
        self.tree = Tree()
        self.cgroup = Cgroup()
        if interactive:
            self.terminal, self.slave = os.openpty()
            self.descriptors += [self.terminal, self.slave]
        self._start()

    def _start(self):
        reader, writer = os.pipe2(os.O_CLOEXEC)
        outside = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        linux.unshare(linux.CLONE_NEWPID)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._become_init()
            except BaseException as error:  # whatever it is, the parent must hear of it
                os.write(writer, str(error).encode()[:4000])
            finally:
                os._exit(125)
        os.close(writer)
        linux.setns(outside, linux.CLONE_NEWPID)
        os.close(outside)
        self.pidfd = os.pidfd_open(self.pid)
        with os.fdopen(reader, "rb") as report:
            problem = report.read()
        if problem:
            raise Failure("namespace: " + problem.decode(errors="replace"))
        for name in PIPES:
            # both ends, so that neither side waits for the other or sees an end too early
            path = f"/proc/{self.pid}/root{guest.FOLDER}/{name}"
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            self.descriptors.append(descriptor)
            setattr(self, name, descriptor)

    def _become_init(self):
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        self.cgroup.enter()
        os.setsid()
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC |
                      linux.CLONE_NEWNET | linux.CLONE_NEWCGROUP)
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
        root = self._mount_root()
        self._fill(root)
        self._redirect()
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
        os.execve("/sbin/init", ["/sbin/init", "--container"] + self.options.append,
                  {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "container": "muster-test",
                   "TERM": os.environ.get("TERM", "linux") if self.terminal else "dumb"})

    def _mount_root(self):
        os.mkdir(self.work)
        linux.mount("tmpfs", self.work, "tmpfs", 0, "mode=755")
        upper, scratch, root = (os.path.join(self.work, n) for n in ("upper", "scratch", "root"))
        for folder in (upper, scratch, root):
            os.mkdir(folder, 0o755)
        try:
            linux.mount("overlay", root, "overlay", 0,
                        f"lowerdir={self.tree.folder},upperdir={upper},workdir={scratch}")
        except OSError:
            # no overlay here: a full copy into the tmpfs, and slower
            os.rmdir(root)
            shutil.copytree(self.tree.folder, root, symlinks=True)
            linux.bind(root, root)
        return root

    def _fill(self, root):
        linux.mount("proc", folder(root, "proc"), "proc",
                    linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
        for name in ("sys", "sysrq-trigger"):
            if os.path.exists(f"{root}/proc/{name}"):
                linux.bind(f"{root}/proc/{name}", f"{root}/proc/{name}", read_only=True)
        linux.mount("sysfs", folder(root, "sys"), "sysfs",
                    linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
        linux.mount("cgroup2", root + "/sys/fs/cgroup", "cgroup2",
                    linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
        self._devices(folder(root, "dev"))
        for host, name in self.options.add:
            copy(os.path.realpath(host), root + name)
        for name, (mode, data) in self.files.items():
            os.makedirs(os.path.dirname(root + name), exist_ok=True)
            with open(root + name, "wb") as out:
                out.write(data)
            os.chmod(root + name, mode)
        for name in PIPES:
            os.mkfifo(root + guest.FOLDER + "/" + name, 0o600)

    def _devices(self, dev):
        linux.mount("tmpfs", dev, "tmpfs", linux.MS_NOSUID, "mode=755,size=64k")
        for name, (major, minor) in DEVICES.items():
            os.mknod(f"{dev}/{name}", 0o020666, os.makedev(major, minor))
            os.chmod(f"{dev}/{name}", 0o666)
        for name, target in LINKS.items():
            os.symlink(target, f"{dev}/{name}")
        linux.mount("devpts", folder(dev, "pts"), "devpts", linux.MS_NOSUID | linux.MS_NOEXEC,
                    "newinstance,ptmxmode=0666,mode=620,gid=5")
        linux.mount("tmpfs", folder(dev, "shm"), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV,
                    "mode=1777")
        if self.terminal is not None:
            with open(dev + "/console", "wb"):
                pass
            linux.bind(os.ttyname(self.slave), dev + "/console")

    def _redirect(self):
        if self.terminal is not None:
            for number in (0, 1, 2):
                os.dup2(self.slave, number)
            return
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(self.console, os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)

    def bus(self):
        """Where the system's bus can be connected to from outside."""
        return f"/proc/{self.pid}/root/run/muster/bus"

    def explain(self):
        return ""

    def end(self):
        problem = None
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            os.waitpid(self.pid, 0)
        if self.cgroup:
            try:
                self.cgroup.end()
            except Failure as failure:
                problem = failure
        for descriptor in self.descriptors + [d for d in [self.pidfd] if d is not None]:
            os.close(descriptor)
        if self.tree:
            self.tree.end()
        if problem:
            raise problem


def folder(*parts):
    path = "/".join(part.strip("/") if number else part for number, part in enumerate(parts))
    os.makedirs(path, exist_ok=True)
    return path
