"""The durable queue: a reading stays in it from the moment it is taken until the hub has it.

Is: on disk before anything is sent; in order; each reading under one message id for ever; bounded
by age and by bytes, the oldest going first, counted and told. While the disk fails, a bounded
queue in memory, under an id of its own.
Is not: a history. What the hub has acknowledged is gone from here.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any

from agent import outbox_tables as tables
from agent.clock import Clock, Stamp
from agent.errors import StoreError
from agent.outbox_tables import START, Entry, Position
from agent.store import Store
from hw import Reading

__all__ = ["START", "Entry", "Outbox", "Position"]

log = logging.getLogger(__name__)

OUTBOX_ID = "outbox_id"
MOST_IN_MEMORY = 10_000  # Readings: a few megabytes, and a week at one a minute.
DAY = 86400.0  # Seconds.
AGE_CHECK = 600.0  # Seconds between two looks for readings that are too old.
BYTES_A_READING = 90  # In the file, where there are too few to measure.


class Outbox:
    """The queue in a Store. `waiting` counts the readings in it, on disk and in memory.

    It raises nothing when the disk fails: that is told in the log, once, and readings go on.
    """

    def __init__(
        self,
        store: Store,
        *,
        outbox_id: str,
        on_disk: int,
        newest: int,
        clock: Clock,
        max_age_days: float,
        max_megabytes: float,
    ) -> None:
        self.id = outbox_id
        self._store = store
        self._clock = clock
        self._max_age = max_age_days * DAY
        self._max_bytes = int(max_megabytes * 1_000_000)
        self._on_disk = on_disk
        self._newest = newest
        self._memory: deque[Entry] = deque()
        self._memory_id = _fresh_id()
        self._memory_sequence = 0
        self._acknowledged: dict[str, Entry] = {}
        self._failed = False
        self._dropping = False
        self._age_checked = float("-inf")

    @classmethod
    async def open(
        cls, store: Store, *, clock: Clock, max_age_days: float = 30, max_megabytes: float = 64
    ) -> "Outbox":
        """Take up the queue where it was left; a fresh file gets a fresh id. Raises StoreError."""
        outbox_id = await store.get(OUTBOX_ID)
        if outbox_id is None:
            outbox_id = _fresh_id()
            await store.put(OUTBOX_ID, outbox_id)
        return cls(
            store,
            outbox_id=outbox_id,
            on_disk=await store.run(tables.count),
            newest=await store.run(tables.newest),
            clock=clock,
            max_age_days=max_age_days,
            max_megabytes=max_megabytes,
        )

    @property
    def waiting(self) -> int:
        """How many readings wait to be sent or acknowledged."""
        return self._on_disk + len(self._memory)

    @property
    def newest(self) -> Position:
        """Where the newest reading on disk stands; everything taken later stands behind it."""
        return (self._newest, "", 0)

    async def add(self, reading: Reading, taken: Stamp) -> None:
        """Keep a reading. When this returns it survives a power cut, unless the disk has failed.

        Once begun it is carried through, even if whoever asked for it is cancelled.
        """
        await asyncio.shield(self._add(reading, taken))

    async def _add(self, reading: Reading, taken: Stamp) -> None:
        try:
            await self._rescue()
            self._newest = await self._store.run(lambda db: tables.insert(db, reading, taken))
        except StoreError as error:
            self._disk_failed(error)
            self._remember(reading, taken)
            return
        self._on_disk += 1
        await self._make_room()

    async def after(self, position: Position, *, limit: int) -> list[Entry]:
        """Return up to `limit` waiting readings that stand behind `position`, oldest first."""
        # Those that are acknowledged, and could not be removed yet, do not count.
        more = limit + len(self._acknowledged)
        try:
            entries = await self._store.run(
                lambda db: tables.select(db, self.id, position, limit=more)
            )
        except StoreError as error:
            self._disk_failed(error)
            entries = []
        known = {entry.position for entry in entries}
        entries += [
            entry
            for entry in self._memory
            if entry.position > position and entry.position not in known
        ]
        entries.sort(key=lambda entry: entry.position)
        new = [entry for entry in entries if entry.message_id not in self._acknowledged]
        return new[:limit]

    async def remove(self, entries: Sequence[Entry]) -> None:
        """Forget readings that the hub has acknowledged; carried through once begun."""
        await asyncio.shield(self._remove(entries))

    async def _remove(self, entries: Sequence[Entry]) -> None:
        # Until they are gone from the disk they are not given out again.
        self._acknowledged |= {entry.message_id: entry for entry in entries}
        gone = {entry.position for entry in entries}
        self._memory = deque(entry for entry in self._memory if entry.position not in gone)
        batch = list(self._acknowledged.values())
        try:
            removed = await self._store.run(lambda db: tables.delete(db, batch))
        except StoreError as error:
            self._disk_failed(error)
            return
        # In one step, and not `-= await ...`: that would read it before waiting.
        self._on_disk -= removed
        for entry in batch:
            self._acknowledged.pop(entry.message_id, None)
        if self.waiting == 0:
            self._dropping = False

    def _remember(self, reading: Reading, taken: Stamp) -> None:
        self._memory_sequence += 1
        position = (self._newest, self._memory_id, self._memory_sequence)
        entry = Entry(self._memory_id, self._memory_sequence, reading, taken, position)
        self._memory.append(entry)
        if len(self._memory) > MOST_IN_MEMORY:
            self._memory.popleft()
            if not self._dropping:
                log.warning("The memory for readings is full; the oldest of them are dropped.")
            self._dropping = True

    async def _rescue(self) -> None:
        """Bring what is in memory to the disk, under the ids that it has."""
        if not self._failed:
            return
        entries = list(self._memory)
        await self._store.run(lambda db: tables.insert_rescued(db, entries))
        kept = {entry.position for entry in entries}
        self._memory = deque(entry for entry in self._memory if entry.position not in kept)
        self._on_disk += len(entries)
        self._failed = False
        log.info("The disk can be used again; %d readings were brought to it.", len(entries))

    def _disk_failed(self, error: StoreError) -> None:
        if not self._failed:
            log.warning(
                "%s Until it can be used again, readings are kept in memory, at most %d.",
                error,
                MOST_IN_MEMORY,
            )
        self._failed = True

    async def _make_room(self) -> None:
        """Drop the oldest readings where they are too many, or too old."""
        now = None
        # Age can be told only by a clock that is right.
        if self._clock.uptime() - self._age_checked >= AGE_CHECK and self._clock.synchronised():
            self._age_checked = self._clock.uptime()
            now = self._clock.stamp()
        max_bytes, max_age, own = self._max_bytes, self._max_age, self.id

        try:
            dropped = await self._store.run(
                lambda db: tables.drop(db, own, max_bytes=max_bytes, max_age=max_age, now=now)
            )
        except StoreError as error:
            self._disk_failed(error)
            return
        self._on_disk -= dropped
        if dropped and not self._dropping:
            self._dropping = True
            log.warning(
                "There is no more room for readings, or they are too old: the oldest are dropped."
            )

    async def describe(self, interval: float) -> dict[str, Any]:
        """Return what `sensor-agent status` shows; `room_seconds` holds at one each `interval`."""
        try:
            on_disk = await self._store.run(tables.describe)
        except StoreError as error:
            return {"waiting": self.waiting, "error": str(error)}
        oldest = on_disk.pop("oldest") or (self._memory[0].taken if self._memory else None)
        used = on_disk.pop("bytes")
        a_reading = used / self._on_disk if self._on_disk >= 1000 else BYTES_A_READING  # noqa: PLR2004
        room = max(0.0, self._max_bytes - used) / a_reading * interval
        return {
            "waiting": self.waiting,
            "in_memory": len(self._memory),
            "oldest": None if oldest is None else self._clock.true_time(oldest)[0],
            "room_seconds": min(room, self._max_age),
            **on_disk,
        }


def _fresh_id() -> str:
    return uuid.uuid4().hex[:12]
