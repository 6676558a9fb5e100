"""All devices at a glance, and their tags, in SQL. Each function is a query for `Store`."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from central.records import Device
from central.storage import devices

INTERVAL = "telemetryInterval"  # The property in which sensor-agent reports its interval.
LOOKED_AT = 6  # Messages by which the interval of a device is estimated that reports none.

GLANCES = f"""
    SELECT devices.*,
        (SELECT received FROM messages WHERE device_id = devices.id
         ORDER BY number DESC LIMIT 1) AS newest,
        (SELECT json_group_array(tag) FROM (
            SELECT tag FROM tags WHERE device_id = devices.id ORDER BY tag)) AS tags,
        CASE WHEN json_valid(reported) THEN ifnull(
            json_extract(reported, '$.{INTERVAL}.value'),
            json_extract(reported, '$.{INTERVAL}')) END AS interval,
        devices.id IN (SELECT device_id FROM alerts WHERE returned IS NULL) AS alert,
        line.at AS line_at, line.event AS line_event
    FROM devices JOIN twins ON twins.device_id = devices.id
    LEFT JOIN connections AS line ON line.number = (
        SELECT number FROM connections WHERE device_id = devices.id
        AND event IN ('connected', 'disconnected') ORDER BY number DESC LIMIT 1)
    WHERE ?1 IS NULL OR devices.id = ?1 ORDER BY devices.id
"""  # noqa: S608 - the name is ours


@dataclass(frozen=True, slots=True)
class Glance:
    """A device, and when it was last heard from (unix seconds)."""

    device: Device
    tags: tuple[str, ...]
    alert: bool  # Whether it has an alert whose condition still holds.
    newest: float | None  # When its newest message was received.
    line_at: float | None  # When it last connected or disconnected,
    disconnected: bool  # and whether it did the latter.
    interval: object  # As the device reports it: any JSON value, or None.
    received: tuple[float, ...]  # Of the newest messages, if no interval is reported.


def glances(db: sqlite3.Connection, device_id: str | None = None) -> list[Glance]:
    """Return all devices in the order of their ids, or one. Raise UnknownDevice."""
    found = [_glance(db, row) for row in db.execute(GLANCES, (device_id,))]
    if device_id is not None and not found:
        devices.get(db, device_id)
    return found


def _glance(db: sqlite3.Connection, row: sqlite3.Row) -> Glance:
    received: tuple[float, ...] = ()
    if row["interval"] is None and row["newest"] is not None:
        rows = db.execute(
            "SELECT received FROM messages WHERE device_id = ? ORDER BY number DESC LIMIT ?",
            (row["id"], LOOKED_AT),
        )
        received = tuple(each["received"] for each in rows)
    return Glance(
        device=devices.to_device(row),
        tags=tuple(json.loads(row["tags"])),
        alert=bool(row["alert"]),
        newest=row["newest"],
        line_at=row["line_at"],
        disconnected=row["line_event"] == "disconnected",
        interval=row["interval"],
        received=received,
    )


def tags(db: sqlite3.Connection, device_id: str) -> tuple[str, ...]:
    """Return the tags of a device."""
    rows = db.execute("SELECT tag FROM tags WHERE device_id = ? ORDER BY tag", (device_id,))
    return tuple(str(row["tag"]) for row in rows)


def set_tags(db: sqlite3.Connection, device_id: str, tags: Iterable[str]) -> None:
    """Replace the tags of a device. Raise UnknownDevice."""
    devices.get(db, device_id)
    db.execute("DELETE FROM tags WHERE device_id = ?", (device_id,))
    db.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?)", [(device_id, tag) for tag in tags])


def tagged(db: sqlite3.Connection, tag: str) -> list[str]:
    """Return the ids of the devices with a tag."""
    rows = db.execute("SELECT device_id FROM tags WHERE tag = ? ORDER BY device_id", (tag,))
    return [str(row["device_id"]) for row in rows]
