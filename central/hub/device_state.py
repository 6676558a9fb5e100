"""The state of a device at a glance, judged by its connection and its newest message."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

USUAL_INTERVAL = 60.0  # Seconds, for a device whose interval is not known.
LONGEST_INTERVAL = 86_400.0  # Seconds.
LATE_INTERVALS, SOONEST_LATE = 2, 30.0
SILENT_INTERVALS, SOONEST_SILENT = 5, 300.0


class DeviceState(StrEnum):
    """What state a device is in. Each is in exactly one."""

    REPORTING = "reporting"
    """It is connected, and its newest message is at most 2 intervals old, or at most 30 seconds."""

    LATE = "late"
    """It is not connected, or its newest message is older than that, but it is not yet silent."""

    SILENT = "silent"
    """Its newest message is older than 5 intervals, and older than 5 minutes.

    A device that connected since then is late instead: it has had no time to send one.
    """

    NEVER_SEEN = "never_seen"
    """It has never connected."""

    BLOCKED = "blocked"
    """The operator blocked it. Nothing else matters then."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What the state of a device is judged by. Times are unix seconds."""

    enabled: bool
    connected_since: float | None  # None if it is not connected.
    message: float | None  # When its newest message was received.
    connection: float | None  # When it last connected or disconnected.
    interval: float  # Seconds between two messages; see `message_interval`.

    @property
    def heard(self) -> float | None:
        """When its newest message was received; without any, when it last came or went."""
        return self.connection if self.message is None else self.message


def device_state(signs: Signs, now: float) -> DeviceState:
    """Return the state of a device.

    After central's clock was set back, a time in the future counts as one as long ago.
    """
    if not signs.enabled:
        return DeviceState.BLOCKED
    if signs.heard is None and signs.connected_since is None:
        return DeviceState.NEVER_SEEN
    late = max(SOONEST_LATE, LATE_INTERVALS * signs.interval)
    connected, message = signs.connected_since is not None, signs.message
    if connected and message is not None and abs(now - message) <= late:
        return DeviceState.REPORTING
    silent = max(SOONEST_SILENT, SILENT_INTERVALS * signs.interval)
    times = [each for each in (signs.heard, signs.connected_since) if each is not None]
    if min(abs(now - each) for each in times) <= silent:
        return DeviceState.LATE
    return DeviceState.SILENT


def message_interval(reported: object, received: Sequence[float]) -> float:
    """Return the time between two messages of a device in seconds.

    That is the interval that the device reports, if it is a number from 1 to 86,400. If not, it is
    the median of the times between the newest messages, `received` in any order, if there are three
    or more, and else USUAL_INTERVAL.
    """
    match reported:
        case bool():
            pass  # It would match int() below.
        case int() | float() if 1 <= reported <= LONGEST_INTERVAL:
            return float(reported)
    pauses = [later - earlier for earlier, later in pairwise(sorted(received))]
    if len(pauses) < 2:  # noqa: PLR2004 - one pause says little: it may be an outage
        return USUAL_INTERVAL
    return min(LONGEST_INTERVAL, max(1.0, statistics.median(pauses)))
