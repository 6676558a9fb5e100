"""The outbox's tables. Each function is called inside one transaction of the store."""

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
"""The position of an entry in the queue: (sequence, "", 0). For a reading that was in memory while
the disk failed: (the sequence before it, the id of the queue in memory, its sequence there)."""

START: Position = (0, "", 0)

OUTBOX_ID = "outbox_id"  # Setting.
COLUMNS = "temperature, humidity, wall, uptime, boot_id, synchronised"
DROP_AT_ONCE = 200  # Readings in one step.
DROP_AT_MOST = 2000  # Readings in one transaction, which takes a slow board a second.
RANGES_KEPT = 50  # Dropped ranges in the status. Older ones are only counted.


@dataclass(frozen=True, slots=True)
class Entry:
    """A reading in the queue, always in degrees Celsius.

    `sequence` grows by one with each reading of its outbox, so that a receiver can prove that none
    is missing except dropped ones.
    """

    outbox_id: str
    sequence: int
    reading: Reading
    taken: Stamp
    position: Position

    @property
    def message_id(self) -> str:
        """The id of the message, the same each time it is sent."""
        return f"{self.outbox_id}:{self.sequence}"


def fresh_id(*, behind: str = "") -> str:
    """Return a new unique id that sorts after `behind`."""
    fresh = uuid.uuid4().hex[:12]
    return fresh if fresh > behind else behind + fresh


def own_id(database: sqlite3.Connection) -> str:
    """Return the id of the outbox in this file. A file without an id gets one."""
    row = database.execute("SELECT value FROM settings WHERE name = ?", (OUTBOX_ID,)).fetchone()
    if row is not None:
        return str(json.loads(row[0]))
    fresh = fresh_id()
    database.execute("INSERT INTO settings VALUES (?, ?)", (OUTBOX_ID, json.dumps(fresh)))
    return fresh


def count(database: sqlite3.Connection) -> int:
    """Return the number of readings."""
    return int(
        database.execute(
            "SELECT (SELECT count(*) FROM readings) + (SELECT count(*) FROM rescued)"
        ).fetchone()[0]
    )


def newest(database: sqlite3.Connection) -> int:
    """Return the highest sequence ever used, 0 for none."""
    row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'readings'").fetchone()
    return 0 if row is None else int(row[0])


def last(database: sqlite3.Connection) -> Position:
    """Return the last position ever used in this file."""
    sequence = newest(database)
    rescued = database.execute(
        "SELECT place, outbox_id, own FROM rescued WHERE place >= ? "
        "ORDER BY place DESC, outbox_id DESC, own DESC LIMIT 1",
        (sequence,),
    ).fetchone()
    return (sequence, "", 0) if rescued is None else rescued


def insert(database: sqlite3.Connection, reading: Reading, taken: Stamp) -> tuple[str, int]:
    """Add a reading. Returns the id of its outbox and its sequence."""
    cursor = database.execute(
        f"INSERT INTO readings ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants.
        _values(reading, taken),
    )
    return own_id(database), int(cursor.lastrowid or 0)


def undo_behind(database: sqlite3.Connection, sequence: int) -> None:
    """Remove the readings after `sequence`, and make their sequences available again."""
    database.execute("DELETE FROM readings WHERE sequence > ?", (sequence,))
    database.execute(
        "UPDATE sqlite_sequence SET seq = min(seq, ?) WHERE name = 'readings'", (sequence,)
    )


def insert_rescued(database: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Add readings that have positions and ids already.

    Some may be there: a write may succeed although the disk reports a failure.
    """
    database.executemany(
        f"INSERT INTO rescued (place, outbox_id, own, {COLUMNS}) "  # noqa: S608 - constants.
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(*entry.position, *_values(entry.reading, entry.taken)) for entry in entries],
    )


def behind(entries: Iterable[Entry], sequence: int) -> list[Entry]:
    """Return the same entries with positions after `sequence`."""
    return [replace(e, position=(sequence, *e.position[1:])) for e in entries]


def select(database: sqlite3.Connection, position: Position, *, limit: int) -> list[Entry]:
    """Return up to `limit` entries after `position`, in order."""
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
    """Remove entries. Returns their number."""
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
            continue  # It was in another file. Here its sequence belongs to another reading.
        removed += cursor.rowcount
    return removed


def drop(database: sqlite3.Connection, *, max_bytes: int, max_age: float, now: Stamp | None) -> int:
    """Drop the oldest readings above `max_bytes`, and those older than `max_age` seconds.

    With `now` None, age is not checked. Returns the number of dropped readings; the table `dropped`
    has their sequences. If it is DROP_AT_MOST or more, call it again.
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
    """Return the bytes of the file that are in use. Free pages are reused."""
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
    """Return readings whose true time is known and too old, DROP_AT_MOST of each table.

    After weeks without network and time there may be more.
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
    """Record dropped readings."""
    for gap in gaps:
        # Extend a range if possible.
        grown = database.execute(
            "UPDATE dropped SET last = ? WHERE outbox_id = ? AND last = ? AND reason = ?",
            (gap.last, gap.run, gap.first - 1, gap.reason),
        )
        if not grown.rowcount:
            database.execute(
                "INSERT INTO dropped VALUES (?, ?, ?, ?)",
                (gap.run, gap.first, gap.last, gap.reason),
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
