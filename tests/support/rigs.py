"""An uplink among stand-ins: a hub made of lists, and a sleep that only counts."""

import asyncio
from contextlib import asynccontextmanager

from fakes import HandClock

from agent.cloud.connection_health import ConnectionHealth
from agent.cloud.message import message
from agent.cloud.uplink import Handlers, Uplink
from hw import Reading


class Memory:
    def __init__(self, assignment=None):
        self.assignment = assignment

    async def recall(self):
        return self.assignment

    async def remember(self, assignment):
        self.assignment = assignment


class Rig:
    """An uplink with a hub made of lists, and a sleep that only counts."""

    def __init__(self, outbox, hub, *, memory=None, command=None, first_delay=0.0, max_rate=1000):
        self.outbox = outbox
        self.hub = hub
        self.clock = HandClock()
        self.sleeps = []
        self.patches = []
        self.twins = []
        self.queued = []
        self.memory = memory or Memory()
        self.changes = []  # Hub and backlog at each change.
        self.steady = asyncio.Event()  # Set it, and the minute of a connection is over.
        self.background = set()
        self.uplink = Uplink(
            outbox=outbox,
            handlers=Handlers(
                command=command or self.command,
                queued=self.take_queued,
                twin=self.take_twin,
                desired=self.take_patch,
                snapshot=lambda: {"state": True},
                in_background=self.in_background,
            ),
            compose=lambda entry: message(entry, unit="celsius", clock=self.clock),
            connect=hub.connect,
            register=hub.register,
            memory=self.memory,
            health=ConnectionHealth(self.clock),
            on_change=self.changed,
            max_rate=max_rate,
            now=lambda: self.clock.up,
            sleep=self.sleep,
            jitter=lambda: 1.0,
            first_delay=first_delay,
        )

    async def sleep(self, seconds):
        self.sleeps.append(seconds)
        if seconds == 60.0:  # The look at the backlog too: not in these tests, unless asked for.
            await self.steady.wait()
            self.steady.clear()
        self.clock.move(seconds)
        await asyncio.sleep(0)

    def in_background(self, work, name):
        task = asyncio.create_task(work, name=name)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    def changed(self):
        self.changes.append((self.uplink.hub, self.outbox.waiting))

    async def command(self, name, payload):
        return 200, {"did": name}

    async def take_queued(self, name, body):
        self.queued.append((name, body))

    async def take_twin(self, twin):
        self.twins.append(twin)

    async def take_patch(self, patch):
        self.patches.append(patch)

    async def add(self, count=1):
        for number in range(count):
            await self.outbox.add(Reading(20.0 + number % 50, 50.0), self.clock.stamp())
            self.uplink.reading_added()

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.uplink.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})


def sequences(session):
    return [int(sent.id.rpartition(":")[2]) for sent in session.sent]
