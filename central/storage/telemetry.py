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
