"""An uplink with a simulated hub, and a sleep that only counts."""

import asyncio
from typing import Any, cast

from fakes import HandClock, running

from agent.cloud.move import Moves
from agent.cloud.uplink import Uplink
from hw import Reading

SCOPE = "0ne000000AA"


class MemoryAssignment:
    """A stored assignment without a store."""

    def __init__(self, assignment=None):
        self.assignment = assignment

    async def load(self):
        return self.assignment

    async def save(self, assignment):
        self.assignment = assignment

    async def forget(self, assignment):
        if self.assignment == assignment:
            self.assignment = None


class MemorySettings:
    """Settings without a file. While `fails` is true, they are not saved."""

    def __init__(self, **values):
        self.values = values
        self.fails = False

    async def get(self, name):
        return self.values.get(name)

    async def put(self, name, value):
        self.values[name] = value

    def is_saved(self, _name):
        return not self.fails


def moves_of(settings=None, *, clock=None, allowed=True, id_scope: str | None = SCOPE):
    """Return the moves of device pi-1, not loaded yet."""
    store: Any = settings or MemorySettings()
    registration = ("dps.test", id_scope, "pi-1")
    return Moves(store, registration, allowed=allowed, clock=clock or HandClock())


class Rig:
    """An uplink, and what it uses of the daemon: commands, properties and background tasks."""

    def __init__(self, outbox, hub, *, assignment=None, first_delay=0.0, max_rate=1000, moves=None):
        self.outbox = outbox
        self.hub = hub
        self.clock = HandClock()
        self.sleeps = []
        self.patches = []
        self.twins = []
        self.queued = []
        self.assignment = assignment or MemoryAssignment()
        self.moves = moves or moves_of(clock=self.clock)
        self.status_changed = asyncio.Event()
        self.steady = asyncio.Event()  # Set it to end the first minute of a connection.
        self.background = set()
        parts: Any = self  # The parts of the daemon, as far as an uplink uses them.
        self.uplink = Uplink(
            parts,
            outbox=outbox,
            hub=hub,
            moves=self.moves,
            assignments=lambda _id_scope: cast("Any", self.assignment),
            commands=parts,
            properties=parts,
            settings=cast("Any", MemorySettings()),
            unit="celsius",
            max_rate=max_rate,
            first_delay=first_delay,
            sleep=self.sleep,
            jitter=lambda: 1.0,
        )

    async def sleep(self, seconds):
        self.sleeps.append(seconds)
        if seconds == 60.0:  # Also the interval of backlog reports, which most tests do not need.
            await self.steady.wait()
            self.steady.clear()
        self.clock.move(seconds)
        await asyncio.sleep(0)

    def snapshot(self):
        return {"state": True}

    def start_task(self, work, name):
        task = asyncio.create_task(work, name=name)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    async def execute(self, name, _payload):
        return 200, {"did": name}

    async def execute_queued(self, name, body):
        self.queued.append((name, body))

    async def apply_twin(self, twin):
        self.twins.append(twin)

    async def apply_patch(self, patch):
        self.patches.append(patch)

    async def add(self, count=1):
        for number in range(count):
            await self.uplink.add(Reading(20.0 + number % 50, 50.0), self.clock.stamp())

    def running(self):
        return running(self.uplink.run())


def numbers(session):
    return [int(sent.id.rpartition(":")[2]) for sent in session.sent]
