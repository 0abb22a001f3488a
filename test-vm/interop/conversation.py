"""A long random conversation, the same each time: clients of syndicate-py assert, observe, send,
come and go; after each phase every one of them must see what a model of a dataspace says."""

import random
from collections import Counter

from preserves import Record, Symbol
from syndicate import patterns as P, turn
from syndicate.schema import dataspace as D

from peers import SYNDICATE_REF, Client, Recorder, tcp, unix
from server import Server

CLIENTS = 5
PHASES = 150


def rec(label, *fields):
    return Record(Symbol(label), list(fields))


class Wildcard:
    pass


ANY, CAPTURE = Wildcard(), Wildcard()


def capture_all(shape, value, captures):
    """Whether VALUE matches SHAPE, by the definition; what it captures goes into CAPTURES."""
    if shape is ANY:
        return True
    if shape is CAPTURE:
        captures.append(value)
        return True
    if isinstance(shape, Record):
        return (isinstance(value, Record) and value.key == shape.key
                and len(value.fields) >= len(shape.fields)
                and all(capture_all(s, v, captures)
                        for s, v in zip(shape.fields, value.fields)))
    if isinstance(shape, tuple):
        return (isinstance(value, tuple) and len(value) >= len(shape)
                and all(capture_all(s, v, captures) for s, v in zip(shape, value)))
    return type(value) is type(shape) and value == shape


def pattern(shape):
    if shape is ANY:
        return P._
    if shape is CAPTURE:
        return P.CAPTURE
    if isinstance(shape, Record):
        return P._rec(shape.key, *map(pattern, shape.fields))
    if isinstance(shape, tuple):
        return P.arr(*map(pattern, shape))
    return P.lit(shape)


class Party(Client):
    """One client and what the model knows of it."""

    def __init__(self, name, address, cap):
        super().__init__(name, address, cap)
        self.facts = {}     # handle: value
        self.watching = {}  # handle: (shape, recorder, messages expected from each sender)
        self.sent = 0

    def lose(self):
        self.facts.clear()
        self.watching.clear()


class Conversation:
    def __init__(self, seed, parties):
        self.random = random.Random(seed)
        self.parties = parties
        self.checks = 0

    def atom(self):
        return self.random.choice([0, 1, -1, 2 ** 70, "a", "b", Symbol("a"), True, 0.5, b"a"])

    def value(self, depth=2):
        kind = self.random.randrange(4)
        if depth == 0 or kind == 0:
            return self.atom()
        parts = [self.value(depth - 1) for _ in range(self.random.randrange(1, 4))]
        return tuple(parts) if kind == 1 else rec(self.random.choice("xyz"), *parts)

    def shape(self, depth=2):
        kind = self.random.randrange(6)
        if kind < 2 and depth < 2:
            return self.random.choice([ANY, CAPTURE, CAPTURE])
        if depth == 0 or kind == 2:
            return self.atom()
        parts = [self.shape(depth - 1) for _ in range(self.random.randrange(1, 4))]
        return tuple(parts) if kind == 3 else rec(self.random.choice("xyz"), *parts)

    def assertable(self):
        return rec(self.random.choice("xyz"), *(self.value() for _ in range(3)))

    def all_facts(self):
        return [value for party in self.parties for value in party.facts.values()]

    async def change(self):
        party = self.random.choice(self.parties)
        if party.space is None:
            await party.reconnect()
        kind = self.random.randrange(12)
        if kind < 5:
            known = self.all_facts()
            value = (self.random.choice(known) if known and kind == 0 else self.assertable())
            party.facts[await party.publish(value)] = value
        elif kind < 8 and party.facts:
            handle = self.random.choice(list(party.facts))
            del party.facts[handle]
            await party.retract(handle)
        elif kind < 10:
            shape = self.shape()
            recorder = Recorder(party)
            handle = await party.do(lambda: turn.publish(
                party.space, D.Observe(pattern(shape), turn.ref(recorder))))
            party.watching[handle] = (shape, recorder, [])
        elif kind == 10 and party.watching:
            handle = self.random.choice(list(party.watching))
            del party.watching[handle]
            await party.retract(handle)
        elif self.random.randrange(4) == 0:
            party.lose()
            await party.disconnect()

    async def say(self):
        party = self.random.choice(self.parties)
        if party.space is None:
            return
        body = self.random.choice(self.all_facts() + [self.assertable()])
        body = Record(body.key, [*body.fields, (party.name, party.sent)])
        party.sent += 1
        for other in self.parties:
            for shape, _, expected in other.watching.values():
                captures = []
                if capture_all(shape, body, captures):
                    expected.append(captures)
        await party.send(body)

    async def quiet(self):
        """All that was sent is handled, and all that came of it is here."""
        for _ in range(2):
            for party in self.parties:
                if party.space is not None:
                    await party.sync()

    def check(self):
        facts = {repr(value): value for value in self.all_facts()}.values()
        for party in self.parties:
            for shape, recorder, expected in party.watching.values():
                matches = set()
                for value in facts:
                    captures = []
                    if capture_all(shape, value, captures):
                        matches.add(repr(tuple(captures)))
                assert recorder.values() == sorted(matches), \
                    f"{party.name} sees {recorder.values()}, not {sorted(matches)}"
                # From different senders messages may come in another order.
                seen = Counter(repr(each) for each in recorder.messages)
                wanted = Counter(repr(tuple(each)) for each in expected)
                assert seen == wanted, f"{party.name} heard {seen}, not {wanted}"
                self.checks += 1

    async def run(self):
        for _ in range(PHASES):
            for _ in range(self.random.randrange(1, 12)):
                await self.change()
            await self.quiet()
            for _ in range(self.random.randrange(6)):
                await self.say()
            await self.quiet()
            self.check()
        assert self.checks > PHASES


async def converse(seed, server, addresses):
    parties = [Party(f"party {i}", *addresses(server, i)) for i in range(CLIENTS)]
    try:
        for party in parties:
            await party.start()
        await Conversation(seed, parties).run()
    finally:
        for party in parties:
            await party.stop()


async def test_random_over_a_unix_socket():
    with Server() as server:
        for seed in (1, 2):
            await converse(seed, server, lambda server, _: (unix(server.direct), None))


async def test_random_over_all_transports():
    def addresses(server, i):
        return [(unix(server.direct), None), (tcp(server.port), SYNDICATE_REF),
                (unix(server.gatekeeper), SYNDICATE_REF)][i % 3]

    with Server() as server:
        await converse(3, server, addresses)
