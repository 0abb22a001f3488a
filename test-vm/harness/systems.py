"""The init systems that bench-services compares, each told to run the same services: how they are
set up in a root, started, and asked to stop.

A service is `probe WORD RECORDS ID…`; `script` puts a shell between, as many services have it. What
always is a script with a system is one for both. Nobody delays a restart or gives up, where that
can be said. Output goes where the system puts it by itself: with us and with OpenRC, runit and s6
into what they inherit or keep, with systemd and finit nowhere, since no logger runs beside them.
"""

import os
import signal
import subprocess

from .world import FIFO, RECORDS, install, write

SHELL = "/bin/sh"


class System:
    name = None
    argv = None
    folder = None

    def __init__(self, bench, peers, count, word="run", script=False, chain=False):
        self.bench = bench
        self.count = count
        self.word = word
        self.script = script
        self.chain = chain
        if peers:
            self.folder = f"{peers}/{self.name}"

    def command(self, number):
        if self.script:
            return [f"/services/{number}"]
        return self.program(number)

    def program(self, number):
        last = {"mortal": [FIFO], "ready": ["3"]}.get(self.word, [])
        return ["/bench/probe", self.word, RECORDS, str(number)] + last

    def fill(self, root):
        install(self.bench.probe, root, "/bench/probe")
        install(self.bench.busybox, root, "/bin/busybox")
        for name in ("sh", "cat", "rm", "sleep", "sed"):
            if os.path.lexists(f"{root}/bin/{name}"):
                os.unlink(f"{root}/bin/{name}")
            os.symlink("busybox", f"{root}/bin/{name}")
        write(root, "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        write(root, "/etc/group", "root:x:0:\ntty:x:5:\nutmp:x:43:\n")
        if self.script:
            for number in range(self.count):
                self.script_file(root, f"/services/{number}", number)
        self.configure(root)

    def script_file(self, root, path, number):
        write(root, path, f"#!{SHELL}\nexec {' '.join(self.program(number))}\n", 0o755)

    def configure(self, root):
        raise NotImplementedError

    def ready(self, world):
        """Beyond the services: whether it can be asked to stop already."""
        return True

    def stop(self, world):
        raise NotImplementedError


class Muster(System):
    name = "muster"
    argv = ["/sbin/init", "--container", "--quiet", "--stop-timeout", "60"]
    netlink = False

    def configure(self, root):
        install(self.bench.bin + "/init", root, "/sbin/init")
        install(self.bench.bin + "/dataspace", root, "/usr/libexec/muster/dataspace")
        lines = ['<require-service <relay-listener <unix "/run/muster/bus"> $config>>']
        if self.netlink:
            install(self.bench.bin + "/netlink", root, "/usr/libexec/muster/netlink")
            lines += ["<require-service <daemon netlink>>",
                      '<daemon netlink {argv: ["/usr/libexec/muster/netlink"] linger: 5 '
                      "protocol: application/syndicate readyOnStart: #f grant: {machine: $machine}}>"]
        write(root, "/etc/muster/boot/base.pr", "\n".join(lines) + "\n")
        lines = []
        for number in range(self.count):
            argv = " ".join(f'"{word}"' for word in self.command(number))
            fields = f"{{argv: [{argv}] notify: 3}}" if self.chain else f"[{argv}]"
            lines += [f"<daemon s{number} {fields}>"]
            if self.chain and number:
                lines += [f"<depends-on <daemon s{number}> <service-state <daemon s{number - 1}> ready>>"]
            if not self.chain or number == self.count - 1:
                lines += [f"<require-service <daemon s{number}>>"]
        write(root, "/etc/muster/boot/services.pr", "\n".join(lines) + "\n")

    def stop(self, world):
        os.kill(world.pid, signal.SIGTERM)


class Floor(System):
    """A plain program that makes a session, a pipe and a control group for each, and spawns."""
    name = "floor"

    def configure(self, root):
        self.argv = ["/bench/probe", "floor", RECORDS, str(self.count), "/sys/fs/cgroup/services"]


class Serial(System):
    """A plain program that starts each when the one before has said that it is ready."""
    name = "serial"

    def configure(self, root):
        self.argv = ["/bench/probe", "serial", RECORDS, str(self.count)]


class Busybox(System):
    name = "busybox"
    argv = ["/sbin/init"]

    def configure(self, root):
        install(self.bench.busybox, root, "/sbin/init")
        write(root, "/etc/inittab", "".join(
            f"::respawn:{' '.join(self.command(n))}\n" for n in range(self.count)))

    def stop(self, world):
        os.kill(world.pid, signal.SIGUSR2)


class Sysvinit(System):
    name = "sysvinit"
    argv = ["/sbin/init"]

    def configure(self, root):
        lines = ["id:2:initdefault:", "end:0:wait:/bench/probe end x x"]
        lines += [f"{n:04}:2:respawn:{' '.join(self.command(n))}" for n in range(self.count)]
        write(root, "/etc/inittab", "\n".join(lines) + "\n")

    def stop(self, world):
        world.run_inside(["/sbin/telinit", "0"])


class Runit(System):
    name = "runit"
    argv = ["/sbin/init"]

    def configure(self, root):
        install(self.folder + "/sbin/runit", root, "/sbin/init")
        write(root, "/etc/runit/1", "#!/bin/sh\n:\n", 0o755)
        write(root, "/etc/runit/2", "#!/bin/sh\nexec runsvdir -P /service\n", 0o755)
        write(root, "/etc/runit/3", "#!/bin/sh\nexec sv -w 60 force-stop /service/*\n", 0o755)
        write(root, "/run/runit.stopit", "", 0o100)
        write(root, "/run/runit.reboot", "", 0)
        for number in range(self.count):
            self.script_file(root, f"/service/{number}/run", number)

    def stop(self, world):
        os.kill(world.pid, signal.SIGCONT)


class S6(System):
    name = "s6"
    argv = ["/usr/bin/s6-svscan", "-c", "1000", "/service"]

    def configure(self, root):
        for name in ("finish", "crash"):
            write(root, f"/service/.s6-svscan/{name}", "#!/bin/sh\nexit 0\n", 0o755)
        for number in range(self.count):
            self.script_file(root, f"/service/{number}/run", number)

    def stop(self, world):
        os.kill(world.pid, signal.SIGTERM)


class Finit(System):
    name = "finit"
    argv = ["/sbin/finit"]

    def configure(self, root):
        write(root, "/etc/finit.conf", "host bench\nrunlevel 2\n")
        run_folder(root)
        for number in range(self.count):
            write(root, f"/etc/finit.d/s{number}.conf",
                  f"service [2345] name:s{number} :{number} log:null "
                  f"{' '.join(self.command(number))} -- service\n")

    def ready(self, world):
        return os.path.exists(world.path("/run/finit/socket"))

    def stop(self, world):
        world.run_inside(["/lib/finit/initctl", "poweroff"])


class Systemd(System):
    name = "systemd"
    argv = ["/lib/systemd/systemd", "--system", "--unit=bench.target", "--log-level=err",
            "--show-status=no"]

    def configure(self, root):
        folder = "/etc/systemd/system/"
        write(root, "/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        write(root, folder + "bench.target", "[Unit]\nDescription=bench\nAllowIsolate=yes\n")
        os.makedirs(root + folder + "bench.target.wants")
        for number in range(self.count):
            write(root, folder + f"s{number}.service",
                  "[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n"
                  "Conflicts=shutdown.target\nBefore=shutdown.target\n[Service]\n"
                  f"ExecStart={' '.join(self.command(number))}\n"
                  "Restart=always\nRestartSec=0\nStandardOutput=null\nStandardError=null\n")
            os.symlink(f"../s{number}.service", root + folder + f"bench.target.wants/s{number}.service")

    def stop(self, world):
        os.kill(world.pid, signal.SIGRTMIN + 4)


class Openrc(System):
    """Under busybox init, in parallel, with supervise-daemon: the way that restarts."""
    name = "openrc"
    argv = ["/sbin/init"]

    def configure(self, root):
        install(self.bench.busybox, root, "/sbin/init")
        write(root, "/etc/inittab", "::wait:/sbin/openrc default\n"
              "::shutdown:/sbin/openrc shutdown\n")
        write(root, "/etc/rc.conf", 'rc_parallel="YES"\nrc_sys="lxc"\nrc_controller_cgroups="NO"\n')
        write(root, "/etc/insserv.conf", "")
        run_folder(root)
        for level in ("sysinit", "boot", "default", "shutdown"):
            os.makedirs(f"{root}/etc/runlevels/{level}", exist_ok=True)
        for number in range(self.count):
            program, *words = self.command(number)
            write(root, f"/etc/init.d/s{number}",
                  f'#!/sbin/openrc-run\nsupervisor=supervise-daemon\ncommand={program}\n'
                  f'command_args="{" ".join(words)}"\nrespawn_max=0\n', 0o755)
            os.symlink(f"/etc/init.d/s{number}", f"{root}/etc/runlevels/default/s{number}")

    def stop(self, world):
        os.kill(world.pid, signal.SIGUSR2)


def run_folder(root):
    """What some know as /var/run."""
    if os.path.lexists(root + "/var/run"):
        os.rename(root + "/var/run", root + "/var/run.old")
    os.symlink("../run", root + "/var/run")


PEERS = {kind.name: kind for kind in (Busybox, Runit, S6, Sysvinit, Finit, Systemd, Openrc)}


def fetch_peers(test_vm):
    """The folder of their files; None, with the reason on stderr, if they cannot be had."""
    result = subprocess.run([test_vm + "/bench/peers"], stdout=subprocess.PIPE, check=False,
                            encoding="utf-8")
    return result.stdout.strip() if result.returncode == 0 else None
