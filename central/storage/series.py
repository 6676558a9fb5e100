"""The numbers of a time span for a chart, in SQL: thinned, with every extreme and every gap."""

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from central.storage import devices

KEPT_OF_EACH = 4  # Points of an interval, at most.
NEIGHBOURS = 5  # Pauses on each side of a pause that it is compared with.
GAP_FACTOR = 3.0  # A gap is longer than so many usual pauses,
LEAST_GAP = 5.0  # and longer than this, in seconds.
LOOKED_AT = 32  # Values beside a time span that are searched for numbers.

# Values are JSON: a number begins with a digit or a minus.
IS_NUMBER = """
    value GLOB '[-0-9]*'
    AND CAST(value AS REAL) BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308
"""
OF_NAME = "device_id = :device AND component = :component AND name = :name"
# The numbers of one name and time span.
NUMBERS = f"""
    SELECT time, CAST(value AS REAL) AS value, number FROM telemetry
    WHERE {OF_NAME} AND time BETWEEN :since AND :until AND {IS_NUMBER}
"""  # noqa: S608 - our own text
# The same, with whether each was delayed.
EACH = f"""
    SELECT time, value, ifnull(late, 0) AS late
    FROM ({NUMBERS}) AS numbers LEFT JOIN messages USING (number)
    ORDER BY time, numbers.number LIMIT :limit
"""  # noqa: S608 - our own text
FIRST = f"SELECT time, value FROM ({NUMBERS}) ORDER BY time, number LIMIT 1"  # noqa: S608 - our own text
LAST = f"SELECT time, value FROM ({NUMBERS}) ORDER BY time DESC, number DESC LIMIT 1"  # noqa: S608 - our own text
# SQLite takes the time from the row that has the extreme.
KEPT = f"""
    SELECT * FROM ({FIRST}) UNION SELECT * FROM ({LAST})
    UNION SELECT time, min(value) FROM ({NUMBERS}) UNION SELECT time, max(value) FROM ({NUMBERS})
    ORDER BY time, value
"""  # noqa: S608 - our own text
# The nearest numbers before and after a time, the nearest one first.
BEFORE, AFTER = (
    f"""
    SELECT time, CAST(value AS REAL) FROM (
        SELECT time, value FROM telemetry WHERE {OF_NAME} AND time {compare} :at
        ORDER BY time {order}, number {order} LIMIT {LOOKED_AT}
    ) WHERE {IS_NUMBER} ORDER BY time {order} LIMIT {NEIGHBOURS + 1}
"""  # noqa: S608 - our own text
    for compare, order in (("<", "DESC"), (">", "ASC"))
)
EARLIEST = f"SELECT min(time) FROM telemetry WHERE {OF_NAME}"  # noqa: S608 - our own text


@dataclass(frozen=True, slots=True)
class Point:
    """One number of a chart, at its time in unix seconds."""

    time: float
    value: float
    late: bool = False  # Did it arrive late? Not known of points that stand for several.
    after_gap: bool = False  # The line is interrupted before it.


@dataclass(frozen=True, slots=True)
class Series:
    """The numbers of one name in a time span, and the nearest one on each side, oldest first."""

    points: list[Point]
    interval: float | None  # Usual seconds between the last readings up to the end of the span.
    kept_since: float | None  # When the oldest value of this name was taken that is kept.


def series(
    db: sqlite3.Connection,
    device_id: str,
    name: str,
    *,
    since: float,
    until: float,
    component: str | None = None,
    most: int = 2000,
) -> Series:
    """Return the numbers of a time span.

    If there are more than `most` in the span, the time from the first to the last is divided into
    `most / 4` equal intervals. Of each, the first, the last, the lowest and the highest value are
    returned, none of them marked as late. So every extreme is there, and both ends of every pause
    that is longer than an interval.

    A pause is a gap if it is longer than three times those around it (see `is_gap`). Gaps shorter
    than an interval are not marked. Raises UnknownDevice.
    """
    devices.get(db, device_id)
    asked: dict[str, str | float] = {"device": device_id, "component": component or ""}
    asked |= {"name": name, "since": since, "until": until, "limit": most + 1}
    points = [Point(time, value, bool(late)) for time, value, late in db.execute(EACH, asked)]
    before = [Point(*row) for row in db.execute(BEFORE, asked | {"at": since})][::-1]
    after = [Point(*row) for row in db.execute(AFTER, asked | {"at": until})]
    if len(points) <= most:
        times = [point.time for point in (*before, *points, *after)]
        gaps = {
            times[at]
            for at in range(1, len(times))
            if is_gap(times[max(0, at - NEIGHBOURS - 1) : at], times[at : at + NEIGHBOURS + 1])
        }
    else:
        points, longest = _thin(db, asked, most)
        times = [point.time for point in (*before[-1:], *points, *after[:1])]
        gaps = {
            later
            for earlier, later in pairwise(times)
            if later - earlier > longest and _is_gap_between(db, asked, earlier, later)
        }
    last = [time for time, _ in db.execute(BEFORE, asked | {"at": math.nextafter(until, math.inf)})]
    return Series(
        _marked([*before[-1:], *points, *after[:1]], gaps),
        usual_pause(last[::-1]),
        db.execute(EARLIEST, asked).fetchone()[0],
    )


def is_gap(before: Sequence[float], after: Sequence[float]) -> bool:
    """Return whether the pause between the times of two groups of readings is a gap.

    It is compared with the pauses within the groups. The first pause of a longer interval is not a
    gap, because half of the pauses around it are as long. Without any pause around it, it is not
    known to be one.
    """
    usual = usual_pause(before, after)
    return usual is not None and after[0] - before[-1] > max(GAP_FACTOR * usual, LEAST_GAP)


def usual_pause(*groups: Sequence[float]) -> float | None:
    """Return the pause that two thirds of those within groups of times do not exceed, in seconds.

    None if there is no pause.
    """
    pauses = sorted(later - earlier for group in groups for earlier, later in pairwise(group))
    return pauses[len(pauses) * 2 // 3] if pauses else None


def _is_gap_between(
    db: sqlite3.Connection, asked: dict[str, str | float], earlier: float, later: float
) -> bool:
    """Do as `is_gap` for two times between which there is no number."""
    before = [time for time, _ in db.execute(BEFORE, asked | {"at": later})]
    after = [time for time, _ in db.execute(AFTER, asked | {"at": earlier})]
    return is_gap(before[::-1], after)


def _marked(points: list[Point], gaps: set[float]) -> list[Point]:
    """Mark the first point of each time at which a gap ends."""
    left = set(gaps)
    marked = []
    for point in points:
        after_gap = point.time in left
        left.discard(point.time)
        marked.append(Point(point.time, point.value, point.late, after_gap))
    return marked


def _thin(
    db: sqlite3.Connection, asked: dict[str, str | float], most: int
) -> tuple[list[Point], float]:
    """Return the points of all intervals, and the length of the longest interval in seconds."""
    (first, _), (last, _) = db.execute(FIRST, asked).fetchone(), db.execute(LAST, asked).fetchone()
    intervals = _intervals(first, last, most // KEPT_OF_EACH)
    kept = []
    for begin, end in intervals:
        rows = db.execute(KEPT, asked | {"since": begin, "until": end})
        kept += [Point(time, value) for time, value in rows if value is not None]
    return kept, max(end - begin for begin, end in intervals)


def _intervals(first: float, last: float, count: int) -> list[tuple[float, float]]:
    """Divide a span of time into so many equal intervals; each contains its begin and its end."""
    edges = sorted({first + (last - first) * index / count for index in range(count)})
    ends = [math.nextafter(edge, -math.inf) for edge in edges[1:]]
    return list(zip(edges, [*ends, last], strict=True))
