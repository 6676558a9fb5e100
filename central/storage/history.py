"""Commands and the connection log of each device, in SQL. Each function is a query for `Store`.

A function that takes a `device_id` raises UnknownDevice if there is no such device.
"""

import json
import sqlite3
from typing import Any

from central.records import Command, Connection
from central.storage import devices

COMMANDS = 1000  # Commands that are kept of one device.
LOG_LINES = 1000  # Lines of the connection log that are kept of one device,
REFUSALS = 200  # and this many refusals besides.
NO_ANSWER = 504  # The status of a command that was not answered in time.


def add_command(db: sqlite3.Connection, command: Command) -> None:
    """Record a command. Raise UnknownDevice."""
    devices.get(db, command.device_id)
    db.execute(
        "INSERT INTO commands (id, device_id, name, request, asked, queued)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            command.id,
            command.device_id,
            command.name,
            json.dumps(command.request),
            command.asked,
            command.queued,
        ),
    )
    db.execute(
        "DELETE FROM commands WHERE device_id = ?1 AND number <= (SELECT number FROM commands"
        " WHERE device_id = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
        (command.device_id, COMMANDS),
    )


def answer_command(
    db: sqlite3.Connection,
    command_id: str,
    answered: float | None,
    status: int | None,
    response: object,
) -> Command | None:
    """Record the answer to a command, and return the command; None if it is no longer there."""
    row = db.execute(
        "UPDATE commands SET answered = ?, status = ?, response = ? WHERE id = ? RETURNING *",
        (answered, status, json.dumps(response), command_id),
    ).fetchone()
    return None if row is None else _command(row)


def complete_commands(
    db: sqlite3.Connection, device_id: str, reported: dict[str, Any], now: float
) -> list[Command]:
    """Complete long-running commands with what their device reports, and return them.

    Such a command was answered with 202, and its result is a reported property of its name:
    https://learn.microsoft.com/azure/iot-central/core/howto-use-commands#long-running-commands
    """
    completed = []
    for name, value in _names(reported):
        row = db.execute(
            "UPDATE commands SET completion = ?, completed = ? WHERE number ="
            " (SELECT max(number) FROM commands WHERE device_id = ? AND name = ?"
            "  AND status = 202) AND completed IS NULL RETURNING *",
            (json.dumps(value), now, device_id, name),
        ).fetchone()
        if row is not None:
            completed.append(_command(row))
    return completed


def _names(reported: dict[str, Any]) -> list[tuple[str, Any]]:
    names = []
    for name, value in reported.items():
        if isinstance(value, dict) and value.get("__t") == "c":
            names += [(f"{name}*{part}", v) for part, v in value.items() if part != "__t"]
        elif value is not None:
            names.append((name, value))
    return names


def commands(
    db: sqlite3.Connection, device_id: str, name: str | None = None, *, limit: int = 50
) -> list[Command]:
    """Return the commands of a device, newest first: all, or those of one name."""
    devices.get(db, device_id)
    rows = db.execute(
        "SELECT * FROM commands WHERE device_id = ? AND (?2 IS NULL OR name = ?2)"
        " ORDER BY number DESC LIMIT ?3",
        (device_id, name, limit),
    )
    return [_command(row) for row in rows]


def _command(row: sqlite3.Row) -> Command:
    def load(column: str) -> object | None:
        value: object | None = None if row[column] is None else json.loads(row[column])
        return value

    return Command(
        id=row["id"],
        device_id=row["device_id"],
        name=row["name"],
        request=load("request"),
        asked=row["asked"],
        queued=bool(row["queued"]),
        answered=row["answered"],
        status=row["status"],
        response=load("response"),
        completion=load("completion"),
        completed=row["completed"],
    )


def add_connection(db: sqlite3.Connection, entry: Connection) -> bool:
    """Add a line to the connection log; return False if there is no such device."""
    if db.execute("SELECT 1 FROM devices WHERE id = ?", (entry.device_id,)).fetchone() is None:
        return False
    refused = entry.event.endswith("refused")
    db.execute(
        "INSERT INTO connections (device_id, at, event, detail) VALUES (?, ?, ?, ?)",
        (entry.device_id, entry.at, entry.event, entry.detail),
    )
    # Refusals are counted separately: a client without a key cannot displace the other lines.
    db.execute(
        "DELETE FROM connections WHERE device_id = ?1 AND (event LIKE '%refused') = ?2"
        " AND number <= (SELECT number FROM connections WHERE device_id = ?1"
        "  AND (event LIKE '%refused') = ?2 ORDER BY number DESC LIMIT 1 OFFSET ?3)",
        (entry.device_id, refused, REFUSALS if refused else LOG_LINES),
    )
    return True


def connections(db: sqlite3.Connection, device_id: str, *, limit: int = 100) -> list[Connection]:
    """Return the connection log of a device, newest line first."""
    devices.get(db, device_id)
    rows = db.execute(
        "SELECT device_id, at, event, detail FROM connections WHERE device_id = ?"
        " ORDER BY number DESC LIMIT ?",
        (device_id, limit),
    )
    return [Connection(*row) for row in rows]


def last_connection(db: sqlite3.Connection, device_id: str) -> Connection | None:
    """Return the newest `connected` or `disconnected` line of a device, if there is one."""
    devices.get(db, device_id)
    row = db.execute(
        "SELECT device_id, at, event, detail FROM connections WHERE device_id = ?"
        " AND event IN ('connected', 'disconnected') ORDER BY number DESC LIMIT 1",
        (device_id,),
    ).fetchone()
    return None if row is None else Connection(*row)


def end_interrupted(db: sqlite3.Connection) -> None:
    """End the calls and connections that were open when an earlier central was killed.

    A connection is taken to have ended with the last message that came over it.
    """
    db.execute("UPDATE commands SET status = ? WHERE status IS NULL AND NOT queued", (NO_ANSWER,))
    db.execute(
        "INSERT INTO connections (device_id, at, event, detail)"
        " SELECT device_id, max(at, ifnull((SELECT received FROM messages"
        "  WHERE device_id = line.device_id ORDER BY number DESC LIMIT 1), at)),"
        "  'disconnected', 'central was killed'"
        " FROM connections AS line WHERE event = 'connected' AND number = (SELECT max(number)"
        "  FROM connections WHERE device_id = line.device_id"
        "  AND event IN ('connected', 'disconnected'))"
    )
