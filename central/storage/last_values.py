"""The newest number of each telemetry name of each device, in SQL, for `/metrics`."""

import json
import math
import sqlite3
from dataclasses import dataclass
from itertools import pairwise

MOST_NAMES = 64  # Of one device.
MOST_VALUES = 20_000  # Of all devices.
LOOKED_AT = 4  # Values by which the usual time between two of them is estimated.

# The primary key leads to each: no other rows are read.
NEXT_NAME = """
    SELECT device_id, component, name FROM telemetry
    WHERE (device_id, component, name) > (?, ?, ?) ORDER BY device_id, component, name LIMIT 1
"""
NEXT_DEVICE = """
    SELECT device_id, component, name FROM telemetry
    WHERE device_id > ? ORDER BY device_id, component, name LIMIT 1
"""
# A reading is not from the future: that would be a clock that is ahead.
NEWEST = """
    SELECT min(telemetry.time, ifnull(received, telemetry.time)) AS time, value
    FROM telemetry LEFT JOIN messages USING (number)
    WHERE telemetry.device_id = ? AND component = ? AND name = ?
    ORDER BY telemetry.time DESC, number DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class LastValue:
    """A number, when it was true (unix seconds), and the usual time between two, if known."""

    device_id: str
    component: str
    name: str
    value: float
    time: float
    interval: float  # Seconds: the shortest of the last ones, or 0.


@dataclass(frozen=True, slots=True)
class LastValues:
    """What was found, and how many names were left out because there are too many."""

    found: tuple[LastValue, ...]
    left_out: int


def last_values(db: sqlite3.Connection) -> LastValues:
    """Return the newest value of each name whose newest value is a number or a boolean (0 or 1).

    Of at most MOST_NAMES names of a device, and MOST_VALUES in all.
    """
    found: list[LastValue] = []
    left_out = 0
    names = 0
    key = db.execute(NEXT_NAME, ("", "", "")).fetchone()
    while key is not None:
        device_id = key[0]
        names += 1
        if names > MOST_NAMES or len(found) >= MOST_VALUES:
            left_out += 1
            following = db.execute(NEXT_DEVICE, (device_id,)).fetchone()
        else:
            if (value := _last_value(db, *key)) is not None:
                found.append(value)
            following = db.execute(NEXT_NAME, tuple(key)).fetchone()
        if following is not None and following[0] != device_id:
            names = 0
        key = following
    return LastValues(tuple(found), left_out)


def _last_value(
    db: sqlite3.Connection, device_id: str, component: str, name: str
) -> LastValue | None:
    rows = db.execute(NEWEST, (device_id, component, name, LOOKED_AT)).fetchall()
    value = json.loads(rows[0][1])
    if not isinstance(value, int | float) or not _is_finite(value):
        return None
    times = [row[0] for row in rows]
    pauses = [abs(later - earlier) for later, earlier in pairwise(times)]
    return LastValue(device_id, component, name, float(value), times[0], min(pauses, default=0.0))


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # An integer beyond every float.
        return False
