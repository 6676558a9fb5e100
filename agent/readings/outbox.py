"""The durable queue: it keeps each reading until the hub has acknowledged it.

Readings are on disk before they are sent, in order, each with one message id for life. The queue is
bounded by age and bytes; the oldest readings are dropped first, counted and logged. While the disk
fails, readings are kept in a bounded queue in memory, which has an id of its own.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from agent.errors import StoreError
from agent.logs.events import LogEvent
from agent.readings import outbox_tables as tables
from agent.readings.clock import Clock, Stamp
from agent.readings.outbox_tables import START, Entry, Position
from agent.status import DroppedReadings, OutboxPart
from agent.storage.set_aside import set_aside_files
from agent.storage.store import Store
from hw import Reading

__all__ = ["START", "Entry", "Outbox", "Position"]

log = logging.getLogger(__name__)

MAX_IN_MEMORY = 10_000  # Readings: a few megabytes, or a week at one a minute.
GAPS_IN_MEMORY = 50
CLOSE_DEADLINE = 1.0  # Seconds to write the readings in memory to disk when the daemon stops.
DAY = 86400.0  # Seconds.
AGE_CHECK = 600.0  # Seconds between two searches for readings that are too old.
BYTES_A_READING = 90  # Used while there are too few readings to measure it.


class Outbox:
    """The queue, in a Store.

    Nothing raises if the disk fails: this is logged once, and readings go to memory. `id` is None
    until the file could be read. `added` and `removed` are set with each change; those who wait
    for them clear them. `era` grows when positions are no longer valid: the file was damaged and
    replaced, or a page lacked readings on disk that can be read again.
    """

    def __init__(
        self, store: Store, *, clock: Clock, max_age_days: float, max_megabytes: float
    ) -> None:
        self.id: str | None = None
        self.era = 0
        self.added = asyncio.Event()
        self.removed = asyncio.Event()
        self._store = store
        self._clock = clock
        self._max_age = max_age_days * DAY
        self._max_bytes = int(max_megabytes * 1_000_000)
        self._on_disk = 0
        self._last = START  # The last position on disk, removed or not.
        self._memory: deque[Entry] = deque()
        self._memory_id = tables.fresh_id()
        self._memory_sequence = 0
        self._gaps: list[DroppedReadings] = []  # In memory, until the disk is back.
        self._acknowledged: dict[str, Entry] = {}
        self._failed = False
        self._left_out = False  # A page lacked readings on disk.
        self._dropped = 0  # Since the queue was last empty.
        self._age_checked = float("-inf")

    @classmethod
    async def open(
        cls, store: Store, *, clock: Clock, max_age_days: float = 30, max_megabytes: float = 64
    ) -> "Outbox":
        """Open the queue. A new file gets a new id."""
        outbox = cls(store, clock=clock, max_age_days=max_age_days, max_megabytes=max_megabytes)
        try:
            await outbox._take_up()
        except StoreError as error:
            outbox._disk_failed(error)
        return outbox

    async def close(self) -> None:
        """Try to write the readings in memory to disk. Raises nothing."""
        if not self._memory:
            return
        with suppress(TimeoutError):  # The disk hangs, as was logged when it failed.
            async with asyncio.timeout(CLOSE_DEADLINE):
                await self._reopen()

    @property
    def waiting(self) -> int:
        """Number of readings on disk and in memory."""
        return self._on_disk + len(self._memory)

    @property
    def newest(self) -> Position:
        """The position of the newest reading. Later readings have greater positions."""
        return self._memory[-1].position if self._memory else self._last

    async def add(self, reading: Reading, taken: Stamp) -> None:
        """Add a reading. When this returns, a power cut does not lose it, unless the disk failed.

        A cancellation does not interrupt it.
        """
        await asyncio.shield(self._add(reading, taken))
        self.added.set()

    async def _add(self, reading: Reading, taken: Stamp) -> None:
        try:
            if self._failed:
                await self._take_up()
            own, sequence = await self._store.run(lambda db: tables.insert(db, reading, taken))
        except StoreError as error:
            self._disk_failed(error)
            self._keep_in_memory(reading, taken)
            return
        if own == self.id:
            self._last = (sequence, "", 0)
            self._on_disk += 1
        else:
            await self._reopen()
        await self._make_room()

    async def after(self, position: Position, *, limit: int) -> list[Entry]:
        """Return up to `limit` readings after `position`, oldest first."""
        # Acknowledged readings that could not be removed yet do not count.
        more = limit + sum(entry.position > position for entry in self._acknowledged.values())
        try:
            entries = await self._store.run(lambda db: tables.select(db, position, limit=more))
        except StoreError as error:
            self._disk_failed(error)
            self._left_out = True
            entries = []
        if self._failed:
            # A write may succeed although the disk reports a failure. Such a reading is in memory
            # too, with another id, and must not be sent twice.
            entries = [entry for entry in entries if entry.position[0] <= self._last[0]]
        known = {entry.message_id for entry in entries}
        entries += [
            entry
            for entry in self._memory
            if entry.position > position and entry.message_id not in known
        ]
        entries.sort(key=lambda entry: entry.position)
        new = [entry for entry in entries if entry.message_id not in self._acknowledged]
        return new[:limit]

    async def remove(self, entries: Sequence[Entry]) -> None:
        """Remove readings that the hub has acknowledged. A cancellation does not interrupt it."""
        await asyncio.shield(self._remove(entries))
        self.removed.set()

    async def _remove(self, entries: Sequence[Entry]) -> None:
        # `after` does not return them again, even if they cannot be removed from disk yet.
        self._acknowledged |= {entry.message_id: entry for entry in entries}
        only_in_memory = self._forget({entry.message_id for entry in entries})
        batch = list(self._acknowledged.values())
        try:
            removed = await self._store.run(lambda db: tables.delete(db, batch))
        except StoreError as error:
            self._disk_failed(error)
            for message_id in only_in_memory:
                self._acknowledged.pop(message_id, None)
            return
        # Not `-= await ...`, which would read the value before waiting.
        self._on_disk -= removed
        for entry in batch:
            self._acknowledged.pop(entry.message_id, None)
        if self.waiting == 0 and self._dropped:
            log.warning(
                "%d readings were dropped before they could be sent.",
                self._dropped,
                extra=LogEvent.READINGS_DROPPED.about(READINGS=self._dropped),
            )
            self._dropped = 0

    async def _take_up(self) -> None:
        """Read the state of the file, and write the readings in memory to it, with their ids."""
        known, entries, gaps = self.id, list(self._memory), self._gaps.copy()
        sequence = self._last[0]

        def work(database: Any) -> tuple[str, Position, int]:
            own = tables.own_id(database)
            if own == known:
                # These are in memory too (see `after`), and were never returned.
                tables.undo_behind(database, sequence)
            # In another file they come after all its readings.
            newest = tables.newest(database)
            placed = entries if own == known else tables.behind(entries, newest)
            tables.insert_rescued(database, placed)
            tables.note_dropped(database, gaps)
            return own, tables.last(database), tables.count(database)

        own, self._last, self._on_disk = await self._store.run(work)
        if self._memory_sequence == 0:
            # Readings that an earlier run wrote from memory come before those of this run.
            self._memory_id = tables.fresh_id(behind=self._last[1])
        self._forget({entry.message_id for entry in entries})
        del self._gaps[: len(gaps)]
        if self._failed:
            log.info(
                "The disk works again. Wrote %d readings from memory.",
                len(entries),
                extra=LogEvent.DISK_RECOVERED.about(READINGS=len(entries)),
            )
            self._failed = False
        if own != self.id or self._left_out:
            self.id = own
            self.era += 1
            self._left_out = False

    async def _reopen(self) -> None:
        """Open the file again, which may be another one. A failure is only logged."""
        try:
            await self._take_up()
        except StoreError as error:
            self._disk_failed(error)

    def _keep_in_memory(self, reading: Reading, taken: Stamp) -> None:
        self._memory_sequence += 1
        position = (self._last[0], self._memory_id, self._memory_sequence)
        self._memory.append(Entry(self._memory_id, self._memory_sequence, reading, taken, position))
        if len(self._memory) > MAX_IN_MEMORY:
            lost = self._memory.popleft()
            if not self._dropped:
                log.warning(
                    "Memory for readings is full. The oldest ones are dropped.",
                    extra=LogEvent.READINGS_DROPPED.about(),
                )
            self._dropped += 1
            self._note_gap(lost)

    def _note_gap(self, lost: Entry) -> None:
        first = lost.sequence
        if self._gaps and self._gaps[-1].last == lost.sequence - 1:
            first = self._gaps.pop().first
        self._gaps.append(DroppedReadings(lost.outbox_id, first, lost.sequence, "memory"))
        del self._gaps[:-GAPS_IN_MEMORY]

    def _forget(self, message_ids: set[str]) -> set[str]:
        """Remove readings from memory. Returns the ids that were there."""
        forgotten = message_ids & {entry.message_id for entry in self._memory}
        if forgotten:
            self._memory = deque(e for e in self._memory if e.message_id not in forgotten)
        return forgotten

    def _disk_failed(self, error: StoreError) -> None:
        if not self._failed:
            log.warning(
                "%s Readings are kept in memory, at most %d, until the disk works again.",
                error,
                MAX_IN_MEMORY,
                extra=LogEvent.DISK_FAILED.about(),
            )
        self._failed = True

    async def _make_room(self) -> None:
        """Drop the oldest readings if there are too many, or if they are too old."""
        now = None
        # Age is known only if the clock is right.
        if self._clock.uptime() - self._age_checked >= AGE_CHECK and self._clock.synchronised():
            self._age_checked = self._clock.uptime()
            now = self._clock.stamp()
        max_bytes, max_age = self._max_bytes, self._max_age
        try:
            dropped = await self._store.run(
                lambda db: tables.drop(db, max_bytes=max_bytes, max_age=max_age, now=now)
            )
        except StoreError as error:
            self._disk_failed(error)
            return
        self._on_disk -= dropped
        if dropped >= tables.DROP_AT_MOST:
            self._age_checked = float("-inf")  # There may be more to drop with the next reading.
        if dropped and not self._dropped:
            log.warning(
                "The queue is full, or readings are too old. The oldest ones are dropped.",
                extra=LogEvent.READINGS_DROPPED.about(),
            )
        self._dropped += dropped

    async def status(self, interval: float) -> OutboxPart:
        """Return this part of the status; `room_seconds` is for one reading each `interval`."""
        error, oldest, used, gaps = None, None, 0, []
        try:
            on_disk = await self._store.run(tables.describe)
        except StoreError as failure:
            error = str(failure)
            room = float(MAX_IN_MEMORY - len(self._memory))
        else:
            oldest, used, gaps = on_disk["oldest"], on_disk["bytes"], on_disk["dropped"]
            a_reading = used / self._on_disk if self._on_disk >= 1000 else BYTES_A_READING  # noqa: PLR2004
            room = max(0.0, self._max_bytes - used) / a_reading
        if oldest is None and self._memory:
            oldest = self._memory[0].taken
        return OutboxPart(
            waiting=self.waiting,
            in_memory=len(self._memory),
            oldest=None if oldest is None else self._clock.true_utc(oldest),
            room_seconds=min(room * interval, self._max_age),
            dropped=(*gaps, *self._gaps),
            set_aside=set_aside_files(self._store.path.parent),
            error=error,
        )
