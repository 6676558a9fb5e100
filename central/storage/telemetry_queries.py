"""What messages and telemetry can be asked for, in SQL. Each function is a job for the store."""

import json
import math
import sqlite3
from dataclasses import dataclass

from central.records import Message

MOST_BYTES = 1024 * 1024  # Of bodies that are in memory at once; and one more message.
LATE = 5.0  # Seconds between making and receiving that are no matter of the network any more.


@dataclass(frozen=True, slots=True)
class Numbered:
    """The messages of one source (before the colon of the message ids) by their numbers.

    `missing` lie between the first and the last one; `again` came more than once.
    """

    source: str
    first: int
    last: int
    received: int
    missing: int
    again: int
    late: int


def messages(
    db: sqlite3.Connection,
    device_id: str,
    *,
    limit: int,
    before: int | None,
    since: float | None,
    until: float | None,
) -> list[Message]:
    """Return messages, newest first."""
    rows = db.execute(
        "SELECT * FROM messages WHERE device_id = ? AND number < ?"
        " AND received >= ? AND received <= ? ORDER BY number DESC LIMIT ?",
        (
            device_id,
            2**62 if before is None else before,
            -math.inf if since is None else since,
            math.inf if until is None else until,
            limit,
        ),
    )
    return [_message(row) for row in rows]


def last_telemetry(
    db: sqlite3.Connection, device_id: str, component: str, name: str
) -> tuple[float, object] | None:
    """Return the value with the newest time."""
    row = db.execute(
        "SELECT time, value FROM telemetry WHERE device_id = ? AND component = ? AND name = ?"
        " ORDER BY time DESC, number DESC LIMIT 1",
        (device_id, component, name),
    ).fetchone()
    return None if row is None else (row["time"], json.loads(row["value"]))


def messages_after(
    db: sqlite3.Connection, device_id: str, number: int, span: tuple[float, float], limit: int
) -> list[Message]:
    """Return the messages that follow this one and were received in the time span, oldest first.

    Not all of them where they are long: it is for asking again after the last one.
    """
    rows = db.execute(
        "SELECT * FROM messages WHERE device_id = ? AND number > ?"
        " AND received BETWEEN ? AND ? ORDER BY number LIMIT ?",
        (device_id, number, *span, limit),
    )
    found: list[Message] = []
    size = 0
    for row in rows:
        found.append(_message(row))
        size += len(row["body"])
        if size >= MOST_BYTES:
            break
    return found


# The numbers of one name and time span. Values are JSON: a number begins with a digit or a minus.
NUMBERS = """
    SELECT time, CAST(value AS REAL) AS value, number FROM telemetry
    WHERE device_id = :device AND component = :component AND name = :name
    AND time BETWEEN :since AND :until AND value GLOB '[-0-9]*'
"""
# With whether each came late.
EACH = f"""
    SELECT time, value, ifnull(messages.received - time > {LATE}, 0) AS late
    FROM ({NUMBERS}) AS numbers LEFT JOIN messages USING (number) ORDER BY time, numbers.number
"""  # noqa: S608 - our own text
COUNTED = f"SELECT count(*), min(time), max(time) FROM ({NUMBERS})"  # noqa: S608 - our own text
# SQLite takes the time from the row that has the extreme.
THINNED = f"""
    WITH slots AS (
        SELECT time, value, CAST((time - :first) / :width AS INTEGER) AS slot FROM ({NUMBERS})
    )
    SELECT time, min(value), 0 FROM slots GROUP BY slot
    UNION SELECT time, max(value), 0 FROM slots GROUP BY slot ORDER BY 1
"""  # noqa: S608 - our own text


def telemetry_series(
    db: sqlite3.Connection,
    device_id: str,
    component: str,
    name: str,
    span: tuple[float, float],
    most: int,
) -> list[tuple[float, float, bool]]:
    """Return the numbers of a time span: their times, themselves, and whether they came late.

    Oldest first. Of more than `most`, the lowest and the highest of each short time, and of none
    whether it was late.
    """
    asked: dict[str, str | float] = {"device": device_id, "component": component, "name": name}
    asked |= {"since": span[0], "until": span[1]}
    count, first, last = db.execute(COUNTED, asked).fetchone()
    if count <= most:
        rows = db.execute(EACH, asked)
    else:
        asked |= {"first": first, "width": (last - first) / (most // 2) or 1.0}
        rows = db.execute(THINNED, asked)
    return [(time, value, bool(late)) for time, value, late in rows if math.isfinite(value)]


NUMBERED = """
    WITH ids AS (
        SELECT json_extract(system, '$.message_id') AS id, number AS row,
            received - created > :late AS late
        FROM messages WHERE device_id = :device
        AND received >= :since AND ifnull(created, received) >= :since
    ), parts AS (
        SELECT rtrim(id, '0123456789') AS source, row, late,
            CAST(substr(id, length(rtrim(id, '0123456789')) + 1) AS INTEGER) AS sequence
        FROM ids WHERE id GLOB '?*:[0-9]*'
    )
    SELECT source, min(sequence), max(sequence), count(*), count(DISTINCT sequence),
        count(DISTINCT CASE WHEN late THEN sequence END)
    FROM parts WHERE source LIKE '%:' GROUP BY source ORDER BY max(row)
"""


def numbered(db: sqlite3.Connection, device_id: str, since: float) -> list[Numbered]:
    """Count the messages made since then whose ids end in a number, by what stands before it.

    Such numbers grow by one from message to message, so a gap in them is a message that is missing.
    """
    rows = db.execute(NUMBERED, {"device": device_id, "since": since, "late": LATE})
    return [
        Numbered(
            source=source.removesuffix(":"),
            first=first,
            last=last,
            received=distinct,
            missing=last - first + 1 - distinct,
            again=count - distinct,
            late=late,
        )
        for source, first, last, count, distinct, late in rows
    ]


def _message(row: sqlite3.Row) -> Message:
    return Message(
        row["number"],
        row["device_id"],
        row["received"],
        row["created"],
        row["body"],
        json.loads(row["properties"]),
        json.loads(row["system"]),
    )
