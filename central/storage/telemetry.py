"""Messages of devices and the telemetry in them, in SQL. Each function is a query for `Store`.

A function that takes a `device_id` raises UnknownDevice if there is no such device.
"""

import json
import math
import sqlite3
from dataclasses import replace

from central.protocol.twins import dump_json, is_unicode, parse_json
from central.records import Message
from central.storage import completeness, devices

MAX_FIELDS = 256  # Telemetry values of one message that can be looked up by name.
MAX_BYTES = 1024 * 1024  # Bytes of bodies that `messages_after` returns, and one more message.
LATE = 5.0  # Seconds between creation and receipt beyond which a message was delayed.
RECOUNTED = 1000  # Messages in memory while an older database is upgraded.


def add_message(db: sqlite3.Connection, new: Message) -> Message:
    """Store a message, and each field of a JSON object in it by name; return it numbered."""
    late = _is_late(new)
    run, sequence = completeness.record_arrival(db, new, late=late)
    number = db.execute(
        "INSERT INTO messages"
        " (device_id, received, created, body, properties, system, run, sequence, late)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.device_id,
            new.received,
            new.created,
            new.body,
            dump_json(new.properties),
            dump_json(new.system),
            run,
            sequence,
            late,
        ),
    ).lastrowid
    if number is None:
        raise AssertionError("an INSERT gives a row id")
    time = new.received if new.created is None else new.created
    component = new.system.get("component", "")
    db.executemany(
        "INSERT INTO telemetry VALUES (?, ?, ?, ?, ?, ?)",
        [(new.device_id, component, name, time, number, value) for name, value in fields(new.body)],
    )
    return replace(new, number=number)


def _is_late(message: Message) -> bool:
    return message.created is not None and message.received - message.created > LATE


def recount(db: sqlite3.Connection) -> None:
    """Count all stored messages as if they arrived now, in a database of an earlier version."""
    last = 0
    while True:
        rows = db.execute(
            "SELECT number, device_id, received, created, '' AS body, properties, system"
            " FROM messages WHERE number > ? ORDER BY number LIMIT ?",
            (last, RECOUNTED),
        ).fetchall()
        for row in rows:
            message = _message(row)
            late = _is_late(message)
            run, sequence = completeness.record_arrival(db, message, late=late)
            db.execute(
                "UPDATE messages SET run = ?, sequence = ?, late = ? WHERE number = ?",
                (run, sequence, late, message.number),
            )
        if not rows:
            return
        last = rows[-1]["number"]


def fields(body: bytes) -> list[tuple[str, str]]:
    """Return the fields of a JSON object, each value as JSON text; none of any other body."""
    try:
        value = parse_json(body)
        if not isinstance(value, dict):
            return []
        fields = list(value.items())[:MAX_FIELDS]
        return [(name, json.dumps(part)) for name, part in fields if is_unicode(name)]
    except (ValueError, RecursionError):
        return []


def messages(
    db: sqlite3.Connection,
    device_id: str,
    *,
    limit: int = 100,
    before: int | None = None,
    since: float | None = None,
    until: float | None = None,
) -> list[Message]:
    """Return messages, newest first: numbered below `before`, received in the time span."""
    devices.get(db, device_id)
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


def messages_after(
    db: sqlite3.Connection,
    device_id: str,
    number: int,
    *,
    since: float,
    until: float,
    limit: int,
) -> list[Message]:
    """Return messages, oldest first: numbered above `number`, received in the time span.

    Fewer than `limit` if they are long. An empty list means that there are no more.
    """
    devices.get(db, device_id)
    rows = db.execute(
        "SELECT * FROM messages WHERE device_id = ? AND number > ?"
        " AND received BETWEEN ? AND ? ORDER BY number LIMIT ?",
        (device_id, number, since, until, limit),
    )
    found: list[Message] = []
    size = 0
    for row in rows:
        found.append(_message(row))
        size += len(row["body"])
        if size >= MAX_BYTES:
            break
    return found


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


def last_value(
    db: sqlite3.Connection, device_id: str, name: str, component: str | None = None
) -> tuple[float, object] | None:
    """Return the time and the value of the newest telemetry of this name, if there is any.

    The time is when the message was created, or else received (unix seconds).
    """
    devices.get(db, device_id)
    row = db.execute(
        "SELECT time, value FROM telemetry WHERE device_id = ? AND component = ? AND name = ?"
        " ORDER BY time DESC, number DESC LIMIT 1",
        (device_id, component or "", name),
    ).fetchone()
    return None if row is None else (row["time"], json.loads(row["value"]))


# The numbers of one name and time span. Values are JSON: a number begins with a digit or a minus.
NUMBERS = """
    SELECT time, CAST(value AS REAL) AS value, number FROM telemetry
    WHERE device_id = :device AND component = :component AND name = :name
    AND time BETWEEN :since AND :until AND value GLOB '[-0-9]*'
    AND CAST(value AS REAL) BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308
"""
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
KEPT_OF_EACH = 4  # At most.


def series(
    db: sqlite3.Connection,
    device_id: str,
    name: str,
    *,
    since: float,
    until: float,
    component: str | None = None,
    most: int = 2000,
) -> list[tuple[float, float, bool]]:
    """Return the numbers of a time span, oldest first: time, value, and whether it was delayed.

    If there are more than `most`, the time from the first to the last is divided into `most / 4`
    equal intervals. Of each, the first, the last, the lowest and the highest value are returned,
    none of them marked as delayed. So every extreme is there, and both ends of every gap that is
    longer than an interval.
    """
    devices.get(db, device_id)
    asked: dict[str, str | float] = {"device": device_id, "component": component or ""}
    asked |= {"name": name, "since": since, "until": until, "limit": most + 1}
    points = [(time, value, bool(late)) for time, value, late in db.execute(EACH, asked)]
    if len(points) <= most:
        return points
    (first, _), (last, _) = db.execute(FIRST, asked).fetchone(), db.execute(LAST, asked).fetchone()
    kept = []
    for begin, end in _intervals(first, last, most // KEPT_OF_EACH):
        rows = db.execute(KEPT, asked | {"since": begin, "until": end})
        kept += [(time, value, False) for time, value in rows if value is not None]
    return kept


def _intervals(first: float, last: float, count: int) -> list[tuple[float, float]]:
    """Divide a span of time into so many equal intervals; each contains its begin and its end."""
    edges = sorted({first + (last - first) * index / count for index in range(count)})
    ends = [math.nextafter(edge, -math.inf) for edge in edges[1:]]
    return list(zip(edges, [*ends, last], strict=True))
