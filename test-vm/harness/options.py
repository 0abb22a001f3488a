"""The command line of `boot`."""

import os
import stat

from .failure import Failure

USAGE = """usage: boot [--in vm|namespace] [--add HOST:GUEST]... [--append "kernel args"]
            [--disk FILE]... [--bus SOCKET] [--qmp SOCKET] [--timeout SECONDS] [--] [CMD...]"""


class Options:
    def __init__(self):
        self.place = "vm"
        self.add = []        # (file or folder here, absolute path there)
        self.append = []     # words for the kernel command line, or for init in a namespace
        self.disks = []
        self.bus = None
        self.qmp = None
        self.timeout = 120.0  # seconds, from start to power-off
        self.command = []


def added(text):
    host, colon, guest = text.partition(":")
    if not colon or not host or not guest.startswith("/"):
        raise Failure(f"--add {text}: must be HOST:GUEST with an absolute GUEST")
    if ".." in guest.split("/"):
        raise Failure(f"--add {text}: '..' in GUEST")
    if not os.path.exists(host):
        raise Failure(f"--add {text}: {host} does not exist")
    return host, guest


def disk(path):
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise Failure(f"--disk {path}: {error.strerror}") from None
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise Failure(f"--disk {path}: not a file")
    if "," in path:
        raise Failure(f"--disk {path}: QEMU cannot take a name with a comma")
    return os.path.abspath(path)


def seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < 86400:
        raise Failure(f"--timeout {text}: not a number of seconds")
    return value


def socket_path(name, text):
    path = os.path.abspath(text)
    if len(os.fsencode(path)) > 100:
        raise Failure(f"{name} {text}: longer than the path of a Unix socket may be")
    return path


def parse(arguments):
    options = Options()
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        name = rest.pop(0)
        if name == "--":
            break
        if name in ("-h", "--help"):
            raise SystemExit(print(USAGE))
        name, equals, value = name.partition("=")
        if name not in ("--in", "--add", "--append", "--disk", "--bus", "--qmp", "--timeout"):
            raise Failure(f"{name}: no such option\n{USAGE}")
        if not equals:
            if not rest:
                raise Failure(f"{name}: needs a value\n{USAGE}")
            value = rest.pop(0)
        if name == "--in":
            if value not in ("vm", "namespace"):
                raise Failure(f"--in {value}: must be vm or namespace")
            options.place = value
        elif name == "--add":
            options.add.append(added(value))
        elif name == "--append":
            options.append += value.split()
        elif name == "--disk":
            options.disks.append(disk(value))
        elif name == "--bus":
            options.bus = socket_path(name, value)
        elif name == "--qmp":
            options.qmp = socket_path(name, value)
        else:
            options.timeout = seconds(value)
    options.command = rest
    if options.place == "namespace" and (options.disks or options.qmp):
        raise Failure("--disk and --qmp need a machine: they go with --in vm")
    return options
