"""What happened, in SQL: messages, their telemetry, commands and the connection log.

What is looked up of it for charts, tables and files is in `central.storage.telemetry_queries`.

Each function is a job for the store.
"""

import json
import sqlite3
from dataclasses import replace
from typing import Any

from central.protocol.twins import dump_json, is_unicode, parse_json
from central.records import Command, Connection, Message
from central.storage import devices

MAX_FIELDS = 256  # Telemetry values of one message that can be asked for by name.
LOG_LINES = 1000  # Of the connection log of one device ...
COMMANDS = 1000  # That are remembered of one device.
REFUSALS = 200  # ... and so many refusals besides.
NO_ANSWER = 504  # The status of a command that was not answered in time.


def add_message(db: sqlite3.Connection, new: Message) -> Message:
    """Keep a message, and each field of a JSON object in it under its name; return it numbered."""
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
    """Return the fields of a JSON object, each value as JSON text."""
    try:
        value = parse_json(body)
        if not isinstance(value, dict):
            return []
        fields = list(value.items())[:MAX_FIELDS]
        return [(name, json.dumps(part)) for name, part in fields if is_unicode(name)]
    except (ValueError, RecursionError):
        return []


def add_command(db: sqlite3.Connection, command: Command) -> None:
    """Note that a command was asked for, or raise UnknownDevice."""
    devices.device(db, command.device_id)
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
    """Note how a command ended, and return it; None if it is no longer there."""
    row = db.execute(
        "UPDATE commands SET answered = ?, status = ?, response = ? WHERE id = ? RETURNING *",
        (answered, status, json.dumps(response), command_id),
    ).fetchone()
    return None if row is None else _command(row)


def complete_commands(
    db: sqlite3.Connection, device_id: str, reported: dict[str, Any], now: float
) -> list[Command]:
    """Note what a device reported about long-running commands, and return those.

    It answered 202, and now reports a property with the command's name:
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


def commands(db: sqlite3.Connection, device_id: str, name: str | None, limit: int) -> list[Command]:
    """Return commands, newest first."""
    rows = db.execute(
        "SELECT * FROM commands WHERE device_id = ? AND (?2 IS NULL OR name = ?2)"
        " ORDER BY number DESC LIMIT ?3",
        (device_id, name, limit),
    )
    return [_command(row) for row in rows]


def _command(row: sqlite3.Row) -> Command:
    def load(text: str | None) -> object | None:
        value: object | None = None if text is None else json.loads(text)
        return value

    return Command(
        row["id"],
        row["device_id"],
        row["name"],
        load(row["request"]),
        row["asked"],
        row["answered"],
        row["status"],
        load(row["response"]),
        bool(row["queued"]),
        load(row["completion"]),
        row["completed"],
    )


def add_connection(db: sqlite3.Connection, entry: Connection) -> bool:
    """Note a line of the connection log. False if there is no such device."""
    if db.execute("SELECT 1 FROM devices WHERE id = ?", (entry.device_id,)).fetchone() is None:
        return False
    refused = entry.event.endswith("refused")
    db.execute(
        "INSERT INTO connections (device_id, at, event, detail) VALUES (?, ?, ?, ?)",
        (entry.device_id, entry.at, entry.event, entry.detail),
    )
    # Refusals are counted apart: who knows no key cannot push the rest out.
    db.execute(
        "DELETE FROM connections WHERE device_id = ?1 AND (event LIKE '%refused') = ?2"
        " AND number <= (SELECT number FROM connections WHERE device_id = ?1"
        "  AND (event LIKE '%refused') = ?2 ORDER BY number DESC LIMIT 1 OFFSET ?3)",
        (entry.device_id, refused, REFUSALS if refused else LOG_LINES),
    )
    return True


def last_connection(db: sqlite3.Connection, device_id: str) -> Connection | None:
    """Return the newest begin or end of a connection of a device."""
    row = db.execute(
        "SELECT device_id, at, event, detail FROM connections WHERE device_id = ?"
        " AND event IN ('connected', 'disconnected') ORDER BY number DESC LIMIT 1",
        (device_id,),
    ).fetchone()
    return None if row is None else Connection(*row)


def end_what_is_open(db: sqlite3.Connection) -> None:
    """End what an earlier central could not end, as it was killed: calls, and connections.

    A connection ended when the last was heard over it, as far as that is known.
    """
    db.execute("UPDATE commands SET status = ? WHERE status IS NULL AND NOT queued", (NO_ANSWER,))
    db.execute(
        "INSERT INTO connections (device_id, at, event, detail)"
        " SELECT device_id, max(at, ifnull((SELECT received FROM messages"
        "  WHERE device_id = line.device_id ORDER BY number DESC LIMIT 1), at)),"
        "  'disconnected', 'central ended without a word'"
        " FROM connections AS line WHERE event = 'connected' AND number = (SELECT max(number)"
        "  FROM connections WHERE device_id = line.device_id"
        "  AND event IN ('connected', 'disconnected'))"
    )


def connections(db: sqlite3.Connection, device_id: str, limit: int) -> list[Connection]:
    """Return the connection log, newest first."""
    rows = db.execute(
        "SELECT device_id, at, event, detail FROM connections WHERE device_id = ?"
        " ORDER BY number DESC LIMIT ?",
        (device_id, limit),
    )
    return [Connection(*row) for row in rows]
