"""Messages of devices and the telemetry in them, in SQL. Each function is a query for `Store`.

A function that takes a `device_id` raises UnknownDevice if there is no such device.
"""

import json
import math
import sqlite3
from dataclasses import dataclass, replace

from central.protocol.twins import dump_json, is_unicode, parse_json
from central.records import Message
from central.storage import devices

MAX_FIELDS = 256  # Telemetry values of one message that can be looked up by name.
MAX_BYTES = 1024 * 1024  # Bytes of bodies that `messages_after` returns, and one more message.
LATE = 5.0  # Seconds between creation and receipt beyond which a message was delayed.


def add_message(db: sqlite3.Connection, new: Message) -> Message:
    """Store a message, and each field of a JSON object in it by name; return it numbered."""
    number = db.execute(
        "INSERT INTO messages (device_id, received, created, body, properties, system)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            new.device_id,
            new.received,
            new.created,
            new.body,
            dump_json(new.properties),
            dump_json(new.system),
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
"""
# The same, with whether each was delayed.
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

    If there are more than `most`, returns only the lowest and the highest value of each of
    `most / 2` equal intervals, none of them marked as delayed.
    """
    devices.get(db, device_id)
    asked: dict[str, str | float] = {"device": device_id, "component": component or ""}
    asked |= {"name": name, "since": since, "until": until}
    count, first, last = db.execute(COUNTED, asked).fetchone()
    if count <= most:
        rows = db.execute(EACH, asked)
    else:
        asked |= {"first": first, "width": (last - first) / (most // 2) or 1.0}
        rows = db.execute(THINNED, asked)
    return [(time, value, bool(late)) for time, value, late in rows if math.isfinite(value)]


@dataclass(frozen=True, slots=True)
class MessageCount:
    """How many messages of one source arrived, by the numbers in their ids `source:number`."""

    source: str
    first: int
    last: int
    received: int  # Different numbers.
    missing: int  # Numbers between the first and the last.
    again: int  # Messages whose number had been received before.
    late: int


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


def count_messages(db: sqlite3.Connection, device_id: str, since: float) -> list[MessageCount]:
    """Count the messages created since then whose ids end in a number, by their source.

    Such numbers grow by one from message to message, so a gap in them is a missing message. The
    source that sent the newest message is last.
    """
    devices.get(db, device_id)
    rows = db.execute(NUMBERED, {"device": device_id, "since": since, "late": LATE})
    return [
        MessageCount(
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
