"""Runs scenario files and looks at what they leave behind.

A scenario is an executable with comment lines that say where it runs and for how long at most:

    # in: namespace vm
    # limit: 60

It is run once for each place, named in PLACE, with a TMPDIR of its own. Exit status 0 is success,
77 is a skip (the last line of output says why), anything else a failure.
"""

import os
import select
import shutil
import signal
import sys
import tempfile
import time

from . import linux
from .cgroup import maker, own_folder, prefix, remove
from .failure import Failure
from .workspace import SOURCE

FOLDER = os.path.join(SOURCE, "test-vm", "scenarios")
DEFAULT_LIMIT = 240
SKIP = 77
USAGE = "usage: run-scenarios [--jobs N] [--list] [--only vm|namespace] [NAME...]"


class Scenario:
    def __init__(self, name, place, limit):
        self.file = os.path.join(FOLDER, name)
        self.place = place
        self.limit = limit
        self.name = f"{name} ({place})"


def find(names, only):
    found = []
    for name in names or sorted(os.listdir(FOLDER)):
        path = os.path.join(FOLDER, os.path.basename(name))
        if not os.access(path, os.X_OK):
            raise Failure(f"{name}: no such scenario", 2)
        marks = {"in": "namespace", "limit": str(DEFAULT_LIMIT)}
        with open(path, encoding="utf-8") as text:
            for line in text:
                key, colon, value = line[2:].partition(":")
                if line.startswith("# ") and colon and key in marks:
                    marks[key] = value.strip()
        for place in marks["in"].split():
            if only in (None, place):
                found.append(Scenario(os.path.basename(name), place, float(marks["limit"])))
    return found


class Worker:
    """Runs one scenario in a process that adopts whatever the scenario leaves running."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.folder = tempfile.mkdtemp(prefix="scenario-")
        self.output = os.path.join(self.folder, "output")
        self.started = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                code = self._work()
            finally:
                os._exit(code)
        self.pidfd = os.pidfd_open(self.pid)

    def _work(self):
        """Exit status: 0 well, 77 skipped, 1 not; the reason in the file `reason`."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop_once)
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)
        child = os.fork()
        if child == 0:
            self._become_scenario()
        try:
            reason, skipped = self._wait(child)
        except SystemExit:
            end_group(child)
            raise
        finally:
            left = end_children()
        if left and not reason:
            reason = "left running: " + ", ".join(left)
        remains = self._remains()
        reason = reason or remains
        with open(os.path.join(self.folder, "reason"), "w", encoding="utf-8") as out:
            out.write(reason or "")
        return SKIP if skipped else 1 if reason else 0

    def _become_scenario(self):
        try:
            os.setsid()
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            out = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out, 1)
            os.dup2(out, 2)
            scratch = os.path.join(self.folder, "tmp")
            os.mkdir(scratch)
            os.chdir(scratch)
            environment = dict(os.environ, TMPDIR=scratch, PLACE=self.scenario.place,
                               BOOT_RUN=str(os.getppid()),
                               BOOT_CONSOLES=os.path.join(self.folder, "consoles"))
            os.execve(self.scenario.file, [self.scenario.file], environment)
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
        finally:
            os._exit(126)

    def _wait(self, child):
        watch = select.poll()
        watch.register(os.pidfd_open(child), select.POLLIN)
        if not watch.poll(self.scenario.limit * 1000):
            end_group(child)
            return f"not done after {self.scenario.limit:g} s", False
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == SKIP:
            return last_line(self.output), True
        if status < 0:
            return f"ended by signal {-status}", False
        return (f"exit status {status}: {last_line(self.output)}" if status else None), False

    def _remains(self):
        """What the run left behind besides processes; None is as it should be."""
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            for line in mounts:
                if self.folder in line:
                    return "left mounted: " + line.split()[1]
        for name in os.listdir(os.path.join(self.folder, "tmp")):
            if name.startswith("muster-boot-"):
                return f"left behind: {name} in TMPDIR"
        for name in groups_of(os.getpid()):
            if not os.path.exists(maker(name)):
                remove(os.path.join(own_folder(), name))
                return f"left behind: control group {name}"
        return None

    def report(self):
        """Prints the result; returns ok, skip or failed."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.pidfd)
        took = time.monotonic() - self.started
        reason = read(os.path.join(self.folder, "reason")) or "the runner itself failed"
        result = {0: "ok", SKIP: "skip"}.get(status, "failed")
        if result == "ok":
            print(f"ok {self.scenario.name} {took:.1f} s")
        elif result == "skip":
            print(f"skip {self.scenario.name}: {reason}")
        else:
            print(f"not ok {self.scenario.name}: {reason}")
            show("output", read(self.output))
            consoles = (read(os.path.join(self.folder, "consoles")) or "").split()
            if consoles:
                show("end of " + consoles[-1], read(consoles[-1]), 60)
        sys.stdout.flush()
        shutil.rmtree(self.folder, ignore_errors=True)
        return result


def groups_of(run):
    try:
        return [name for name in os.listdir(own_folder()) if name.startswith(prefix(run))]
    except (OSError, Failure):
        return []


def stop_once(*_):
    """A second one would end the clearing up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(1)


def end_group(child):
    """Asks first, so that the harness can clear up."""
    watch = select.poll()
    watch.register(os.pidfd_open(child), select.POLLIN)
    os.killpg(child, signal.SIGTERM)
    if not watch.poll(15000):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)


def end_children():
    """Kills every process below us. Returns what they were."""
    left = []
    while True:
        try:
            with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as children:
                pids = [int(pid) for pid in children.read().split()]
        except OSError:
            pids = []
        for pid in pids:
            command = (read(f"/proc/{pid}/cmdline") or "").replace("\0", " ").strip()
            if command:  # not one that is only waiting to be reaped
                left.append(f"{pid} {command[:80]}")
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)
        if not pids:
            return left


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as text:
            return text.read()
    except OSError:
        return None


def last_line(path):
    lines = [line for line in (read(path) or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no output"


def show(title, text, lines=200):
    print(f"  --- {title}")
    for line in (text or "").replace("\r", "").splitlines()[-lines:]:
        print("  | " + "".join(c if c.isprintable() or c == "\t" else "?" for c in line))
    print("  ---")


def main(arguments):
    jobs, only, names, listing = min(2, os.cpu_count() or 1), None, [], False
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--list":
            listing = True
        elif word == "--jobs" and rest and rest[0].isdigit():
            jobs = max(1, int(rest.pop(0)))
        elif word == "--only" and rest and rest[0] in ("vm", "namespace"):
            only = rest.pop(0)
        elif word.startswith("-"):
            print(f"run-scenarios: {word}: not understood\n{USAGE}", file=sys.stderr)
            return 2
        else:
            names.append(word)
    try:
        scenarios = find(names, only)
    except Failure as failure:
        print(f"run-scenarios: {failure}", file=sys.stderr)
        return failure.status
    if listing:
        print("\n".join(scenario.name for scenario in scenarios))
        return 0
    return run_all(scenarios, jobs)


def run_all(scenarios, jobs):
    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    waiting, running = list(scenarios), {}
    counts = {"ok": 0, "failed": 0, "skip": 0}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                worker = Worker(waiting.pop(0))
                running[worker.pidfd] = worker
            watch = select.poll()
            for descriptor in running:
                watch.register(descriptor, select.POLLIN)
            for descriptor, _ in watch.poll():
                counts[running.pop(descriptor).report()] += 1
    except KeyboardInterrupt:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for worker in running.values():
            os.kill(worker.pid, signal.SIGTERM)
            worker.report()
        return 130
    skipped = f", {counts['skip']} skipped" if counts["skip"] else ""
    print(f"{counts['ok']} passed, {counts['failed']} failed{skipped}")
    return 1 if counts["failed"] else 0
