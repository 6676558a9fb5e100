"""Keeps one session with the hub alive, and everything flowing over it.

What is reported, and what commands resulted in, and could not be sent, waits for the next
connection: the latest of each.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from math import inf
from typing import Any

from agent.cloud.connection_health import ConnectionHealth
from agent.cloud.message import Message
from agent.cloud.publisher import send_readings
from agent.cloud.registration_memory import RegistrationMemory
from agent.cloud.sdk import Assignment
from agent.cloud.session import AzureSession, Command, DesiredPatch, Event, QueuedCommand
from agent.errors import AgentError, CloudError, SdkStuckError, ServiceRefusedError
from agent.logs.events import LogEvent
from agent.readings.outbox import Entry, Outbox
from agent.status import CloudPart

log = logging.getLogger(__name__)

LONGEST_DELAY = 300.0  # Seconds between two attempts to connect, at most.
STUCK_BEFORE_GIVING_UP = 2
STEADY = 60.0  # Seconds a session must last to count as one that works.
BACKLOG_INTERVAL = 60.0  # Seconds between two reports of the backlog, except that it is gone.
RESULT_LIFETIME = 30.0  # Seconds that whoever called a command waits for its result.


@dataclass(frozen=True, kw_only=True, slots=True)
class Handlers:
    """What the uplink hands on; each is awaited, and answers for its own failures.

    `command` returns status and payload. `twin` is given the whole twin after each connect,
    `desired` each change after that. `snapshot` returns all that is to be reported on connecting.
    `in_background` runs a command, which may outlive the connection that it came by.
    """

    command: Callable[[str, Any], Awaitable[tuple[int, Any]]]
    queued: Callable[[str, bytes], Coroutine[Any, Any, None]]
    twin: Callable[[dict[str, Any]], Awaitable[None]]
    desired: Callable[[dict[str, Any]], Awaitable[None]]
    snapshot: Callable[[], Mapping[str, Any]]
    in_background: Callable[[Coroutine[Any, Any, None], str], object]


@dataclass(frozen=True, slots=True)
class Result:
    """What a command resulted in, and until when (uptime, seconds) somebody waits for it."""

    command: Command
    status: int
    payload: Any
    until: float


class Uplink:
    """One device's way to its hub. `run` it for ever; everything else may be called meanwhile.

    `connect` opens a session with a hub, and hands on what that leaves over; `register` asks which
    hub it is; the last answer is kept in `memory`, so that a restart needs no registration.
    `on_change` is called when `hub` may have changed, and when readings have left the outbox.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        handlers: Handlers,
        compose: Callable[[Entry], Message],
        connect: Callable[
            [Assignment, Callable[[Event], None]], AbstractAsyncContextManager[AzureSession]
        ],
        register: Callable[[], Awaitable[Assignment]],
        memory: RegistrationMemory,
        health: ConnectionHealth,
        on_change: Callable[[], None],
        max_rate: float,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        first_delay: float = 0.0,
    ) -> None:
        self.attempts = 0
        self.connections = 0
        self._outbox = outbox
        self._handlers = handlers
        self._compose = compose
        self._connect = connect
        self._register = register
        self._memory = memory
        self._health = health
        self._on_change = on_change
        self._spacing = 1 / max_rate
        self._now = now
        self._sleep = sleep
        self._jitter = jitter
        self._first_delay = first_delay
        self._session: AzureSession | None = None
        self._unreported: dict[str, Any] = {}
        self._to_report = asyncio.Event()
        self._nothing_to_report = asyncio.Event()
        self._added = asyncio.Event()
        self._results: dict[str, Result] = {}
        self._to_answer = asyncio.Event()
        self._failures = 0
        self._connected_at = inf  # Uptime, seconds; inf where an attempt led to no connection.
        self._try_hub_next = False
        self._backlog_reported = 0

    @property
    def hub(self) -> str | None:
        """The hub this device is connected to now; None when it is not."""
        return None if self._session is None else self._session.hub

    def status(self) -> CloudPart:
        """Return the session's part of the status."""
        return CloudPart(
            hub=self.hub,
            attempts=self.attempts,
            connections=self.connections,
            error=self.last_error,
        )

    @property
    def last_error(self) -> str | None:
        """What is wrong with the connection, or was until a minute ago; None if nothing is."""
        return self._health.last_error

    def report(self, patch: Mapping[str, Any]) -> None:
        """Report properties now, or as soon as there is a connection."""
        self._unreported.update(patch)
        self._nothing_to_report.clear()
        self._to_report.set()

    def reading_added(self) -> None:
        """Say that the outbox has something new."""
        self._added.set()

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
            self._connected_at = inf
            failure: AgentError | None = None
            try:
                await _on_its_own(self._serve_once())
            except* CloudError as group:
                failure = _first(group)
            if failure is not None:
                self._health.failed(failure)
                # A hub that takes us in and drops us at once is no better than one that is away;
                # nor is one that took long to say nothing.
                steady = self._now() - self._connected_at >= STEADY
                self._failures = 1 if steady else self._failures + 1
            stuck = stuck + 1 if isinstance(failure, SdkStuckError) else 0
            if failure is not None and stuck >= STUCK_BEFORE_GIVING_UP:
                raise failure
            # Full jitter: a site that comes back must not arrive all at once.
            delay = self._jitter() * min(LONGEST_DELAY, 2.0 ** min(self._failures, 20))
            log.debug("Connecting again in %.1f s.", delay)
            await self._sleep(delay)

    async def _serve_once(self) -> None:
        self.attempts += 1
        assignment = await self._memory.recall()
        if assignment is None or (self._health.should_register and not self._try_hub_next):
            # Should the provisioning service be what fails, the known hub is tried next.
            self._try_hub_next = True
            log.debug("Asking the provisioning service for this device's hub.")
            assignment = await self._register()
            await self._memory.remember(assignment)
            self._health.registered()
        self._try_hub_next = False
        try:
            async with self._connect(assignment, self._take) as session:
                self._session = session
                self._connected_at = self._now()
                self.connections += 1
                self._health.connected(session.hub, session.device_id)
                self._on_change()
                await self._serve(session)
        finally:
            self._session = None
            self._on_change()

    async def _serve(self, session: AzureSession) -> None:
        self.report(self._handlers.snapshot())
        self._report_backlog()
        twin_changes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            for name, work in {
                "ended": session.ended(),
                "events": self._take_events(session, twin_changes),
                "twin": self._follow_twin(session, twin_changes),
                "answers": self._answer(session, group),
                "report": self._report(session),
                "readings": send_readings(
                    self._outbox,
                    lambda entry: session.send(self._compose(entry)),
                    added=self._added,
                    spacing=self._spacing,
                    on_removed=self._removed,
                    now=self._now,
                    sleep=self._sleep,
                ),
                "backlog": self._watch_backlog(),
                "steady": self._become_steady(),
            }.items():
                group.create_task(work, name=f"uplink.{name}")

    async def _become_steady(self) -> None:
        await self._sleep(STEADY)
        self._health.lasted()

    # Commands: what comes in, and the way back.

    async def _take_events(
        self, session: AzureSession, twin_changes: "asyncio.Queue[dict[str, Any]]"
    ) -> None:
        while True:
            event = await session.next_event()
            if isinstance(event, DesiredPatch):
                twin_changes.put_nowait(event.patch)
            else:
                self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case Command() as command:
                self._handlers.in_background(self._obey(command), f"uplink.command.{command.name}")
            case QueuedCommand(name, body):
                self._handlers.in_background(
                    self._handlers.queued(name, body), f"uplink.queued.{name}"
                )
            case DesiredPatch():
                pass  # The next connection begins with the whole twin.

    async def _obey(self, command: Command) -> None:
        until = self._now() + RESULT_LIFETIME
        status, payload = await self._handlers.command(command.name, command.payload)
        self._results[command.request_id] = Result(command, status, payload, until)
        self._to_answer.set()

    async def _answer(self, session: AzureSession, group: asyncio.TaskGroup) -> None:
        """Send the results of commands, also of those that came by an earlier connection."""
        under_way: set[str] = set()

        async def one(result: Result) -> None:
            await session.answer(result.command, result.status, result.payload)
            self._results.pop(result.command.request_id, None)
            under_way.discard(result.command.request_id)

        while True:
            self._to_answer.clear()
            for request_id, result in list(self._results.items()):
                if result.until < self._now():
                    log.info(
                        "Nobody waits for the result of %s any more.",
                        result.command.name,
                        extra=LogEvent.COMMAND_RESULT_LATE.about(COMMAND=result.command.name),
                    )
                    del self._results[request_id]
                elif request_id not in under_way:
                    under_way.add(request_id)
                    group.create_task(one(result), name=f"uplink.answer.{result.command.name}")
            await self._to_answer.wait()

    # The twin, both ways.

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
                await self._report_patch(session, patch)
            for name, value in patch.items():
                # A newer value that came meanwhile waits for the next round.
                if self._unreported.get(name) is value:
                    del self._unreported[name]
            if not self._unreported:
                self._nothing_to_report.set()

    async def _report_patch(self, session: AzureSession, patch: Mapping[str, Any]) -> None:
        """Report properties; one that the hub will never take is left out, and told."""

        async def ask() -> ServiceRefusedError | None:
            try:
                await session.report(dict(patch))
            except ServiceRefusedError as error:
                if error.for_good:
                    return error
                raise
            return None

        refusal = await self._unless_throttled(ask)
        if refusal is None:
            return
        if len(patch) > 1:  # The others must not wait behind the one that is to blame.
            for name, value in patch.items():
                await self._report_patch(session, {name: value})
            return
        log.warning(
            "%s It was: %s. It is not reported again until it changes.",
            refusal,
            ", ".join(patch),
            extra=LogEvent.REPORT_REFUSED.about(HUB=self.hub, PROPERTY=", ".join(patch)),
        )

    async def _unless_throttled(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask until the hub does not refuse: it does so when asked too often."""
        refusals = 0
        while True:
            try:
                return await ask()
            except ServiceRefusedError as error:
                log.log(
                    logging.DEBUG if refusals else logging.WARNING,
                    "%s",
                    error,
                    extra=LogEvent.HUB_THROTTLED.about(HUB=self.hub),
                )
                refusals += 1
                await self._sleep((0.5 + self._jitter()) * min(60.0, 2.0**refusals))

    # The backlog.

    async def _watch_backlog(self) -> None:
        while True:
            await self._sleep(BACKLOG_INTERVAL)
            if self._outbox.waiting != self._backlog_reported:
                self._report_backlog()

    def _removed(self) -> None:
        self._on_change()
        if self._outbox.waiting == 0 and self._backlog_reported:
            self._report_backlog()

    def _report_backlog(self) -> None:
        self._backlog_reported = self._outbox.waiting
        self.report({"backlog": self._backlog_reported})


async def _on_its_own(connection: Coroutine[Any, Any, None]) -> None:
    """Await a connection's work in a task that nothing but this cancels.

    A TaskGroup before Python 3.13 swallows being cancelled while its tasks fail: whoever stopped
    the uplink just when a connection was lost would stop that connection only.
    """
    task = asyncio.create_task(connection, name="uplink.connection")
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # Told to nobody: what ends is being stopped.
        raise
    task.result()


def _first(group: BaseExceptionGroup[AgentError]) -> AgentError:
    """Return the first plain error in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, AgentError)  # noqa: S101 - the except* clauses let in nothing else.
    return error
