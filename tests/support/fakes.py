"""Fakes that several tests share: a clock that is set by hand, a session that records."""

import asyncio
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from card import Card

from agent.cloud.traffic import Traffic
from agent.config.loader import CloudConfig
from agent.errors import SessionLostError
from agent.readings.clock import Clock
from agent.readings.outbox import Outbox
from agent.storage.assignment import Assignment


class HandClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self, *, wall=1_700_000_000.0, uptime=1000.0, known=True, boot_id="boot-a"):
        self.time = wall
        self.up = uptime
        self.known = known
        super().__init__(
            wall=lambda: self.time,
            uptime=lambda: self.up,
            synchronised=lambda: self.known,
            boot_id=boot_id,
        )

    def move(self, seconds):
        self.time += seconds
        self.up += seconds


class FakeSession:
    """A session with a hub that acknowledges messages while `acknowledging` is set."""

    def __init__(self, hub="hub.test", *, twin=None):
        self.hub = hub
        self.device_id = "pi-1"
        self.traffic = Traffic(asyncio.get_running_loop().time)
        self.sent = []
        self.reports = []
        self.answers = []
        self.twins = [twin or {"desired": {"$version": 1}, "reported": {}}]
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.lost = asyncio.get_running_loop().create_future()
        self.send_errors = []
        self.report_errors = []
        self.acknowledging = asyncio.Event()
        self.acknowledging.set()

    async def send(self, message):
        if self.send_errors:
            raise self.send_errors.pop(0)
        self.sent.append(message)
        await self.acknowledging.wait()

    async def report(self, patch):
        if self.report_errors:
            raise self.report_errors.pop(0)
        self.reports.append(patch)

    async def twin(self):
        answer = self.twins.pop(0) if len(self.twins) > 1 else self.twins[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def answer(self, command, status, payload):
        self.answers.append((command.name, status, payload))

    async def ended(self):
        raise await asyncio.shield(self.lost)

    def lose(self):
        self.lost.set_result(SessionLostError("The connection to hub.test ended: test."))

    @property
    def reported(self):
        return {name: value for patch in self.reports for name, value in patch.items()}


class FakeHub:
    """Opens these sessions, or raises these errors, one after the other."""

    def __init__(self, *sessions):
        self.cloud = CloudConfig(id_scope="0ne00000000", key_file=Path("device.key"))
        self.sessions = list(sessions)
        self.connects = []
        self.registrations = 0
        self.asked = []  # The ID scope of each registration,
        self.known = []  # and whether a hub in it was known.
        self.assignments: list[Assignment | Exception] = [Assignment("hub.test", "pi-1")]
        self.open = 0

    @asynccontextmanager
    async def connect(self, assignment, events):
        self.connects.append(assignment)
        if not self.sessions:
            await asyncio.Event().wait()
        session = self.sessions.pop(0)
        if isinstance(session, Exception):
            raise session
        while not session.events.empty():
            events.put_nowait(session.events.get_nowait())
        session.events = events
        self.open += 1
        try:
            yield session
        finally:
            self.open -= 1

    async def register(self, id_scope, *, known):
        self.registrations += 1
        self.asked.append(id_scope)
        self.known.append(known)
        answer = self.assignments.pop(0) if len(self.assignments) > 1 else self.assignments[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def running(work):
    """Run a coroutine as a task inside the `async with` block, and cancel it at the end."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def open_outbox(disk=None, **given):
    """Return a queue on a simulated card, or on `disk`."""
    options: dict[str, Any] = {"clock": HandClock(), "state": Path("/nonexistent"), **given}
    outbox = Outbox(Card() if disk is None else disk, **options)
    await outbox.open()
    return outbox


async def until(condition):
    """Let other tasks run until `condition()` holds. The test's timeout limits this."""
    while not condition():  # noqa: ASYNC110 - the condition is anything, not an event.
        await asyncio.sleep(0.001)
