"""What a program that was written for syndicate-server does, over each transport."""

import asyncio

from preserves import Embedded, Record, Symbol
from syndicate import patterns as P, turn
from syndicate.during import During
from syndicate.schema import dataspace as D

from peers import SYNDICATE_REF, Client, Recorder, tcp, unix
from server import GUARD, Server


def rec(label, *fields):
    return Record(Symbol(label), list(fields))


async def observe(client, pattern):
    recorder = Recorder(client)
    recorder.handle = await client.do(
        lambda: turn.publish(client.space, D.Observe(pattern, turn.ref(recorder))))
    await client.sync()
    return recorder


async def two_clients(address, cap, body):
    one, two = Client("one", address, cap), Client("two", address, cap)
    try:
        await one.start()
        await two.start()
        await body(one, two)
    finally:
        await one.stop()
        await two.stop()


async def assertions(one, two):
    handle = await one.publish(rec("x", 1, "a"))
    await one.sync()
    seen = await observe(two, P.rec("x", P.CAPTURE, P.CAPTURE))
    assert seen.values() == ["(1, 'a')"], seen.values()
    # The same again counts once, until the last copy has gone.
    again = await one.publish(rec("x", 1, "a"))
    own = await two.publish(rec("x", 1, "a"))
    other = await one.publish(rec("x", 2, b"\0\xff", [None is None, 0.5, {Symbol("k"): {1, 2}}]))
    await one.sync()
    await two.sync()
    assert seen.values() == ["(1, 'a')", "(2, b'\\x00\\xff')"], seen.values()
    for each in (handle, again):
        await one.retract(each)
    await one.sync()
    await two.sync()
    assert len(seen.present) == 2
    await two.retract(own)
    await one.retract(other)
    await one.sync()
    await two.sync()
    assert not seen.present, seen.values()


async def messages(one, two):
    seen = await observe(two, P.rec("Says", P.lit("producer"), P.CAPTURE))
    all_of_it = await observe(two, P.bind(P.rec("Says")))
    for i in range(200):
        await one.send(rec("Says", "producer" if i % 2 else "other", i))
    await one.send(rec("Says", "producer", 2 ** 200))
    await one.send(rec("Says", "producer", "x" * 3_000_000))
    await two.wait(lambda: len(all_of_it.messages) == 202)
    assert [each[0] for each in seen.messages[:-1]] == [*range(1, 200, 2), 2 ** 200]
    assert len(seen.messages[-1][0]) == 3_000_000
    await two.retract(seen.handle)
    await two.sync()
    await one.send(rec("Says", "producer", 0))
    await two.wait(lambda: len(all_of_it.messages) == 203)
    assert len(seen.messages) == 102


async def capabilities(one, two):
    """One offers an entity; two is given it by the dataspace and speaks to it."""
    offered = Recorder(one)
    handle = await one.do(
        lambda: turn.publish(one.space, rec("offer", Embedded(turn.ref(offered)))))
    await one.sync()
    held = []

    def use():
        @During().add_handler
        def given(entity):
            held.append(entity.embeddedValue)
            turn.publish(entity.embeddedValue, rec("hello", "assertion"))
            turn.send(entity.embeddedValue, rec("hello", "message"))
        turn.publish(two.space, D.Observe(P.rec("offer", P.CAPTURE), turn.ref(given)))

    await two.do(use)
    await one.wait(lambda: offered.messages and offered.present)
    # A sync that goes all the way to the other client and back.
    done = asyncio.get_running_loop().create_future()
    await two.do(lambda: turn.sync(held[0], lambda: done.set_result(True)))
    await asyncio.wait_for(done, GUARD)
    # When the offer goes, so does what was asserted at it.
    await one.retract(handle)
    await one.wait(lambda: not offered.present)


async def observers(one, two):
    """Observers can be observed."""
    watched = await observe(one, P.rec("Observe", P.bind(P.rec("lit", P.CAPTURE)), P._))
    seen = await observe(two, P.lit(Symbol("hello")))
    await one.sync()
    assert len(watched.present) == 1, watched.values()
    await two.retract(seen.handle)
    await two.sync()
    await one.sync()
    assert not watched.present


async def comings_and_goings(one, two):
    def arrive(space):
        turn.publish(space, rec("Present", "one"))
        turn.publish(space, rec("connection", one.connections))

    seen = await observe(two, P.rec("Present", P.CAPTURE))
    one.on_connected = arrive
    for _ in range(3):
        await one.disconnect()
        await two.wait(lambda: not seen.present)
        await one.reconnect()
        await two.wait(lambda: seen.present)
        await one.sync()
        await one.send(rec("still", "there"))
    assert one.connections == 4


EVERYTHING = [assertions, messages, capabilities, observers, comings_and_goings]


async def through(address_of, cap):
    with Server() as server:
        for body in EVERYTHING:
            await two_clients(address_of(server), cap, body)


async def test_a_dataspace_behind_a_unix_socket():
    await through(lambda server: unix(server.direct), None)


async def test_a_gatekeeper_behind_a_unix_socket():
    await through(lambda server: unix(server.gatekeeper), SYNDICATE_REF)


async def test_a_gatekeeper_behind_tcp():
    await through(lambda server: tcp(server.port), SYNDICATE_REF)


async def test_a_server_that_comes_back():
    """The client of the package connects again by itself, and says everything anew."""
    with Server() as server:
        client = Client("client", unix(server.direct), by_itself=True)
        client.on_connected = lambda space: turn.publish(space, rec("Present", "client"))
        await client.start()
        server.kill()
        await client.wait(lambda: client.space is None)
        server.start()
        await client.wait(lambda: client.connections == 2)
        witness = await Client("witness", unix(server.direct)).start()
        await client.sync()
        seen = await observe(witness, P.rec("Present", P.CAPTURE))
        assert seen.values() == ["('client',)"], seen.values()
        await witness.stop()
        await client.stop()


