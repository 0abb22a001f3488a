"""A real kernel and the real initrd in QEMU.

Serial ports: ttyS0 the console, ttyS1 and ttyS2 the command's stdout and stderr, ttyS3 control.
PCI: disk N of the command line sits in slot `portN`; there are four of these and at least two more
than disks; the free ones are for `device_add` through --qmp.
"""

import os
import shutil
import signal
import socket
import subprocess

from . import guest
from . import linux
from .cpio import Archive
from .failure import Failure
from .workspace import BUILD

QEMU = "qemu-system-x86_64"
BUS_PORT = 7070
# Without these the kernel spends a second on things that mean nothing in an emulated machine; the
# timer's self-test even fails when the host is busy.
QUICK = ("nokaslr", "no_timer_check", "cryptomgr.notests")


class Machine:
    """QEMU. Ends with `end()`, whatever happened before."""

    def __init__(self, workspace):
        self.console = workspace.console
        self.process = None
        self.pidfd = None
        self.bus_address = None
        self.sockets = []

    def start(self, options, workspace, interactive):
        kernel = need("initrd/vmlinuz")
        initrd = self._initrd(options, workspace, interactive)
        if not shutil.which(QEMU):
            raise Failure(f"{QEMU} is not installed")
        pairs = [socket.socketpair() for _ in range(4)]
        self.sockets = [ours for ours, _ in pairs]
        self.theirs = [theirs for _, theirs in pairs]
        self.terminal, self.stdout, self.stderr, self.control = (
            ours.fileno() for ours in self.sockets)
        self.command = self.control
        words = ["console=ttyS0", "panic=-1", "8250.nr_uarts=4", "loglevel=4", *QUICK]
        arguments = [
            QEMU, "-accel", "tcg", "-M", "q35", "-cpu", "qemu64", "-smp", "1", "-m", "512",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-kernel", kernel, "-initrd", initrd, "-append", " ".join(words + options.append),
            *self._ports(interactive), *self._disks(options.disks), *self._qmp(options.qmp),
            *self._network(options.bus)]
        self._start(arguments, workspace.path("qemu.log"))

    def _initrd(self, options, workspace, interactive):
        """The real one with a second archive after it: the kernel unpacks one over the other."""
        extra = Archive()
        for name, (mode, data) in guest.files(interactive).items():
            extra.file(name, data, mode)
        if options.bus:
            extra.file(guest.FOLDER + "/before", BUS_TEXT.encode())
            extra.file(guest.FOLDER + "/pipe", b"#!/bin/sh\necho\nexec muster pipe\n", 0o755)
        for host, name in options.add:
            extra.tree(os.path.realpath(host), name)
        path = workspace.path("initrd")
        shutil.copyfile(need("initrd/initrd.img"), path)
        with open(path, "ab") as image:
            image.write(bytes(-image.tell() % 4))
            image.write(extra.bytes())
        return path

    def _ports(self, interactive):
        words = []
        for number, end in enumerate(self.theirs):
            line = f"socket,id=line{number},fd={end.fileno()}"
            if number == 0 and interactive:
                line += f",logfile={self.console},logappend=on"
            elif number == 0:
                line = f"file,id=line0,path={self.console},append=on"
            words += ["-chardev", line, "-serial", f"chardev:line{number}"]
        return words

    @staticmethod
    def _disks(files):
        words = []
        for number in range(max(4, len(files) + 2)):
            words += ["-device", f"pcie-root-port,id=port{number},chassis={number + 1}"]
        for number, file in enumerate(files):
            words += ["-drive", f"file={file},format=raw,if=none,id=file{number},cache=unsafe",
                      "-device", f"virtio-blk-pci,drive=file{number},id=disk{number},"
                                 f"bus=port{number}"]
        return words

    @staticmethod
    def _qmp(path):
        if not path:
            return []
        return ["-chardev", f"socket,id=qmp,path={path},server=on,wait=off",
                "-mon", "chardev=qmp,mode=control"]

    def _network(self, bus):
        if not bus:
            return []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.bus_address = probe.getsockname()
        forward = f"hostfwd=tcp:127.0.0.1:{self.bus_address[1]}-10.0.2.15:{BUS_PORT}"
        return ["-netdev", f"user,id=net0,restrict=on,{forward}",
                "-device", "virtio-net-pci,netdev=net0,romfile="]

    def _start(self, arguments, log):
        self.qemu_log = log
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
                preexec_fn=lambda: linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL),
                pass_fds=[end.fileno() for end in self.theirs])
        for end in self.theirs:
            end.close()
        self.pidfd = os.pidfd_open(self.process.pid)

    def explain(self):
        """What QEMU itself had to say."""
        if not self.process:
            return ""
        try:
            with open(self.qemu_log, encoding="utf-8", errors="replace") as log:
                return log.read().strip()
        except OSError:
            return ""

    def end(self):
        if self.process:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        if self.pidfd is not None:
            os.close(self.pidfd)
        for end in self.sockets:
            end.close()


# The guest's side of --bus: one `muster pipe` for each connection, after a newline (bus.py says
# why).
BUS_TEXT = f"""\
modprobe -a virtio_pci virtio_net 2>/dev/null || :
ip link set lo up
for link in /sys/class/net/e*; do
    ip link set "${{link##*/}}" up
    ip address add 10.0.2.15/24 dev "${{link##*/}}"
done
nc -lk -p {BUS_PORT} -e {guest.FOLDER}/pipe </dev/null >/dev/null 2>&1 3>&- 4<&- 5>&- 6>&- &
"""


def need(name):
    path = os.path.join(BUILD, name)
    if not os.path.exists(path):
        raise Failure(f"build/{name} is missing: run make, then initrd/build")
    return path
