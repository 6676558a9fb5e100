"""Keeps this device connected to its hub, and sends and receives everything over the connection.

Reports and results of commands that could not be sent wait for the next connection.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from math import inf
from typing import Any, Protocol

from agent.cloud.connection_health import ConnectionHealth, event_of
from agent.cloud.hub import AzureHub
from agent.cloud.move import Moves
from agent.cloud.publisher import publish_readings
from agent.cloud.session import (
    AzureSession,
    Command,
    DesiredPatch,
    Event,
    QueuedCommand,
    Unreadable,
)
from agent.config.loader import Config
from agent.device import commands, properties
from agent.device.limits import Values, configured
from agent.errors import (
    AgentError,
    CloudError,
    EndedHereError,
    SdkStuckError,
    ServiceRefusedError,
    quote,
)
from agent.logs.complaints import Complaints
from agent.logs.events import LogEvent
from agent.readings.clock import Clock, Stamp
from agent.readings.outbox import Outbox
from agent.status import CloudPart, PlacePart, Status
from agent.storage.assignment import Assignment, StoredAssignment
from hw import Reading

log = logging.getLogger(__name__)

LONGEST_DELAY = 300.0  # Seconds between two attempts to connect.
MAX_STUCK = 2  # Failures of the SDK in a row that end the process.
LASTS_AFTER = 60.0  # Seconds after which a connection counts as one that lasts.
BACKLOG_INTERVAL = 60.0  # Seconds between two reports of a backlog that is not empty.
MAX_COMMANDS = 100  # Commands that execute at once or whose results wait.
MAX_CHANGES = 1000  # Changes of desired properties that wait.
ANSWERED_WITHIN = 10.0  # Seconds that a move waits for answers and reports that are on their way.
RESULT_LIFETIME = 30.0  # Seconds that the caller of a command waits for its result.


class Daemon(commands.Daemon, properties.Daemon, Protocol):
    """What the cloud needs of the daemon. Set `status_changed` when its status may have changed."""

    @property
    def clock(self) -> Clock: ...

    @property
    def status_changed(self) -> asyncio.Event: ...

    def snapshot(self) -> Mapping[str, Any]:
        """Return the properties to report after connecting."""
        ...


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a command. Its caller waits until `until` (uptime, seconds)."""

    command: Command
    status: int
    payload: Any
    until: float


class _MovedError(Exception):
    """The device leaves this hub for another one."""


class Uplink:
    """The sink with a cloud: keeps readings in `outbox`, and sends them to the hub while it runs.

    `unit` is "celsius" or "fahrenheit"; `max_rate` limits the readings sent in a second. The first
    attempt to connect waits a random part of `first_delay` seconds.
    """

    def __init__(
        self,
        daemon: Daemon,
        *,
        outbox: Outbox,
        hub: AzureHub,
        moves: Moves,
        assignments: Callable[[str | None], StoredAssignment],
        commands: commands.Commands,
        properties: properties.Properties,
        settings: properties.Settings,
        unit: str,
        max_rate: float,
        first_delay: float = 0.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.attempts = 0
        self.connections = 0
        self._daemon = daemon
        self._clock = daemon.clock
        self._outbox = outbox
        self._hub = hub
        self._moves = moves
        self._assignments = assignments
        self._id_scope = moves.id_scope
        self._assignment = assignments(self._id_scope)
        self._commands = commands
        self._properties = properties
        self._settings = settings
        self._unit = unit
        self._max_rate = max_rate
        self._first_delay = first_delay
        self._next_attempt: float | None = None  # Uptime, seconds; None while connecting.
        self._sleep = sleep
        self._jitter = jitter
        self._health = ConnectionHealth(daemon.clock, hub.cloud)
        self._complaints = Complaints()
        self._last_assignment: Assignment | None = None
        self._session: AzureSession | None = None
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._unreported: dict[str, Any] = {}
        self._to_report = asyncio.Event()
        self._all_reported = asyncio.Event()
        self._executing = 0  # Commands.
        self._results: dict[str, Result] = {}
        self._has_results = asyncio.Event()
        self._failures = 0
        self._connected_at = inf  # Uptime, seconds; inf without a connection.
        self._used: AzureSession | None = None  # By the last attempt, if it connected.
        self._try_hub_next = False
        self._backlog_reported = 0

    @property
    def set_by_operator(self) -> Mapping[str, Any]:
        """The writable properties that the operator has set."""
        return self._properties.set_by_operator

    @property
    def limits_by_operator(self) -> Values:
        """The limits that the operator has set, in degrees Celsius and percent."""
        return self._properties.limits_by_operator

    @property
    def waiting(self) -> int:
        """Number of readings in the outbox."""
        return self._outbox.waiting

    @property
    def hub(self) -> str | None:
        """The hub of the current connection, if any."""
        return None if self._session is None else self._session.hub

    async def add(self, reading: Reading, taken: Stamp) -> None:
        """Keep a reading until the hub has acknowledged it."""
        await self._outbox.add(reading, taken)
        self._daemon.status_changed.set()

    def apply(self, config: Config) -> None:
        """Take over the settings that apply while the daemon runs."""
        assert config.cloud is not None  # noqa: S101 - that would need a restart.
        self._max_rate = config.cloud.max_rate
        self._health.cloud = config.cloud
        self._moves.allowed = config.cloud.allow_move
        self._outbox.set_limits(
            max_age_days=config.outbox.max_age_days, max_megabytes=config.outbox.max_megabytes
        )
        self._properties.set_defaults(properties.defaults(config.sensor.interval))
        self._properties.set_file_limits(configured(config.limits))

    def report(self, patch: Mapping[str, Any]) -> None:
        """Report properties, now or after connecting. Of each, only the last value is kept."""
        self._unreported.update(patch)
        self._all_reported.clear()
        self._to_report.set()
        self._daemon.status_changed.set()

    async def keep(self, name: str, value: Any) -> None:
        """Keep a value over a restart. None deletes it."""
        await self._settings.put(name, value)

    async def kept(self, name: str) -> Any:
        """Return the value that was kept under this name, or None."""
        return await self._settings.get(name)

    def cloud_status(self) -> CloudPart:
        """Return the status of the connection."""
        assigned = self._last_assignment
        return CloudPart(
            hub=self.hub,
            attempts=self.attempts,
            connections=self.connections,
            error=self._health.last_error,
            next_attempt=self._seconds_to_next_attempt(),
            place=self._moves.describe(None if assigned is None else assigned.hub),
        )

    def _seconds_to_next_attempt(self) -> float | None:
        if self._next_attempt is None:
            return None
        return round(max(0.0, self._next_attempt - self._clock.uptime()), 1)

    async def describe(self, status: Status) -> Status:
        """Return `status` with the parts about connection, properties and outbox."""
        return replace(
            status,
            cloud=self.cloud_status(),
            properties=self._properties.values,
            outbox=await self._outbox.status(status.sensor.interval),
        )

    async def last_hub(self) -> str | None:
        """Return the hub that this device was last assigned to, if any."""
        assignment = await self._assignment.load()
        return None if assignment is None else assignment.hub

    async def undo_move(self) -> PlacePart:
        """Undo the last move to another ID scope. Raises ControlError if there is none."""
        return await self._moves.undo()

    async def farewell(self, patch: Mapping[str, Any]) -> None:
        """Report the last properties of a daemon that stops, and wait for the hub.

        Returns at once without a connection. Has no deadline of its own.
        """
        if self._session is None:
            return
        # Not directly: an earlier report must not arrive after this one.
        self.report(patch)
        await self._all_reported.wait()

    async def run(self) -> None:
        """Connect, and reconnect after each failure, until cancelled.

        Raises SdkStuckError when only a restart of the process can help.
        """
        await self._pause(self._jitter() * self._first_delay)
        stuck = 0
        while True:
            self._connected_at, self._used = inf, None
            failure: AgentError | None = None
            try:
                await _in_own_task(self._serve_once())
            except* CloudError as group:
                failure = _first(group)
            except* _MovedError:
                self._failures = 0
            if failure is not None:
                traffic = None if self._used is None else self._used.traffic
                self._health.failed(failure, traffic)
                # Only a connection that lasted shortens the delay, not a long attempt or a
                # connection that was closed at once.
                lasted = self._clock.uptime() - self._connected_at >= LASTS_AFTER
                self._failures = 1 if lasted else self._failures + 1
                if isinstance(failure, CloudError):
                    await self._moves.failed(self._id_scope, failure)
            stuck = stuck + 1 if isinstance(failure, SdkStuckError) else 0
            if failure is not None and stuck >= MAX_STUCK:
                raise failure
            # Full jitter: the devices of a site must not connect all at once.
            delay = self._jitter() * min(LONGEST_DELAY, 2.0 ** min(self._failures, 20))
            log.debug("Reconnecting in %.1f s.", delay)
            await self._pause(delay)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt; not if the device was moved meanwhile."""
        self._next_attempt = self._clock.uptime() + seconds
        waits = [
            asyncio.create_task(self._moves.changed.wait(), name="uplink.moved"),
            asyncio.ensure_future(self._sleep(seconds)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._next_attempt = None
            for wait in waits:
                wait.cancel()

    def _choose_place(self) -> None:
        """Forget what is known of the place before if a move has changed it."""
        self._moves.changed.clear()
        if self._moves.id_scope == self._id_scope:
            return
        self._id_scope = self._moves.id_scope
        self._assignment = self._assignments(self._id_scope)
        self._last_assignment = None
        self._try_hub_next = False
        self._health.registered()
        self._results.clear()  # Only the hub before waits for these.

    async def _serve_once(self) -> None:
        self.attempts += 1
        self._choose_place()
        assignment = self._last_assignment or await self._assignment.load()
        if assignment is None or (self._health.should_register and not self._try_hub_next):
            if assignment is not None and self._health.is_refused:
                await self._assignment.forget(assignment)
            # If the registration fails, the known hub is tried next.
            self._try_hub_next = True
            known = assignment is not None
            assignment = await self._hub.register(self._id_scope, known=known)
            self._health.registered()
        self._try_hub_next = False
        self._last_assignment = assignment
        try:
            async with self._hub.connect(assignment, self._events) as session:
                self._session = self._used = session
                self._connected_at = self._clock.uptime()
                self.connections += 1
                self._health.connected(session.hub, session.device_id)
                self._moves.connected(session.hub)
                self._daemon.status_changed.set()
                if await self._is_home(session):
                    await self._assignment.save(assignment)
                    await self._serve(session)
        finally:
            self._session = None
            # The hub does not send commands again. A daemon that stops executes no more of them.
            stopping = _is_cancelled()
            while not self._events.empty():
                event = self._events.get_nowait()
                if not stopping:
                    self._handle(event)
            self._daemon.status_changed.set()

    async def _is_home(self, session: AzureSession) -> bool:
        """Return whether to stay with this hub. A move is complete when its twin could be read."""
        if self._moves.is_moving:
            await session.twin()
            await self._moves.worked(self._id_scope)
            self._failures = 0
        return self._moves.id_scope == self._id_scope

    async def _serve(self, session: AzureSession) -> None:
        self.report({**self._daemon.snapshot(), "moveStatus": self._moves.status})
        self._report_backlog()
        self._complaints.forget("commands")
        twin_changes: asyncio.Queue[Any] = asyncio.Queue(MAX_CHANGES)
        async with asyncio.TaskGroup() as group:
            for name, work in {
                "ended": session.ended(),
                "events": self._handle_events(twin_changes),
                "twin": self._follow_twin(session, twin_changes),
                "results": self._send_results(session, group),
                "report": self._report(session),
                "readings": publish_readings(
                    self._outbox,
                    session,
                    unit=self._unit,
                    max_rate=lambda: self._max_rate,
                    clock=self._clock,
                    sleep=self._sleep,
                    removed=self._reading_removed,
                ),
                "backlog": self._watch_backlog(),
                "lasting": self._wait_until_lasting(),
                "move": self._leave_when_moved(),
            }.items():
                group.create_task(work, name=f"uplink.{name}")

    async def _leave_when_moved(self) -> None:
        """End this session in order, after the answer to the command, when the device is moved."""
        while self._moves.id_scope == self._id_scope:
            await self._moves.changed.wait()
            self._moves.changed.clear()
        until = self._clock.uptime() + ANSWERED_WITHIN
        while (self._executing or self._results) and self._clock.uptime() < until:
            await self._sleep(0.05)
        self.report({"state": False, "moveStatus": self._moves.status})
        while not self._all_reported.is_set() and self._clock.uptime() < until:
            await self._sleep(0.05)
        raise _MovedError

    async def _wait_until_lasting(self) -> None:
        await self._sleep(LASTS_AFTER)
        self._health.lasted()

    # Commands and their results.

    async def _handle_events(self, twin_changes: asyncio.Queue[Any]) -> None:
        while True:
            event = await self._events.get()
            if isinstance(event, DesiredPatch):
                if twin_changes.full():
                    # The next connection begins with the whole twin, so nothing is missed.
                    raise EndedHereError(
                        f"The connection to {self.hub} is closed: {MAX_CHANGES} changes of desired "
                        "properties are waiting. Most likely a program writes them faster than "
                        "this device applies them: stop that program."
                    )
                twin_changes.put_nowait(event.patch)
            else:
                self._handle(event)

    def _handle(self, event: Event) -> None:
        match event:
            case Command() | QueuedCommand():
                if self._executing + len(self._results) >= MAX_COMMANDS:
                    self._refuse(event)
                else:
                    self._executing += 1
                    self._daemon.start_task(self._execute(event), f"uplink.command.{event.name}")
            case DesiredPatch():
                pass  # The next connection begins with the whole twin.
            case Unreadable(reason):
                log.log(
                    self._complaints.level("unreadable", reason),
                    "Ignored something that the hub sent: %s.",
                    reason,
                    extra=LogEvent.MESSAGE_IGNORED.about(),
                )

    async def _execute(self, command: Command | QueuedCommand) -> None:
        until = self._clock.uptime() + RESULT_LIFETIME
        try:
            match command:
                case Command(_, name, payload):
                    status, answer = await self._commands.execute(name, payload)
                    self._add_result(Result(command, status, answer, until))
                case QueuedCommand(name, body):
                    await self._commands.execute_queued(name, body)
        finally:
            self._executing -= 1

    def _refuse(self, command: Command | QueuedCommand) -> None:
        """Answer 429 to a command beyond MAX_COMMANDS. Of these answers, as many may wait."""
        status = HTTPStatus.TOO_MANY_REQUESTS
        log.log(
            self._complaints.level("commands", "too many"),
            "Refused command %s: %d commands are in progress.",
            quote(command.name),
            MAX_COMMANDS,
            extra=LogEvent.COMMAND_REFUSED.about(COMMAND=command.name, STATUS=status),
        )
        if isinstance(command, Command) and len(self._results) < 2 * MAX_COMMANDS:
            answer = {"error": f"{MAX_COMMANDS} commands are in progress. Try again later."}
            until = self._clock.uptime() + RESULT_LIFETIME
            self._add_result(Result(command, status, answer, until))

    def _add_result(self, result: Result) -> None:
        self._results[result.command.request_id] = result
        self._has_results.set()

    async def _send_results(self, session: AzureSession, group: asyncio.TaskGroup) -> None:
        """Send the results of commands, including those of earlier connections."""
        sending: set[str] = set()

        async def send(result: Result) -> None:
            await session.answer(result.command, result.status, result.payload)
            self._results.pop(result.command.request_id, None)
            sending.discard(result.command.request_id)

        while True:
            self._has_results.clear()
            for request_id, result in list(self._results.items()):
                if result.until < self._clock.uptime():
                    log.info(
                        "Discarded the result of %s: its caller no longer waits.",
                        result.command.name,
                        extra=LogEvent.COMMAND_RESULT_LATE.about(COMMAND=result.command.name),
                    )
                    del self._results[request_id]
                elif request_id not in sending:
                    sending.add(request_id)
                    group.create_task(send(result), name=f"uplink.answer.{result.command.name}")
            await self._has_results.wait()

    # Desired and reported properties.

    async def _follow_twin(self, session: AzureSession, changes: asyncio.Queue[Any]) -> None:
        # The hub does not send changes that happened without a connection; the twin has them.
        await self._properties.apply_twin(await self._unless_throttled(session.twin))
        while True:
            await self._properties.apply_patch(await changes.get())

    async def _report(self, session: AzureSession) -> None:
        while True:
            await self._to_report.wait()
            self._to_report.clear()
            patch = dict(self._unreported)
            if patch:
                await self._report_patch(session, patch)
            for name, value in patch.items():
                # A newer value waits for the next round.
                if self._unreported.get(name) is value:
                    del self._unreported[name]
            if not self._unreported:
                self._all_reported.set()

    async def _report_patch(self, session: AzureSession, patch: Mapping[str, Any]) -> None:
        """Report properties. Skip one that the hub refuses for good, and log each reason once."""

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
            for name in patch:
                self._complaints.forget(_report_of(name))
            return
        if len(patch) > 1:  # Find the one that is refused, and report the others.
            for name, value in patch.items():
                await self._report_patch(session, {name: value})
            return
        [name] = patch
        log.log(
            self._complaints.level(_report_of(name), str(refusal)),
            "Cannot report %s: %s It is reported again when it changes or the daemon reconnects.",
            name,
            refusal,
            extra=LogEvent.REPORT_REFUSED.about(HUB=self.hub, PROPERTY=name),
        )

    async def _unless_throttled(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Repeat a request while the hub refuses it, as it does after too many requests."""
        refusals = 0
        while True:
            try:
                answer = await ask()
            except ServiceRefusedError as error:
                level = self._complaints.level("throttled", str(error))
                event = event_of(error)
                log.log(level, "%s", error, extra=event.about(HUB=self.hub))
                refusals += 1
                await self._sleep((0.5 + self._jitter()) * min(60.0, 2.0**refusals))
            else:
                if not refusals:
                    self._complaints.forget("throttled")
                return answer

    # The backlog.

    async def _watch_backlog(self) -> None:
        while True:
            await self._sleep(BACKLOG_INTERVAL)
            if self._outbox.waiting != self._backlog_reported:
                self._report_backlog()

    def _reading_removed(self) -> None:
        self._daemon.status_changed.set()
        if self._outbox.waiting == 0 and self._backlog_reported:
            self._report_backlog()

    def _report_backlog(self) -> None:
        self._backlog_reported = self._outbox.waiting
        self.report({"backlog": self._backlog_reported})


async def _in_own_task(connection: Coroutine[Any, Any, None]) -> None:
    """Await a connection in a task of its own.

    Before Python 3.13 a TaskGroup swallows a cancellation that arrives while its tasks fail. If the
    daemon stopped just when a connection was lost, the uplink would go on.
    """
    task = asyncio.create_task(connection, name="uplink.connection")
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # asyncio logs exceptions that are never retrieved.
        raise
    task.result()


def _report_of(name: str) -> str:
    return f"report of {name}"


def _is_cancelled() -> bool:
    """Return whether the current task is being cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _first(group: BaseExceptionGroup[AgentError]) -> AgentError:
    """Return the first plain error in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, AgentError)  # noqa: S101 - except* catches nothing else.
    return error
