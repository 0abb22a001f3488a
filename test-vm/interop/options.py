"""syndicate-server's options, each as a program that runs has it."""

import os
import re
import subprocess
import tempfile

from preserves import Symbol, parse
from syndicate import patterns as P

from peer import observe, rec
from peers import SYNDICATE_REF, Client, tcp, unix
from server import GUARD, PROGRAM, Server, free_port, kill

CONTROL = "[[0 <A <Observe <group <rec capability> {0: <lit control> 1: <bind <_>>}> #:[0 1]> 1>]]\n"


class Inferior:
    """`dataspace --inferior`; we are its superior and hold $config."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [PROGRAM, "--inferior", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, bufsize=1)

    def say(self, text):
        self.process.stdin.write(text)

    def hear(self):
        return self.process.stdout.readline()

    def end(self):
        """Its exit status and what it had to say, when it has nothing more to hear from us."""
        _, said = self.process.communicate(timeout=GUARD)
        return self.process.returncode, said

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            kill(self.process)


def test_inferior():
    with Inferior() as inferior:
        inferior.say("[[0 <S #:[0 7]>]]\n")
        assert inferior.hear() == "[[7, <M #t>]]\n"
        # It is there for us alone, and says nothing at start.
        assert inferior.end() == (0, "")
    with Inferior() as inferior:
        inferior.say("[[0 <X>]]\n")
        assert inferior.hear().startswith('<error "unknown event')
        status, said = inferior.end()
        assert status == 1 and "superior: unknown event" in said, (status, said)


def test_control():
    with Inferior("--control") as inferior:
        inferior.say(CONTROL)
        found = re.fullmatch(r"\[\[1, <A \[#:\[0, (\d+)\]\] \d+>\]\]\n", inferior.hear())
        assert found
        inferior.say(f"[[{found[1]} <M <exit 256>>] [0 <S #:[0 7]>]]\n")
        assert inferior.hear() == "[[7, <M #t>]]\n"
        inferior.say(f"[[{found[1]} <M <exit 7>>]]\n")
        assert inferior.process.wait(GUARD) == 7
        said = inferior.process.stderr.read()
        assert "$control takes <exit STATUS>, from 0 to 255, not <exit 256>" in said, said
    # Nobody has it who did not ask for it.
    with Inferior() as inferior:
        inferior.say(CONTROL)
        inferior.say("[[0 <S #:[0 7]>]]\n")
        assert inferior.hear() == "[[7, <M #t>]]\n"


def test_control_of_a_script():
    with tempfile.NamedTemporaryFile("w", suffix=".pr") as script:
        script.write("$control ! <exit 7>\n")
        script.flush()
        ended = subprocess.run([PROGRAM, "--control", "-c", script.name], timeout=GUARD,
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        assert ended.returncode == 7, ended


async def test_listeners_and_reports():
    with tempfile.TemporaryDirectory(prefix="muster-interop-") as folder:
        path, trace, port = os.path.join(folder, "s"), os.path.join(folder, "t"), free_port()
        arguments = ["-s", path, "-p", str(port), "-t", trace, "--debt-reporter", "--no-banner"]
        with Server(arguments=arguments) as server:
            server.wait_for(f'listening <unix "{path}"')
            server.wait_for(f'listening <tcp "0.0.0.0" {port}>')
            clients = [Client("one", unix(path), SYNDICATE_REF),
                       Client("two", tcp(port), SYNDICATE_REF)]
            try:
                for client in clients:
                    await client.start()
                await clients[0].publish(rec("x", 1))
                await clients[0].sync()
                seen = await observe(clients[1], P.rec("x", P.CAPTURE))
                assert seen.values() == ["(1,)"], seen.values()
            finally:
                for client in clients:
                    await client.stop()
            server.wait_for("debt of engine: ")
        server.reader.join()
        assert not any("running" in line for line in server.lines), server.lines
        with open(trace, encoding="utf-8") as file:
            records = [parse(line, parse_embedded=lambda value: value) for line in file]
    actors = set()
    for record in records:
        assert record.key == Symbol("trace") and len(record.fields) == 3, record
        actors.add(record.fields[1])
    kinds = {record.fields[2].key.name for record in records}
    assert {"start", "turn"} <= kinds, kinds
    assert len(actors) > 5


def test_banner():
    with Server() as server:
        server.wait_for("dataspace: running")
