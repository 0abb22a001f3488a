"""Clients made with syndicate-py, driven from the coroutine of a test."""

import asyncio

import syndicate
from syndicate import actor, relay, turn
from syndicate.schema import sturdy

from server import GUARD

SYNDICATE_REF = '<ref {oid: "syndicate" sig: #x"69ca300c1dbfa08fba692102dd82311a"}>'


def unix(path):
    return f'<unix "{path}">'


def tcp(port):
    return f'<tcp "127.0.0.1" {port}>'


class Client:
    """An actor with one connection. `space` is what the connection leads to, while it is there."""

    def __init__(self, name, address, cap=None, by_itself=False):
        self.by_itself = by_itself  # connects again as the package does, not when told
        self.name = name
        self.address = address
        self.cap = cap and sturdy.SturdyRef.decode(syndicate.parse(cap))
        self.space = None
        self.facet = None  # lives as long as the connection
        self.relay = None
        self.actor = None
        self.connections = 0
        self.changed = asyncio.Condition()
        self.on_connected = lambda space: None
        self.online = True

    async def start(self):
        self.actor = actor.Actor(self._boot, system=actor.System(asyncio.get_running_loop()),
                                 name=self.name)
        await self.wait(lambda: self.space)
        return self

    def _boot(self):
        when_gone = {} if self.by_itself else {"on_disconnected": self._disconnected}

        @relay.connect(self.address, self.cap, **when_gone)
        def relay_of(space):
            self.space = space
            self.facet = turn.active_facet()
            self.connections += 1
            turn.on_stop(self._gone)
            self.on_connected(space)
            self.notify()

        self.relay = relay_of

    def _gone(self):
        self.space = None
        self.notify()

    async def _disconnected(self, _relay, _did_connect):
        async with self.changed:
            await self.changed.wait_for(lambda: self.online)
        return True

    def notify(self):
        async def tell():
            async with self.changed:
                self.changed.notify_all()
        asyncio.get_running_loop().create_task(tell())

    async def wait(self, condition):
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(condition), GUARD)

    async def do(self, action):
        """Runs `action` in a turn of the connection's facet; returns what it returns."""
        done = asyncio.get_running_loop().create_future()

        def body():
            try:
                done.set_result(action())
            except BaseException as error:
                done.set_exception(error)
                raise

        turn.run(self.facet, body)
        return await asyncio.wait_for(done, GUARD)

    async def sync(self):
        """Returns when the server has handled all that was sent, and we what it said before."""
        done = asyncio.get_running_loop().create_future()
        await self.do(lambda: turn.sync(self.space, lambda: done.set_result(True)))
        await asyncio.wait_for(done, GUARD)

    async def publish(self, value):
        return await self.do(lambda: turn.publish(self.space, value))

    async def retract(self, handle):
        await self.do(lambda: turn.retract(handle))

    async def send(self, value):
        await self.do(lambda: turn.send(self.space, value))

    async def disconnect(self):
        """Drops the connection and stays away until `reconnect`."""
        self.online = False
        self.relay._disconnect()
        await self.wait(lambda: self.space is None)

    async def reconnect(self):
        before = self.connections
        self.online = True
        self.notify()
        await self.wait(lambda: self.connections > before)

    async def stop(self):
        if self.actor and self.actor.alive:
            self.online = True
            turn.run(self.actor.root, lambda: turn.stop(self.actor.root))
            await asyncio.sleep(0)


class Recorder(actor.Entity):
    """What an observer sees: assertions by handle, and messages in order."""

    def __init__(self, client):
        self.client = client
        self.present = {}
        self.messages = []

    def on_publish(self, value, handle):
        assert handle not in self.present
        self.present[handle] = value
        self.client.notify()

    def on_retract(self, handle):
        del self.present[handle]
        self.client.notify()

    def on_message(self, value):
        self.messages.append(value)
        self.client.notify()

    def values(self):
        return sorted(map(repr, self.present.values()))
