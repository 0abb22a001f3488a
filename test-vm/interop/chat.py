"""The package's own example, unchanged: two people chat, with a third who is a shell script."""

import os
import re
import subprocess
import sys
import threading

from peers import SYNDICATE_REF, tcp, unix
from server import GUARD, SOURCE, Server

EXAMPLES = os.environ["MUSTER_EXAMPLES"]
SCRIPT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "chat.sh")


class Chatter:
    """One process of the example; what it prints, line by line."""

    # Otherwise both might come by the same name.
    RUN = "import random, runpy, sys; random.seed(sys.argv.pop(1)); runpy.run_path('chat.py')"

    def __init__(self, seed, address):
        self.lines = []
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-u", "-c", self.RUN, seed,
             "--address", address, "--cap", SYNDICATE_REF],
            cwd=EXAMPLES, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def see(self, pattern):
        """The first line that matches, once it is there."""
        found = None

        def look():
            nonlocal found
            found = next(filter(None, (re.fullmatch(pattern, line) for line in self.lines)), None)
            return found

        with self.changed:
            assert self.changed.wait_for(look, GUARD), f"no line {pattern}, but {self.lines}"
        return found

    def leave(self):
        self.process.stdin.close()
        try:
            self.process.wait(GUARD)
        finally:
            self.process.kill()
            self.process.wait()


def test_two_people_and_a_shell_script():
    script = f"""
        <require-service <daemon chatter>>
        <daemon chatter {{
            argv: ["/bin/sh" "{SCRIPT}"]
            protocol: text/syndicate
            readyOnStart: #f
            env: {{MUSTER_LIB: "{SOURCE}/services/lib"}}
            grant: {{room: $space}}
        }}>
    """
    with Server(script) as server:
        one = Chatter("1", tcp(server.port))
        two = None
        try:
            one.see("shell joined")
            name = one.see(r"(user_\d+) joined")[1]
            two = Chatter("2", unix(server.gatekeeper))
            two.see("shell joined")
            two.see(f"{name} joined")
            other = one.see(rf"(?!{name} )(user_\d+) joined")[1]
            one.say("hello \"all\" <of> you, even 'ä€😀'")
            for each in (one, two):
                each.see(re.escape(f"{name} says 'hello \"all\" <of> you, even \\'ä€😀\\''"))
                each.see(re.escape(f"shell says 'hello {name}'"))
            two.say("bye")
            one.see(f"{other} says 'bye'")
            two.leave()
            one.see(f"{other} left")
            one.see(re.escape(f"shell says 'where is {other}?'"))
        finally:
            one.leave()
            if two:
                two.leave()
