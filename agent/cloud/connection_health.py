"""Failures of the connection to the hub: why, how they are logged, and when to register again.

Each reason is logged as a warning when it is new, repeats at debug level. A connection that lasts
ends this, with one line.
"""

import logging
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from agent.cloud.traffic import Traffic
from agent.config.loader import CloudConfig
from agent.errors import (
    AgentError,
    CertificateUnreadableError,
    CloudError,
    EndedHereError,
    HubClosedError,
    HubUnavailableError,
    IdleConnectionError,
    NoAnswerError,
    QuotaUsedUpError,
    RateExceededError,
    RefusedError,
    RegistrationError,
    SdkStuckError,
    ServiceRefusedError,
    SessionLostError,
    TakenOverError,
    UnreachableError,
)
from agent.logs.events import LogEvent
from agent.readings.clock import Clock

log = logging.getLogger(__name__)

REFUSALS_BEFORE_REGISTERING = 2  # The device may have been moved to another hub.
FAILING_BEFORE_REGISTERING = 300.0  # Seconds, for the same reason.
CLOSED_IN_A_ROW = 3  # Connections closed by the hub before another device is suspected.
CLOSED_WITHIN = 600.0  # Seconds
REASONS_REMEMBERED = 6  # A reason is repeated if it is among so many failures before.
SHORTEST_ADVISED_KEEP_ALIVE = 10  # Seconds

EVENTS: dict[type[AgentError], LogEvent] = {
    UnreachableError: LogEvent.HUB_UNREACHABLE,
    HubUnavailableError: LogEvent.HUB_FAILING,
    NoAnswerError: LogEvent.HUB_SILENT,
    RefusedError: LogEvent.HUB_REFUSED,
    RegistrationError: LogEvent.REGISTRATION_REFUSED,
    ServiceRefusedError: LogEvent.REQUEST_REFUSED,
    RateExceededError: LogEvent.HUB_THROTTLED,
    QuotaUsedUpError: LogEvent.QUOTA_USED_UP,
    SessionLostError: LogEvent.CONNECTION_LOST,
    TakenOverError: LogEvent.TAKEN_OVER,
    SdkStuckError: LogEvent.SDK_STUCK,
    CertificateUnreadableError: LogEvent.CERTIFICATE_UNREADABLE,
}


def event_of(error: AgentError) -> LogEvent:
    """Return the kind of event that a failure is logged as."""
    if isinstance(error, ServiceRefusedError) and error.is_fault_of_service:
        return LogEvent.HUB_FAILING
    if isinstance(error, ServiceRefusedError) and error.is_throttling:
        return LogEvent.HUB_THROTTLED
    return next(EVENTS[kind] for kind in type(error).__mro__ if kind in EVENTS)


class Moment(Enum):
    """What was going on when a connection ended."""

    NO_MESSAGE_TAKEN = auto()  # Messages were sent, and none was acknowledged.
    SENDING = auto()  # Some messages were acknowledged, and some were not.
    IDLE = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class End:
    """The end of a connection: when (uptime, seconds), and whether the hub closed it."""

    at: float
    moment: Moment
    closed: bool


class ConnectionHealth:
    """The failures since the last connection that lasted.

    `last_error` is the latest of them; None while the connection works.
    """

    def __init__(self, clock: Clock, cloud: CloudConfig) -> None:
        self.last_error: str | None = None
        self._clock = clock
        self.cloud = cloud
        self._logged: deque[str] = deque(maxlen=REASONS_REMEMBERED)
        self._announced = False  # A connection was logged, and has not lasted yet.
        self._unannounced = False  # A later one was not logged.
        self._failing_since: float | None = None
        self._refusals = 0
        self._ends: deque[End] = deque(maxlen=CLOSED_IN_A_ROW)
        self._accepted: tuple[str, str] | None = None  # The hub and id of the last connection.

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
        self._accepted = hub, device_id
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
        if self._unannounced and self._accepted is not None:
            hub, _ = self._accepted
            log.info(
                "The connection to %s is stable again.",
                hub,
                extra=LogEvent.CONNECTED.about(HUB=hub),
            )
        self.last_error = None
        self._logged.clear()
        self._announced = self._unannounced = False
        self._failing_since = None

    def failed(self, error: AgentError, traffic: Traffic | None = None) -> None:
        """Record and log a failure; `traffic` is that of the connection, if there was one."""
        error = self._diagnosed(error, traffic)
        sentence = str(error)
        if isinstance(error, CloudError) and error.depends_on_clock:
            doubt = self._clock.doubt()
            sentence = sentence if doubt is None else f"{sentence} {doubt}"
        level = logging.DEBUG if str(error) in self._logged else logging.WARNING
        self._logged.append(str(error))
        event = event_of(error)
        hub = None if self._accepted is None else self._accepted[0]
        log.log(level, "%s", sentence, extra=event.about(HUB=hub))
        self.last_error = sentence
        self._refusals = self._refusals + 1 if isinstance(error, RefusedError) else 0
        if self._failing_since is None:
            self._failing_since = self._clock.uptime()

    def _diagnosed(self, error: AgentError, traffic: Traffic | None) -> AgentError:
        """Return the error that the last connections suggest, or this one if they suggest none."""
        if isinstance(error, RefusedError):
            accepted = self._accepted == (error.host, error.device_id)
            return RefusedError(
                error.host, error.device_id, before=accepted, is_assigned=error.is_assigned
            )
        if (
            traffic is None
            or self._accepted is None
            or not isinstance(error, SessionLostError | NoAnswerError)
            or isinstance(error, EndedHereError)
        ):
            return error
        closed = isinstance(error, HubClosedError)
        self._ends.append(End(self._clock.uptime(), self._moment(traffic), closed))
        return self._cause(*self._accepted) or error

    def _moment(self, traffic: Traffic) -> Moment:
        if traffic.sent and not traffic.acknowledged:
            return Moment.NO_MESSAGE_TAKEN
        if traffic.idle >= self.cloud.keep_alive / 2:
            return Moment.IDLE
        return Moment.SENDING if traffic.sent > traffic.acknowledged else Moment.OTHER

    def _cause(self, hub: str, device_id: str) -> AgentError | None:
        ends = list(self._ends)
        last, moments = ends[-1], [end.moment for end in ends]
        if moments[-2:] == [Moment.NO_MESSAGE_TAKEN] * 2:
            return QuotaUsedUpError(hub)
        # A router that resets idle connections looks like a hub that closes them, a router that
        # forgets them does not.
        if last.moment is Moment.IDLE and (not last.closed or moments[-2:] == [Moment.IDLE] * 2):
            shorter = self.cloud.keep_alive // 2
            advised = shorter if shorter >= SHORTEST_ADVISED_KEEP_ALIVE else None
            return IdleConnectionError(hub, self.cloud.keep_alive, advised=advised)
        many = len(ends) == CLOSED_IN_A_ROW and last.at - ends[0].at <= CLOSED_WITHIN
        if not many or not all(end.closed for end in ends):
            return None
        if moments == [Moment.SENDING] * CLOSED_IN_A_ROW:
            return RateExceededError(hub, device_id, max_rate=self.cloud.max_rate)
        return TakenOverError(hub, device_id, times=CLOSED_IN_A_ROW, minutes=CLOSED_WITHIN / 60)
