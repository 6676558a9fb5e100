"""The outbox's tables: each function is one piece of work inside one transaction of the store."""

import json
import sqlite3
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from agent.readings.clock import Stamp
from agent.status import DroppedReadings
from hw import Reading

Position = tuple[int, str, int]
"""Where an entry stands in the queue: (sequence, "", 0); or, for one that was in memory while the
disk failed, (the sequence before it, its outbox's id, its own sequence)."""

START: Position = (0, "", 0)

OUTBOX_ID = "outbox_id"  # Setting.
COLUMNS = "temperature, humidity, wall, uptime, boot_id, synchronised"
DROP_AT_ONCE = 200  # Readings: room is made in steps.
DROP_AT_MOST = 2000  # Readings in one transaction: a slow board does it in a second.
RANGES_KEPT = 50  # Dropped ranges that are told; older ones are only counted.


@dataclass(frozen=True, slots=True)
class Entry:
    """A reading that waits: degrees Celsius and % relative humidity, whatever unit is sent.

    `sequence` grows by one with each reading of its outbox, so that a receiver can see that none
    is missing but those that are told as dropped.
    """

    outbox_id: str
    sequence: int
    reading: Reading
    taken: Stamp
    position: Position

    @property
    def message_id(self) -> str:
        """What the hub and its readers know the reading by, however often it is sent."""
        return f"{self.outbox_id}:{self.sequence}"


def fresh_id(*, behind: str = "") -> str:
    """Return an id that no other outbox has, and that comes after another in order."""
    fresh = uuid.uuid4().hex[:12]
    return fresh if fresh > behind else behind + fresh


def own_id(database: sqlite3.Connection) -> str:
    """Return the id of the outbox in this file; a file without one gets one."""
    row = database.execute("SELECT value FROM settings WHERE name = ?", (OUTBOX_ID,)).fetchone()
    if row is not None:
        return str(json.loads(row[0]))
    fresh = fresh_id()
    database.execute("INSERT INTO settings VALUES (?, ?)", (OUTBOX_ID, json.dumps(fresh)))
    return fresh


def count(database: sqlite3.Connection) -> int:
    """Return how many readings wait."""
    return int(
        database.execute(
            "SELECT (SELECT count(*) FROM readings) + (SELECT count(*) FROM rescued)"
        ).fetchone()[0]
    )


def newest(database: sqlite3.Connection) -> int:
    """Return the highest sequence ever given, 0 for none."""
    row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'readings'").fetchone()
    return 0 if row is None else int(row[0])


def last(database: sqlite3.Connection) -> Position:
    """Return where the last entry stands or stood; nothing in the file is behind that."""
    sequence = newest(database)
    rescued = database.execute(
        "SELECT place, outbox_id, own FROM rescued WHERE place >= ? "
        "ORDER BY place DESC, outbox_id DESC, own DESC LIMIT 1",
        (sequence,),
    ).fetchone()
    return (sequence, "", 0) if rescued is None else rescued


def insert(database: sqlite3.Connection, reading: Reading, taken: Stamp) -> tuple[str, int]:
    """Add a reading; return the id of the outbox that it is in, and its sequence there."""
    cursor = database.execute(
        f"INSERT INTO readings ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants.
        _values(reading, taken),
    )
    return own_id(database), int(cursor.lastrowid or 0)


def undo_behind(database: sqlite3.Connection, sequence: int) -> None:
    """Remove the readings behind `sequence` as if they had never been added."""
    database.execute("DELETE FROM readings WHERE sequence > ?", (sequence,))
    database.execute(
        "UPDATE sqlite_sequence SET seq = min(seq, ?) WHERE name = 'readings'", (sequence,)
    )


def insert_rescued(database: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Add readings that have their place and their ids already.

    Some may be there: a disk can fail to say that it has kept what it has kept.
    """
    database.executemany(
        f"INSERT INTO rescued (place, outbox_id, own, {COLUMNS}) "  # noqa: S608 - constants.
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(*entry.position, *_values(entry.reading, entry.taken)) for entry in entries],
    )


def behind(entries: Iterable[Entry], sequence: int) -> list[Entry]:
    """Return the same entries, standing behind `sequence`."""
    return [replace(e, position=(sequence, *e.position[1:])) for e in entries]


def select(database: sqlite3.Connection, position: Position, *, limit: int) -> list[Entry]:
    """Return up to `limit` entries behind `position`, in order."""
    place, outbox_id, own = position
    rows = database.execute(
        f"SELECT sequence, '', 0, {COLUMNS} FROM readings "  # noqa: S608 - constants.
        "WHERE sequence > ? ORDER BY sequence LIMIT ?",
        (place, limit),
    ).fetchall()
    rows += database.execute(
        f"SELECT place, outbox_id, own, {COLUMNS} FROM rescued "  # noqa: S608 - constants.
        "WHERE (place, outbox_id, own) > (?, ?, ?) ORDER BY place, outbox_id, own LIMIT ?",
        (place, outbox_id, own, limit),
    ).fetchall()
    rows.sort(key=lambda row: row[:3])
    this = own_id(database)
    return [_entry(this, row) for row in rows[:limit]]


def delete(database: sqlite3.Connection, entries: Iterable[Entry]) -> int:
    """Remove entries and return how many there were."""
    removed = 0
    own = own_id(database)
    for entry in entries:
        if entry.outbox_id == own:
            cursor = database.execute("DELETE FROM readings WHERE sequence = ?", (entry.sequence,))
        elif entry.position[1]:
            cursor = database.execute(
                "DELETE FROM rescued WHERE outbox_id = ? AND own = ?",
                (entry.outbox_id, entry.sequence),
            )
        else:
            continue  # It went with the file that it was in; here its number is another's.
        removed += cursor.rowcount
    return removed


def drop(database: sqlite3.Connection, *, max_bytes: int, max_age: float, now: Stamp | None) -> int:
    """Drop the oldest while there are more than `max_bytes`, and the older than `max_age` seconds.

    `now` None leaves age alone. Returns how many were dropped; which is kept in `dropped`. From
    DROP_AT_MOST on there may be more to drop, which is for the next call.
    """
    total = 0
    while total < DROP_AT_MOST and used_bytes(database) > max_bytes:
        oldest = select(database, START, limit=DROP_AT_ONCE)
        if not oldest:
            break
        total += _give_up(database, oldest, "room")
    if now is not None and total < DROP_AT_MOST:
        total += _give_up(database, _too_old(database, max_age, now), "age")
    return total


def used_bytes(database: sqlite3.Connection) -> int:
    """Return the bytes of the file that are in use; what was freed is used again."""
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def describe(database: sqlite3.Connection) -> dict[str, Any]:
    """Return the oldest stamp, the bytes in use, and what was dropped."""
    oldest = select(database, START, limit=1)
    gaps = database.execute("SELECT outbox_id, first, last, reason FROM dropped ORDER BY rowid")
    return {
        "oldest": oldest[0].taken if oldest else None,
        "bytes": used_bytes(database),
        "dropped": [DroppedReadings(*row) for row in gaps],
    }


def _too_old(database: sqlite3.Connection, max_age: float, now: Stamp) -> list[Entry]:
    """Return readings whose true time is known and too long ago, of each table the oldest.

    Not all: after weeks without network and time, most that waits is too old at one stroke.
    """
    entries = []
    own = own_id(database)
    for table, place in (("readings", "sequence, '', 0"), ("rescued", "place, outbox_id, own")):
        rows = database.execute(
            f"SELECT {place}, {COLUMNS} FROM {table} "  # noqa: S608 - constants.
            "WHERE (synchronised AND wall < ?) OR (boot_id = ? AND uptime < ?) "
            "ORDER BY 1, 2, 3 LIMIT ?",
            (now.wall - max_age, now.boot_id, now.uptime - max_age, DROP_AT_MOST),
        )
        entries += [_entry(own, row) for row in rows]
    return entries


def _give_up(database: sqlite3.Connection, entries: list[Entry], reason: str) -> int:
    note_dropped(
        database, [DroppedReadings(e.outbox_id, e.sequence, e.sequence, reason) for e in entries]
    )
    return delete(database, entries)


def note_dropped(database: sqlite3.Connection, gaps: Iterable[DroppedReadings]) -> None:
    """Keep which readings were given up."""
    for gap in gaps:
        # A range that goes on is one range.
        grown = database.execute(
            "UPDATE dropped SET last = ? WHERE outbox_id = ? AND last = ? AND reason = ?",
            (gap.last, gap.outbox_id, gap.first - 1, gap.reason),
        )
        if not grown.rowcount:
            database.execute(
                "INSERT INTO dropped VALUES (?, ?, ?, ?)",
                (gap.outbox_id, gap.first, gap.last, gap.reason),
            )
    database.execute(
        "DELETE FROM dropped WHERE rowid <= (SELECT max(rowid) FROM dropped) - ?", (RANGES_KEPT,)
    )


def _values(reading: Reading, taken: Stamp) -> tuple[Any, ...]:
    return (
        reading.temperature,
        reading.humidity,
        taken.wall,
        taken.uptime,
        taken.boot_id,
        taken.synchronised,
    )


def _entry(own_outbox: str, row: tuple[Any, ...]) -> Entry:
    place, outbox_id, own, temperature, humidity, wall, uptime, boot_id, synchronised = row
    return Entry(
        outbox_id or own_outbox,
        own if outbox_id else place,
        Reading(temperature, humidity),
        Stamp(wall, uptime, boot_id, bool(synchronised)),
        (place, outbox_id, own),
    )
