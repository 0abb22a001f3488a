"""A `dataspace` that runs by itself, as syndicate-server would, in a folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "test-vm"))

from harness import cgroup, failure  # noqa: E402

PROGRAM = os.environ.get("MUSTER_DATASPACE", os.path.join(SOURCE, "build/bin/dataspace"))
GUARD = 10  # seconds until a wait counts as failed


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kill(process):
    """As a crash would; nobody else takes its control group away then."""
    process.kill()
    process.wait()
    try:
        cgroup.remove(os.path.join(cgroup.own_folder(), f"muster-{process.pid}"))
    except failure.Failure:
        pass  # there are none


class Server:
    """`$space` behind a Unix socket, and a gatekeeper behind another one and behind TCP.

    SCRIPT is more configuration, in which $space is that dataspace.
    """

    def __init__(self, script="", arguments=()):
        self.folder = tempfile.mkdtemp(prefix="muster-interop-")
        self.direct = os.path.join(self.folder, "direct")
        self.gatekeeper = os.path.join(self.folder, "gatekeeper")
        self.port = free_port()
        self.arguments = list(arguments)
        self.process = None
        self.lines = []
        self.reader = None
        self.changed = threading.Condition()
        os.mkdir(os.path.join(self.folder, "config"))
        self.configure("10-space.pr", f"""
            let ?space = dataspace
            {script}
            <require-service <relay-listener <unix "{self.direct}"> $space>>
            <require-service <relay-listener <unix "{self.gatekeeper}"> $gatekeeper>>
            <require-service <relay-listener <tcp "127.0.0.1" {self.port}> $gatekeeper>>
            ? <service-state <relay-listener ?where _> ready> [
                $log ! <log "-" {{line: <listening $where>}}>
            ]
            <bind <ref {{oid: "syndicate" key: #x""}}> $space #f>
            <bind <ref {{oid: a-service key: #"hello"}}> $space #f>
        """)

    def configure(self, name, text):
        path = os.path.join(self.folder, "config", name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def start(self):
        if self.reader:
            self.reader.join()  # of the one before: what it said last belongs to it
        start = len(self.lines)
        self.process = subprocess.Popen(
            [PROGRAM, "--config", os.path.join(self.folder, "config"), *self.arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.reader = threading.Thread(
            target=self._read, args=(self.process.stderr,), daemon=True)
        self.reader.start()
        for place in (f'unix "{self.direct}"', f'unix "{self.gatekeeper}"', f"{self.port}>"):
            self.wait_for(f"listening <{place}" if "unix" in place else place, start)
        return self

    def _read(self, pipe):
        for line in pipe:
            with self.changed:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.lines.append("(the end)")
            self.changed.notify_all()

    def wait_for(self, part, after=0):
        """The index behind the first line from `after` on that has `part` in it."""
        with self.changed:
            found = None

            def look():
                nonlocal found
                for index in range(after, len(self.lines)):
                    if part in self.lines[index]:
                        found = index + 1
                        return True
                return self.lines[after:][-1:] == ["(the end)"]

            self.changed.wait_for(look, GUARD)
            assert found, f"not in the server's log: {part}; but: {self.lines[-20:]}"
            return found

    def kill(self):
        if self.process:
            kill(self.process)

    def resident(self):
        """KiB."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(GUARD)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()
