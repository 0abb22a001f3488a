"""A machine without our command in it: what boots, boots from its disks (test-vm/machine)."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from . import linux
from .failure import TIMED_OUT, Failure
from .vm import QEMU, QUICK

# Debian's package ovmf.
UEFI = (("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"))
CUT = 128 + signal.SIGKILL
# Strings are moved by loops that QEMU translates: what it has for `rep movsb` goes byte by byte, and
# took a tenth of an installation.
CPU = "max,-erms,-fsrm"
SERVER = "10.0.2.100"
OPTIONS = ("--firmware", "--kernel", "--initrd", "--append", "--disk", "--forward", "--qmp",
           "--console", "--timeout", "--cut", "--count", "--serve")
SWITCHES = ("--network", "--reboot")


class Options:
    def __init__(self, arguments, usage):
        self.firmware, self.kernel, self.qmp, self.console, self.cut = "bios", None, None, None, None
        self.count = self.serve = None
        self.initrds, self.append, self.disks, self.forwards = [], [], [], []
        self.network, self.reboot, self.timeout = False, False, 600.0
        rest = list(arguments)
        while rest:
            name = rest.pop(0)
            if name in SWITCHES:
                setattr(self, name[2:], True)
                continue
            if name not in OPTIONS or not rest:
                raise Failure(f"{name}: not understood\n{usage}")
            value = rest.pop(0)
            if name == "--initrd":
                self.initrds.append(value)
            elif name == "--append":
                self.append += value.split()
            elif name == "--disk":
                self.disks.append(value.split(","))
            elif name == "--forward":
                self.forwards.append(value.split(":"))
            elif name == "--timeout":
                self.timeout = float(value)
            elif name == "--cut":
                disk, _, writes = value.partition(":")
                self.cut = (int(disk), int(writes))
            elif name == "--count":
                self.count = int(value)
            else:
                setattr(self, name[2:], value)
        if self.firmware not in ("bios", "uefi"):
            raise Failure(f"--firmware {self.firmware}: must be bios or uefi")
        if self.initrds and not self.kernel:
            raise Failure("--initrd needs --kernel")
        if not self.kernel and not self.disks:
            raise Failure(f"nothing to boot: no --disk and no --kernel\n{usage}")


def words(options, folder):
    """QEMU's command line."""
    found = [QEMU, "-accel", "tcg", "-M", "q35", "-cpu", CPU, "-smp", "1", "-m", "512",
             "-nodefaults", "-no-user-config", "-display", "none"]
    if not options.reboot:
        found += ["-no-reboot"]
    if options.firmware == "uefi":
        found += uefi(folder)
    if not options.kernel:
        found += ["-vga", "std"]  # without one, SeaBIOS does not get through every syslinux
    if options.kernel:
        # With nokaslr a second start in one machine takes minutes.
        quick = [word for word in QUICK if not options.reboot or word != "nokaslr"]
        append = ["console=ttyS0", "panic=-1", "loglevel=4", *quick, *options.append]
        found += ["-kernel", options.kernel, "-append", " ".join(append)]
    if options.initrds:
        found += ["-initrd", joined(options.initrds, os.path.join(folder, "initrd"))]
    if options.console:
        found += ["-chardev", f"file,id=console,path={options.console},append=on"]
    else:
        found += ["-chardev", "stdio,id=console,signal=off"]
    found += ["-serial", "chardev:console"]
    for number, disk in enumerate(options.disks):
        found += drive(number, disk, folder)
    if options.forwards or options.network or options.serve:
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{here}-10.0.2.15:{there}"
                           for here, there in options.forwards)
        if options.serve:
            folder_served = os.path.abspath(options.serve)
            if "," in folder_served or not shutil.which("busybox"):
                raise Failure("--serve needs busybox, and a name without a comma")
            forwards += f",guestfwd=tcp:{SERVER}:80-cmd:busybox httpd -i -h {folder_served}"
        found += ["-netdev", f"user,id=net0,restrict=on{forwards}",
                  "-device", "virtio-net-pci,netdev=net0,romfile="]
    if options.qmp:
        found += ["-qmp", f"unix:{options.qmp},server=on,wait=off"]
    found += ["-qmp", f"unix:{os.path.join(folder, 'qmp')},server=on,wait=off"]
    return found


def uefi(folder):
    for code, variables in UEFI:
        if os.path.exists(code):
            own = os.path.join(folder, "variables")
            shutil.copyfile(variables, own)
            return ["-drive", f"if=pflash,format=raw,readonly=on,file={code}",
                    "-drive", f"if=pflash,format=raw,file={own}"]
    raise Failure("no firmware for UEFI; Debian package ovmf")


def joined(files, path):
    """Archives one after the other, as the kernel takes them."""
    with open(path, "wb") as out:
        for file in files:
            out.write(bytes(-out.tell() % 4))
            with open(file, "rb") as source:
                shutil.copyfileobj(source, out)
    return path


def drive(number, disk, folder):
    file, *rest = disk
    name, device = f"file{number}", f"virtio-blk-pci,drive=file{number},id=disk{number}"
    node = f"file={os.path.abspath(file)},format=raw,if=none,id={name},cache=writeback"
    for option in rest:
        key, _, value = option.partition("=")
        if key == "serial":
            device += f",serial={value}"
        elif key == "readonly":
            node += ",readonly=on"
        elif key == "snapshot":
            node += ",snapshot=on"
        elif key == "fail-writes":  # QEMU docs, devel/blkdebug
            rules = os.path.join(folder, f"blkdebug{number}")
            with open(rules, "w", encoding="ascii") as out:
                out.write('[inject-error]\nevent = "write_aio"\niotype = "write"\n'
                          f'errno = "5"\nsector = "{int(value)}"\nonce = "off"\n')
            node = (f"file.driver=blkdebug,file.config={rules},file.image.driver=file,"
                    f"file.image.filename={os.path.abspath(file)},format=raw,if=none,id={name},"
                    "cache=writeback,werror=report")
        else:
            raise Failure(f"--disk {file}: {option}: no such option")
    return ["-drive", node, "-device", device]


class Monitor:
    """QEMU's monitor protocol: one JSON object a line (QEMU docs, interop/qmp-spec)."""

    def __init__(self, path):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        self.lines = connection.makefile("rw", encoding="utf-8")
        self.lines.readline()
        self.do("qmp_capabilities")

    def do(self, command):
        self.lines.write(json.dumps({"execute": command}) + "\n")
        self.lines.flush()
        while True:
            line = self.lines.readline()
            if not line:
                raise ConnectionResetError
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]


def monitor_of(machine, path):
    """None if the machine ends before. QEMU makes the socket's file before it listens there."""
    while machine.poll() is None:
        try:
            return Monitor(path)
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.01)
    return None


def follow(machine, path, disk, writes, deadline):
    """Follows how often that disk is written to, and kills the machine as soon as that was often
    enough. Returns how often it was, as far as was seen."""
    seen = 0
    try:
        monitor = monitor_of(machine, path)
        while monitor and time.monotonic() < deadline:
            for each in monitor.do("query-blockstats"):
                if each.get("device") == f"file{disk}":
                    seen = each["stats"]["wr_operations"]
            if writes and seen >= writes:
                machine.kill()
                return seen
            time.sleep(0.01)  # nobody tells
    except (OSError, ValueError):
        pass  # it is gone, or on its way
    return seen


def run(options):
    folder = tempfile.mkdtemp(prefix="muster-boot-")
    machine = None
    try:
        if not shutil.which(QEMU):
            raise Failure(f"{QEMU} is not installed")
        command = words(options, folder)
        deadline = time.monotonic() + options.timeout
        machine = subprocess.Popen(
            command, stdin=None if not options.console else subprocess.DEVNULL,
            preexec_fn=lambda: linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL))
        monitor = os.path.join(folder, "qmp")
        if options.cut and follow(machine, monitor, *options.cut, deadline) >= options.cut[1]:
            machine.kill()
            machine.wait()
            return CUT
        if options.count is not None:
            print(follow(machine, monitor, options.count, None, deadline))
        try:
            return machine.wait(max(1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failure(f"timeout: the machine runs after {options.timeout:g} s",
                          TIMED_OUT) from None
    finally:
        if machine and machine.poll() is None:
            machine.kill()
            machine.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments, usage):
    def interrupted(number, _):
        raise Failure(f"ended by signal {number}", 128 + number)

    try:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, interrupted)
        return run(Options(arguments, usage))
    except Failure as failure:
        print(f"machine: {failure}", file=sys.stderr)
        return failure.status
