"""What goes wrong between this device and its hub: told once, and what to make of it.

Of each kind of failure the first is a warning and the rest is not; that it is over is one line.
"""

import logging
from collections import deque
from collections.abc import Callable

from agent.errors import (
    AgentError,
    CloudError,
    HubClosedError,
    NoAnswerError,
    RefusedError,
    RegistrationError,
    SdkStuckError,
    ServiceRefusedError,
    SessionLostError,
    TakenOverError,
    UnreachableError,
)
from agent.logs.events import LogEvent

log = logging.getLogger(__name__)

REFUSALS_BEFORE_REGISTERING = 2  # The key may be right and the hub no longer ours.
FAILING_BEFORE_REGISTERING = 300.0  # Seconds; the service may have moved the device.
CLOSED_IN_A_ROW = 3  # Connections that the hub closed, until another device is suspected.
CLOSED_WITHIN = 600.0  # Seconds

EVENTS: dict[type[AgentError], LogEvent] = {
    UnreachableError: LogEvent.HUB_UNREACHABLE,
    NoAnswerError: LogEvent.HUB_SILENT,
    RefusedError: LogEvent.HUB_REFUSED,
    RegistrationError: LogEvent.REGISTRATION_REFUSED,
    ServiceRefusedError: LogEvent.HUB_THROTTLED,
    SessionLostError: LogEvent.CONNECTION_LOST,
    TakenOverError: LogEvent.TAKEN_OVER,
    SdkStuckError: LogEvent.SDK_STUCK,
}


class Troubles:
    """The uplink's failures. `now` is a clock in seconds.

    `doubt` says what is wrong with this machine's time of day, or None.
    """

    def __init__(self, *, now: Callable[[], float], doubt: Callable[[], str | None]) -> None:
        self.last: str | None = None
        self._now = now
        self._doubt = doubt
        self._told: set[type[AgentError]] = set()
        self._welcomed = False  # A connection was told that has not lasted yet.
        self._unsaid = False  # One more was not.
        self._failing_since: float | None = None
        self._refusals = 0
        self._closed: deque[float] = deque(maxlen=CLOSED_IN_A_ROW)
        self._names = "", ""

    @property
    def hub_may_be_another(self) -> bool:
        """Whether the provisioning service should be asked again."""
        return self._refusals >= REFUSALS_BEFORE_REGISTERING or (
            self._failing_since is not None
            and self._now() - self._failing_since >= FAILING_BEFORE_REGISTERING
        )

    def registered(self) -> None:
        """Hear that the provisioning service has said which hub it is."""
        self._refusals = 0
        self._failing_since = None

    def connected(self, hub: str, device_id: str) -> None:
        """Hear of a connection; whether it lasts is another question."""
        self._names = hub, device_id
        self._refusals = 0
        again = "Connected again" if self._told else "Connected"
        level = logging.DEBUG if self._welcomed else logging.INFO
        log.log(
            level, "%s to %s as %s.", again, hub, device_id, extra=LogEvent.CONNECTED.about(HUB=hub)
        )
        self._unsaid = self._welcomed
        self._welcomed = True

    def over(self) -> None:
        """Hear that the connection has lasted."""
        if self._unsaid:
            log.info(
                "The connection to %s holds again.",
                self._names[0],
                extra=LogEvent.CONNECTED.about(HUB=self._names[0]),
            )
        self.last = None
        self._told.clear()
        self._welcomed = self._unsaid = False
        self._failing_since = None

    def failed(self, error: AgentError) -> None:
        """Hear of a failure, and tell of it."""
        error = self._understood(error)
        sentence = str(error)
        if isinstance(error, CloudError) and error.depends_on_clock:
            doubt = self._doubt()
            sentence = sentence if doubt is None else f"{sentence} {doubt}"
        level = logging.DEBUG if type(error) in self._told else logging.WARNING
        event = next(EVENTS[kind] for kind in type(error).__mro__ if kind in EVENTS)
        log.log(level, "%s", sentence, extra=event.about(HUB=self._names[0] or None))
        self._told.add(type(error))
        self.last = sentence
        self._refusals = self._refusals + 1 if isinstance(error, RefusedError) else 0
        if self._failing_since is None:
            self._failing_since = self._now()

    def _understood(self, error: AgentError) -> AgentError:
        """Recognise the other device behind connections that the hub closes one after another."""
        if not isinstance(error, HubClosedError):
            return error
        self._closed.append(self._now())
        if len(self._closed) < CLOSED_IN_A_ROW or self._now() - self._closed[0] > CLOSED_WITHIN:
            return error
        return TakenOverError(*self._names, times=CLOSED_IN_A_ROW, minutes=CLOSED_WITHIN / 60)
