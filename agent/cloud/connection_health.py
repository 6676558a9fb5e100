"""Failures of the connection to the hub: how they are logged, and when to register again.

Each failure is logged as a warning once, repeats at debug level. A connection that lasts ends this,
with one line.
"""

import logging
from collections import deque

from agent.errors import (
    AgentError,
    CertificateUnreadableError,
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
from agent.logs.complaints import Complaints
from agent.logs.events import LogEvent
from agent.readings.clock import Clock

log = logging.getLogger(__name__)

REFUSALS_BEFORE_REGISTERING = 2  # The device may have been moved to another hub.
FAILING_BEFORE_REGISTERING = 300.0  # Seconds, for the same reason.
CLOSED_IN_A_ROW = 3  # Connections closed by the hub before another device is suspected.
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
    CertificateUnreadableError: LogEvent.CERTIFICATE_UNREADABLE,
}


class ConnectionHealth:
    """The failures since the last connection that lasted.

    `last_error` is the latest of them; None while the connection works.
    """

    def __init__(self, clock: Clock) -> None:
        self.last_error: str | None = None
        self._clock = clock
        self._complaints = Complaints()
        self._announced = False  # A connection was logged, and has not lasted yet.
        self._unannounced = False  # A later one was not logged.
        self._failing_since: float | None = None
        self._refusals = 0
        self._closed: deque[float] = deque(maxlen=CLOSED_IN_A_ROW)
        self._names = "", ""

    @property
    def is_refused(self) -> bool:
        """Whether the hub has refused this device repeatedly."""
        return self._refusals >= REFUSALS_BEFORE_REGISTERING

    @property
    def should_register(self) -> bool:
        """Whether to register again: the device may belong to another hub now."""
        return self.is_refused or (
            self._failing_since is not None
            and self._clock.uptime() - self._failing_since >= FAILING_BEFORE_REGISTERING
        )

    def registered(self) -> None:
        """Record that the provisioning service has assigned a hub."""
        self._refusals = 0
        self._failing_since = None

    def connected(self, hub: str, device_id: str) -> None:
        """Record a new connection, which may not last."""
        self._names = hub, device_id
        self._refusals = 0
        again = "Connected again" if self.last_error else "Connected"
        level = logging.DEBUG if self._announced else logging.INFO
        log.log(
            level, "%s to %s as %s.", again, hub, device_id, extra=LogEvent.CONNECTED.about(HUB=hub)
        )
        self._unannounced = self._announced
        self._announced = True

    def lasted(self) -> None:
        """Record that the connection has lasted."""
        if self._unannounced:
            log.info(
                "The connection to %s is stable again.",
                self._names[0],
                extra=LogEvent.CONNECTED.about(HUB=self._names[0]),
            )
        self.last_error = None
        self._complaints = Complaints()
        self._announced = self._unannounced = False
        self._failing_since = None

    def failed(self, error: AgentError) -> None:
        """Record and log a failure."""
        error = self._diagnosed(error)
        sentence = str(error)
        if isinstance(error, CloudError) and error.depends_on_clock:
            doubt = self._clock.doubt()
            sentence = sentence if doubt is None else f"{sentence} {doubt}"
        level = self._complaints.level(type(error).__name__, str(error))
        event = next(EVENTS[kind] for kind in type(error).__mro__ if kind in EVENTS)
        log.log(level, "%s", sentence, extra=event.about(HUB=self._names[0] or None))
        self.last_error = sentence
        self._refusals = self._refusals + 1 if isinstance(error, RefusedError) else 0
        if self._failing_since is None:
            self._failing_since = self._clock.uptime()

    def _diagnosed(self, error: AgentError) -> AgentError:
        """Return TakenOverError if the hub closes one connection after another."""
        if not isinstance(error, HubClosedError):
            return error
        self._closed.append(self._clock.uptime())
        if (
            len(self._closed) < CLOSED_IN_A_ROW
            or self._clock.uptime() - self._closed[0] > CLOSED_WITHIN
        ):
            return error
        return TakenOverError(*self._names, times=CLOSED_IN_A_ROW, minutes=CLOSED_WITHIN / 60)
