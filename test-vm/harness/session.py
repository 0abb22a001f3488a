"""Carries one command through a booted system.

States: booting -> (the guest says `ready`) running -> (the guest says `exit N`) stopping -> gone.
A system that is gone before `exit N`, or not gone a while after it, is a failure of ours. Another
`ready` while running means that the second stage came back and the command was started again.
"""

import os
import select
import sys
import time

from . import guest
from .failure import TIMED_OUT, Failure

STOP_SECONDS = 30
# What the console says when nothing more will come.
DEAD = (b"Kernel panic - not syncing", b"end Kernel panic")


class Session:
    """`system` has: stdout, stderr, control, command (descriptors), pidfd, console (path)."""

    def __init__(self, system, options, on_ready, on_exit):
        self.system = system
        self.command = options.command or ["muster", "status"]
        self.deadline = time.monotonic() + options.timeout
        self.timeout = options.timeout
        self.on_ready = on_ready
        self.on_exit = on_exit
        self.state = "booting"
        self.status = None
        self.pending = b""
        self.console_seen = 0
        self.sinks = {system.stdout: 1, system.stderr: 2}
        for source in (system.stdout, system.stderr, system.control):
            os.set_blocking(source, False)

    def run(self):
        poll = select.poll()
        open_sources = {self.system.stdout, self.system.stderr, self.system.control}
        for source in open_sources:
            poll.register(source, select.POLLIN)
        poll.register(self.system.pidfd, select.POLLIN)
        gone = False
        while not gone:
            self._check_time()
            for source, _ in poll.poll(500):
                if source == self.system.pidfd:
                    gone = True
                elif not self._carry(source):
                    poll.unregister(source)
                    open_sources.discard(source)
            self._check_console()
        for source in open_sources:
            self._carry(source)
        if self.status is None:
            when = "the default milestone" if self.state == "booting" else "the end of the command"
            raise Failure(f"the system went down before {when}")
        return self.status

    def _carry(self, source):
        """Moves what is there; False at the end of the stream."""
        while True:
            try:
                data = os.read(source, 65536)
            except BlockingIOError:
                return True
            except (ConnectionResetError, OSError):
                return False
            if not data:
                return False
            if source == self.system.control:
                self._hear(data)
            else:
                write_all(self.sinks[source], data)

    def _hear(self, data):
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            words = line.decode("utf-8", "replace").split()
            if words == ["ready"] and self.state in ("booting", "running"):
                if self.state == "booting":
                    self.on_ready()
                self.state = "running"
                write_all(self.system.command, guest.line(self.command))
            elif len(words) == 2 and words[0] == "exit" and words[1].isdigit():
                self.state = "stopping"
                self.status = int(words[1])
                self.on_exit()
                self.deadline = min(self.deadline, time.monotonic() + STOP_SECONDS)
            elif words:
                raise Failure(f"the guest said {line!r} on its control line")

    def _check_time(self):
        if time.monotonic() < self.deadline:
            return
        if self.state == "stopping":
            raise Failure(f"the command ended with {self.status}, but the system did not power off")
        what = "default milestone not reached" if self.state == "booting" else "command not ended"
        raise Failure(f"timeout: {what} after {self.timeout:g} s", TIMED_OUT)

    def _check_console(self):
        try:
            with open(self.system.console, "rb") as log:
                log.seek(max(0, self.console_seen - 64))
                text = log.read()
                self.console_seen = log.tell()
        except OSError:
            return
        for mark in DEAD:
            if mark in text:
                line = text[text.index(mark):].split(b"\n")[0].strip()
                raise Failure("the kernel died: " + line.decode("utf-8", "replace"))


def write_all(descriptor, data):
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view):]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except BrokenPipeError:
            # whoever read our output is gone; the guest's command need not care
            if descriptor in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
                return
            raise Failure("the guest closed its control line") from None


def say(message):
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
