"""Deletes old messages and commands, by age and by the size of the database.

Deleted messages do not count as missing.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress

from central.errors import StoreError
from central.storage import accounts, command_queue, completeness, rules
from central.storage.store import Store
from central.storage.telemetry import fields

DAY = 86400.0
MEGABYTE = 1024 * 1024
SLICE = 500  # Messages deleted at once, so that other queries need not wait long.
EVERY = 60.0  # Seconds between two checks.


async def keep_within(
    store: Store, *, days: float, megabytes: float, clock: Callable[[], float]
) -> None:
    """Delete what is older than `days`, or in excess of `megabytes` (MiB), until cancelled."""
    while True:
        before = clock() - days * DAY
        with suppress(StoreError):  # The store has logged it. The next check may succeed.
            await store.run(command_queue.forget_expired, clock())
            await store.run(accounts.forget, before=before, now=clock())
            await store.run(rules.forget, before)
            more = True
            while more:
                more = await store.run(forget, before=before, most=megabytes * MEGABYTE)
        await asyncio.sleep(EVERY)


def forget(db: sqlite3.Connection, *, before: float, most: float) -> bool:
    """Delete some of what was recorded before `before` or exceeds `most` bytes, the oldest first.

    Return whether there may be more to delete.
    """
    db.execute(
        "DELETE FROM commands WHERE asked < ? AND id NOT IN (SELECT command_id FROM queue)",
        (before,),
    )
    completeness.forget_runs(db, before)
    too_old = db.execute(
        "SELECT number FROM messages WHERE number <= (SELECT min(number) FROM messages) + ?"
        " AND received < ?",
        (SLICE, before),
    )
    numbers = [row["number"] for row in too_old]
    if not numbers and bytes_used(db) > most:
        oldest = db.execute("SELECT number FROM messages ORDER BY number LIMIT ?", (SLICE,))
        numbers = [row["number"] for row in oldest]
    for number in numbers:
        _delete_message(db, number)
    return bool(numbers)


def bytes_used(db: sqlite3.Connection) -> int:
    """Return the bytes in use. The file is larger: SQLite reuses the space of deleted rows."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _delete_message(db: sqlite3.Connection, number: int) -> None:
    (message,) = db.execute(
        "DELETE FROM messages WHERE number = ? RETURNING device_id, received, created, body,"
        " json_extract(system, '$.component') AS component",
        (number,),
    ).fetchall()
    time = message["received"] if message["created"] is None else message["created"]
    key = message["device_id"], message["component"] or ""
    db.executemany(
        "DELETE FROM telemetry"
        " WHERE device_id = ? AND component = ? AND name = ? AND time = ? AND number = ?",
        [(*key, name, time, number) for name, _ in fields(message["body"])],
    )
