"""The durable queue: a reading stays in it from the moment it is taken until the hub has it.

Is: on disk before anything is sent; in order; each reading under one message id for ever.
Is not: a history. What the hub has acknowledged is gone from here.
"""

import asyncio
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from agent.clock import Stamp
from agent.store import Store
from hw import Reading

OUTBOX_ID = "outbox_id"


@dataclass(frozen=True, slots=True)
class Entry:
    """A reading that waits: degrees Celsius and % relative humidity, whatever unit is sent.

    `sequence` grows by one with each reading of this outbox, so that a receiver can see that
    none is missing.
    """

    outbox_id: str
    sequence: int
    reading: Reading
    taken: Stamp

    @property
    def message_id(self) -> str:
        """What the hub and its readers know the reading by, however often it is sent."""
        return f"{self.outbox_id}:{self.sequence}"


class Outbox:
    """The queue in a Store. Every method raises StoreError if the file fails."""

    def __init__(self, store: Store, *, outbox_id: str, waiting: int) -> None:
        self.id = outbox_id
        self.waiting = waiting
        self._store = store

    @classmethod
    async def open(cls, store: Store) -> "Outbox":
        """Take up the queue where it was left. A fresh file gets a fresh id."""
        outbox_id = await store.get(OUTBOX_ID)
        if outbox_id is None:
            outbox_id = uuid.uuid4().hex[:12]
            await store.put(OUTBOX_ID, outbox_id)

        def count(database: sqlite3.Connection) -> int:
            return int(database.execute("SELECT count(*) FROM readings").fetchone()[0])

        return cls(store, outbox_id=outbox_id, waiting=await store.run(count))

    async def add(self, reading: Reading, taken: Stamp) -> Entry:
        """Commit a reading. When this returns it survives a power cut.

        Once begun it is carried through, even if whoever asked for it is cancelled.
        """
        return await asyncio.shield(self._add(reading, taken))

    async def _add(self, reading: Reading, taken: Stamp) -> Entry:
        def work(database: sqlite3.Connection) -> int:
            cursor = database.execute(
                "INSERT INTO readings (temperature, humidity, wall, uptime, boot_id, synchronised) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    reading.temperature,
                    reading.humidity,
                    taken.wall,
                    taken.uptime,
                    taken.boot_id,
                    taken.synchronised,
                ),
            )
            assert cursor.lastrowid is not None  # noqa: S101 - an INSERT always has one.
            return cursor.lastrowid

        sequence = await self._store.run(work)
        self.waiting += 1
        return Entry(self.id, sequence, reading, taken)

    async def after(self, sequence: int, *, limit: int) -> list[Entry]:
        """Return up to `limit` waiting readings with a higher sequence, oldest first."""

        def work(database: sqlite3.Connection) -> list[Entry]:
            rows = database.execute(
                "SELECT sequence, temperature, humidity, wall, uptime, boot_id, synchronised "
                "FROM readings WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (sequence, limit),
            )
            return [
                Entry(
                    self.id,
                    number,
                    Reading(temperature, humidity),
                    Stamp(wall, uptime, boot_id, bool(synchronised)),
                )
                for number, temperature, humidity, wall, uptime, boot_id, synchronised in rows
            ]

        return await self._store.run(work)

    async def newest(self) -> int:
        """Return the highest sequence ever given, 0 for none."""

        def work(database: sqlite3.Connection) -> int:
            row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'readings'")
            return int((row.fetchone() or (0,))[0])

        return await self._store.run(work)

    async def remove(self, sequences: Sequence[int]) -> None:
        """Forget readings that the hub has acknowledged; carried through once begun."""
        await asyncio.shield(self._remove(sequences))

    async def _remove(self, sequences: Sequence[int]) -> None:
        def work(database: sqlite3.Connection) -> int:
            return sum(
                database.execute("DELETE FROM readings WHERE sequence = ?", (number,)).rowcount
                for number in sequences
            )

        removed = await self._store.run(work)
        # In one step, and not `-= await ...`: that would read `waiting` before waiting.
        self.waiting -= removed
