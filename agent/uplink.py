"""Keeps one session with the hub alive, and everything flowing over it.

Two lanes carry readings: live, taken during this connection, and backlog, all older ones. Each is
in order within a connection. What is reported and could not be sent waits, the latest of each.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from agent.azure_client import Assignment
from agent.azure_session import AzureSession, Command, DesiredPatch, QueuedCommand
from agent.errors import (
    AgentError,
    CloudError,
    RefusedError,
    SdkStuckError,
    ServiceRefusedError,
    StoreError,
)
from agent.outbox import START, Entry, Outbox, Position
from agent.registration_memory import RegistrationMemory
from agent.telemetry import Message

log = logging.getLogger(__name__)

LONGEST_DELAY = 300.0  # Seconds between two attempts to connect, at most.
WINDOW = 20  # Messages in flight; the SDK's MQTT client sends no more at once.
PAGE = 100  # Readings fetched from the outbox at a time.
REMOVAL_DELAY = 1.0  # Seconds acknowledged readings are gathered before they are forgotten.
REFUSALS_BEFORE_REGISTERING = 2  # The key may be right and the hub no longer ours.
FAILING_BEFORE_REGISTERING = 300.0  # Seconds; the service may have moved the device.
STUCK_BEFORE_GIVING_UP = 2
STEADY = 60.0  # Seconds a session must last to count as one that worked.
BACKLOG_INTERVAL = 60.0  # Seconds between two reports of the backlog, except that it is gone.


@dataclass(frozen=True, kw_only=True, slots=True)
class Handlers:
    """What the uplink hands on; each is awaited, and answers for its own failures.

    `command` returns status and payload. `twin` is given the whole twin after each connect,
    `desired` each change after that. `snapshot` returns all that is to be reported on connecting.
    """

    command: Callable[[str, Any], Awaitable[tuple[int, Any]]]
    queued: Callable[[str, bytes], Coroutine[Any, Any, None]]
    twin: Callable[[dict[str, Any]], Awaitable[None]]
    desired: Callable[[dict[str, Any]], Awaitable[None]]
    snapshot: Callable[[], Mapping[str, Any]]


class Uplink:
    """One device's way to its hub. `run` it for ever; everything else may be called meanwhile.

    `connect` opens a session with a hub, `register` asks which hub that is; the last answer is
    kept in `memory`, so that a restart needs no registration.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        handlers: Handlers,
        compose: Callable[[Entry], Message],
        connect: Callable[[Assignment], AbstractAsyncContextManager[AzureSession]],
        register: Callable[[], Awaitable[Assignment]],
        memory: RegistrationMemory,
        max_rate: float,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        first_delay: float = 0.0,
    ) -> None:
        self.last_error: str | None = None
        self.connections = 0
        self._outbox = outbox
        self._handlers = handlers
        self._compose = compose
        self._connect = connect
        self._register = register
        self._memory = memory
        self._spacing = 1 / max_rate
        self._now = now
        self._sleep = sleep
        self._jitter = jitter
        self._first_delay = first_delay
        self._session: AzureSession | None = None
        self._unreported: dict[str, Any] = {}
        self._to_report = asyncio.Event()
        self._nothing_to_report = asyncio.Event()
        self._to_send = asyncio.Event()
        self._failures = 0
        self._refusals = 0
        self._failing_since: float | None = None
        self._try_hub_next = False
        self._backlog_reported = 0

    @property
    def hub(self) -> str | None:
        """The hub this device is connected to now; None when it is not."""
        return None if self._session is None else self._session.hub

    def report(self, patch: Mapping[str, Any]) -> None:
        """Report properties now, or as soon as there is a connection."""
        self._unreported.update(patch)
        self._nothing_to_report.clear()
        self._to_report.set()

    def reading_added(self) -> None:
        """Say that the outbox has something new."""
        self._to_send.set()

    async def farewell(self, patch: Mapping[str, Any]) -> None:
        """Report the last words of a daemon that is stopping, and wait until the hub has them.

        Returns at once where there is no connection. The caller sets the end to the waiting.
        """
        if self._session is None:
            return
        # Through the reporter: a report that is under way must not arrive after the last one.
        self.report(patch)
        await self._nothing_to_report.wait()

    async def run(self) -> None:
        """Connect, serve, and connect again, until cancelled.

        Raises SdkStuckError when only a new process can help.
        """
        await self._sleep(self._jitter() * self._first_delay)
        stuck = 0
        while True:
            began = self._now()
            failure: AgentError | None = None
            try:
                await self._serve_once()
            except* (CloudError, StoreError) as group:
                failure = _first(group)
            if failure is not None:
                self._failed(failure, lasted=self._now() - began)
            stuck = stuck + 1 if isinstance(failure, SdkStuckError) else 0
            if failure is not None and stuck >= STUCK_BEFORE_GIVING_UP:
                raise failure
            # Full jitter: a site that comes back must not arrive all at once.
            delay = self._jitter() * min(LONGEST_DELAY, 2.0 ** min(self._failures, 20))
            log.debug("Connecting again in %.1f s.", delay)
            await self._sleep(delay)

    async def _serve_once(self) -> None:
        assignment = await self._memory.recall()
        if assignment is None or (self._must_register() and not self._try_hub_next):
            # Should the provisioning service be what fails, the known hub is tried next.
            self._try_hub_next = True
            log.debug("Asking the provisioning service for this device's hub.")
            assignment = await self._register()
            await self._memory.remember(assignment)
            self._refusals = 0
            self._failing_since = None
        self._try_hub_next = False
        try:
            async with self._connect(assignment) as session:
                self._connected(session)
                await self._serve(session)
        finally:
            self._session = None

    def _must_register(self) -> bool:
        return self._refusals >= REFUSALS_BEFORE_REGISTERING or (
            self._failing_since is not None
            and self._now() - self._failing_since >= FAILING_BEFORE_REGISTERING
        )

    def _connected(self, session: AzureSession) -> None:
        log.info("Connected to %s as %s.", session.hub, session.device_id)
        self._session = session
        self.connections += 1
        self.last_error = None
        self._refusals = 0
        self._failing_since = None

    def _failed(self, error: AgentError, *, lasted: float) -> None:
        # The first failure is news; that it goes on failing is not.
        log.log(logging.WARNING if self.last_error is None else logging.DEBUG, "%s", error)
        self.last_error = str(error)
        # A hub that takes us in and drops us at once is no better than one that is away.
        self._failures = 1 if lasted >= STEADY else self._failures + 1
        self._refusals = self._refusals + 1 if isinstance(error, RefusedError) else 0
        if self._failing_since is None:
            self._failing_since = self._now()

    async def _serve(self, session: AzureSession) -> None:
        self.report(self._handlers.snapshot())
        self._report_backlog()
        twin_changes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            for name, work in {
                "ended": session.ended(),
                "events": self._take_events(session, group, twin_changes),
                "twin": self._follow_twin(session, twin_changes),
                "report": self._report(session),
                "readings": self._send_readings(session),
                "backlog": self._watch_backlog(),
            }.items():
                group.create_task(work, name=f"uplink.{name}")

    async def _take_events(
        self,
        session: AzureSession,
        group: asyncio.TaskGroup,
        twin_changes: "asyncio.Queue[dict[str, Any]]",
    ) -> None:
        while True:
            match await session.next_event():
                case Command() as command:
                    group.create_task(
                        self._obey(session, command), name=f"uplink.command.{command.name}"
                    )
                case QueuedCommand(name, body):
                    group.create_task(
                        self._handlers.queued(name, body), name=f"uplink.queued.{name}"
                    )
                case DesiredPatch(patch):
                    twin_changes.put_nowait(patch)

    async def _obey(self, session: AzureSession, command: Command) -> None:
        status, payload = await self._handlers.command(command.name, command.payload)
        await session.answer(command, status, payload)

    async def _follow_twin(
        self, session: AzureSession, changes: "asyncio.Queue[dict[str, Any]]"
    ) -> None:
        # What changed while this device was away is in the twin and nowhere else.
        twin = await self._unless_throttled(session.twin)
        await self._handlers.twin(twin)
        while True:
            await self._handlers.desired(await changes.get())

    async def _report(self, session: AzureSession) -> None:
        while True:
            await self._to_report.wait()
            self._to_report.clear()
            patch = dict(self._unreported)
            if patch:
                await self._unless_throttled(partial(session.report, patch))
            for name, value in patch.items():
                # A newer value that came meanwhile waits for the next round.
                if self._unreported.get(name) is value:
                    del self._unreported[name]
            if not self._unreported:
                self._nothing_to_report.set()

    async def _unless_throttled(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask until the hub does not refuse: it does so when asked too often."""
        refusals = 0
        while True:
            try:
                return await ask()
            except ServiceRefusedError as error:
                log.log(logging.DEBUG if refusals else logging.WARNING, "%s", error)
                refusals += 1
                await self._sleep((0.5 + self._jitter()) * min(60.0, 2.0**refusals))

    async def _watch_backlog(self) -> None:
        while True:
            await self._sleep(BACKLOG_INTERVAL)
            if self._outbox.waiting != self._backlog_reported:
                self._report_backlog()

    def _report_backlog(self) -> None:
        self._backlog_reported = self._outbox.waiting
        self.report({"backlog": self._backlog_reported})

    async def _send_readings(self, session: AzureSession) -> None:
        lanes = _Lanes(self._outbox, boundary=self._outbox.newest)
        window = asyncio.Semaphore(WINDOW)
        async with self._forgetting() as acknowledged, asyncio.TaskGroup() as group:
            while True:
                await window.acquire()
                self._to_send.clear()
                entry = await lanes.next()
                if entry is None:
                    window.release()
                    await self._to_send.wait()
                    continue
                group.create_task(
                    self._send(session, entry, window, acknowledged),
                    name=f"uplink.send.{entry.sequence}",
                )
                await self._sleep(self._spacing)

    async def _send(
        self,
        session: AzureSession,
        entry: Entry,
        window: asyncio.Semaphore,
        acknowledged: Callable[[Entry], None],
    ) -> None:
        await session.send(self._compose(entry))
        acknowledged(entry)
        window.release()

    @asynccontextmanager
    async def _forgetting(self) -> AsyncIterator[Callable[[Entry], None]]:
        """Remove acknowledged readings from the outbox, several at a time; all of them at last."""
        done: list[Entry] = []
        news = asyncio.Event()

        def acknowledged(entry: Entry) -> None:
            done.append(entry)
            news.set()

        async def remove() -> None:
            batch = done.copy()
            done.clear()
            await self._outbox.remove(batch)
            if self._outbox.waiting == 0 and self._backlog_reported:
                self._report_backlog()

        async def remove_in_batches() -> None:
            while True:
                await news.wait()
                news.clear()
                await self._sleep(REMOVAL_DELAY)
                await remove()

        remover = asyncio.create_task(remove_in_batches(), name="uplink.forget")
        try:
            yield acknowledged
        finally:
            remover.cancel()
            await asyncio.wait({remover})
            await remove()


class _Lanes:
    """What to send next: the oldest live reading, else the oldest of the backlog."""

    def __init__(self, outbox: Outbox, *, boundary: Position) -> None:
        self._outbox = outbox
        self._boundary = boundary
        self._live_cursor = boundary
        self._backlog_cursor = START
        self._live: deque[Entry] = deque()
        self._backlog: deque[Entry] = deque()

    async def next(self) -> Entry | None:
        if not self._live:
            self._live.extend(await self._outbox.after(self._live_cursor, limit=PAGE))
        if self._live:
            entry = self._live.popleft()
            self._live_cursor = entry.position
            return entry
        if not self._backlog and self._backlog_cursor < self._boundary:
            page = await self._outbox.after(self._backlog_cursor, limit=PAGE)
            self._backlog.extend(entry for entry in page if entry.position <= self._boundary)
            if not self._backlog:
                self._backlog_cursor = self._boundary
        if self._backlog:
            entry = self._backlog.popleft()
            self._backlog_cursor = entry.position
            return entry
        return None


def _first(group: BaseExceptionGroup[AgentError]) -> AgentError:
    """Return the first plain error in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, AgentError)  # noqa: S101 - the except* clauses let in nothing else.
    return error
