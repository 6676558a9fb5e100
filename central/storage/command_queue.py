"""The session of a disconnected device and the messages queued for it, in SQL.

Each function is a query for `Store`.
"""

import json
import sqlite3

from central.errors import QueueFull
from central.protocol.twins import dump_json
from central.records import QueuedMessage

MAX_QUEUED = 50  # Messages queued for one device; IoT Hub's limit.


def load_session(db: sqlite3.Connection, device_id: str) -> dict[str, int] | None:
    """Return the saved subscriptions, filter to quality of service; None without a session."""
    row = db.execute("SELECT filters FROM sessions WHERE device_id = ?", (device_id,)).fetchone()
    if row is None:
        return None
    filters: dict[str, int] = json.loads(row["filters"])
    return filters


def save_session(db: sqlite3.Connection, device_id: str, filters: dict[str, int]) -> None:
    """Save the subscriptions of a device."""
    db.execute("REPLACE INTO sessions VALUES (?, ?)", (device_id, dump_json(filters)))


def forget_session(db: sqlite3.Connection, device_id: str) -> None:
    """Delete the saved session of a device."""
    db.execute("DELETE FROM sessions WHERE device_id = ?", (device_id,))


def enqueue(db: sqlite3.Connection, message: QueuedMessage, *, now: float) -> None:
    """Queue a message for a device. Raise QueueFull."""
    if len(_waiting(db, message.device_id, now)) >= MAX_QUEUED:
        raise QueueFull(message.device_id, MAX_QUEUED)
    db.execute(
        "INSERT INTO queue (device_id, command_id, properties, body, expires)"
        " VALUES (?, ?, ?, ?, ?)",
        (
            message.device_id,
            message.command_id,
            dump_json(message.properties),
            message.body,
            message.expires,
        ),
    )


def take(db: sqlite3.Connection, device_id: str, now: float) -> list[QueuedMessage]:
    """Return the messages queued for a device, oldest first, and mark them as sent."""
    messages = _waiting(db, device_id, now)
    db.execute("UPDATE queue SET sent = 1 WHERE device_id = ?", (device_id,))
    return messages


def forget_expired(db: sqlite3.Connection, now: float) -> None:
    """Delete the queued messages that have expired, of all devices."""
    db.execute("DELETE FROM queue WHERE expires <= ?", (now,))


def _waiting(db: sqlite3.Connection, device_id: str, now: float) -> list[QueuedMessage]:
    forget_expired(db, now)
    rows = db.execute("SELECT * FROM queue WHERE device_id = ? ORDER BY number", (device_id,))
    return [
        QueuedMessage(
            row["number"],
            row["device_id"],
            row["command_id"],
            json.loads(row["properties"]),
            row["body"],
            row["expires"],
            bool(row["sent"]),
        )
        for row in rows
    ]


def remove(db: sqlite3.Connection, number: int) -> str | None:
    """Delete a queued message; return the id of its command, if the message was still there."""
    row = db.execute(
        "DELETE FROM queue WHERE number = ? RETURNING command_id", (number,)
    ).fetchone()
    return None if row is None else str(row["command_id"])
