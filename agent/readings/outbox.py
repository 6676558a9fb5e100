"""The durable queue: a reading stays in it from the moment it is taken until the hub has it.

Is: on disk before anything is sent; in order; each reading under one message id for ever; bounded
by age and by bytes, the oldest going first, counted and told. While the disk fails, a bounded
queue in memory, under an id of its own.
Is not: a history. What the hub has acknowledged is gone from here.
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
from agent.status import DroppedReadings, OutboxPart, SetAsideFile
from agent.storage.store import Store
from agent.storage.store_file import SET_ASIDE
from hw import Reading

__all__ = ["START", "Entry", "Outbox", "Position"]

log = logging.getLogger(__name__)

MOST_IN_MEMORY = 10_000  # Readings: a few megabytes, and a week at one a minute.
GAPS_IN_MEMORY = 50
LAST_CHANCE = 1.0  # Seconds, when the daemon stops, for what is in memory to come to the disk.
DAY = 86400.0  # Seconds.
AGE_CHECK = 600.0  # Seconds between two looks for readings that are too old.
BYTES_A_READING = 90  # In the file, where there are too few to measure.


class Outbox:
    """The queue in a Store. `waiting` counts the readings in it, on disk and in memory.

    It raises nothing when the disk fails: that is told in the log, once, and readings go on.
    `id` is None until the file could be read. `era` grows when what stands behind a position is
    no longer what it was: the file turns out to be another one, damaged and begun afresh, or what
    is in it was left out of a page because it could not be read, and can be again.
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
        self._last = START  # On disk; what was removed counts.
        self._memory: deque[Entry] = deque()
        self._memory_id = tables.fresh_id()
        self._memory_sequence = 0
        self._gaps: list[DroppedReadings] = []  # In memory, until the disk is back.
        self._acknowledged: dict[str, Entry] = {}
        self._failed = False
        self._left_out = False  # A page lacks what is on disk.
        self._dropped = 0  # Since the queue was last empty.
        self._age_checked = float("-inf")

    @classmethod
    async def open(
        cls, store: Store, *, clock: Clock, max_age_days: float = 30, max_megabytes: float = 64
    ) -> "Outbox":
        """Take up the queue where it was left; a fresh file gets a fresh id."""
        outbox = cls(store, clock=clock, max_age_days=max_age_days, max_megabytes=max_megabytes)
        try:
            await outbox._take_up()
        except StoreError as error:
            outbox._disk_failed(error)
        return outbox

    async def close(self) -> None:
        """Bring to the disk what is in memory, should it be usable again. Raises nothing."""
        if not self._memory:
            return
        with suppress(TimeoutError):  # A disk that hangs: told already when it began to fail.
            async with asyncio.timeout(LAST_CHANCE):
                await self._look_again()

    @property
    def waiting(self) -> int:
        """How many readings wait to be sent or acknowledged."""
        return self._on_disk + len(self._memory)

    @property
    def newest(self) -> Position:
        """Where the newest reading stands; everything taken later stands behind it."""
        return self._memory[-1].position if self._memory else self._last

    async def add(self, reading: Reading, taken: Stamp) -> None:
        """Keep a reading. When this returns it survives a power cut, unless the disk has failed.

        Once begun it is carried through, even if whoever asked for it is cancelled.
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
            await self._look_again()
        await self._make_room()

    async def after(self, position: Position, *, limit: int) -> list[Entry]:
        """Return up to `limit` waiting readings that stand behind `position`, oldest first."""
        # Those that are acknowledged, and could not be removed yet, do not count.
        more = limit + sum(entry.position > position for entry in self._acknowledged.values())
        try:
            entries = await self._store.run(lambda db: tables.select(db, position, limit=more))
        except StoreError as error:
            self._disk_failed(error)
            self._left_out = True
            entries = []
        if self._failed:
            # A disk can fail to say that it has kept what it has kept. That reading went to
            # memory, under another id, and must not be sent under both.
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
        """Forget readings that the hub has acknowledged; carried through once begun."""
        await asyncio.shield(self._remove(entries))
        self.removed.set()

    async def _remove(self, entries: Sequence[Entry]) -> None:
        # Until they are gone from the disk they are not given out again.
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
        # In one step, and not `-= await ...`: that would read it before waiting.
        self._on_disk -= removed
        for entry in batch:
            self._acknowledged.pop(entry.message_id, None)
        if self.waiting == 0 and self._dropped:
            log.warning(
                "%d readings were dropped before the hub could have them.",
                self._dropped,
                extra=LogEvent.READINGS_DROPPED.about(READINGS=self._dropped),
            )
            self._dropped = 0

    async def _take_up(self) -> None:
        """Learn what is on disk, and bring to it what is in memory, under the ids that it has."""
        known, entries, gaps = self.id, list(self._memory), self._gaps.copy()
        sequence = self._last[0]

        def work(database: Any) -> tuple[str, Position, int]:
            own = tables.own_id(database)
            if own == known:
                # These are in memory, too; see `after`. Nobody was given them.
                tables.undo_behind(database, sequence)
            # In another file they stand behind all that is there.
            newest = tables.newest(database)
            placed = entries if own == known else tables.behind(entries, newest)
            tables.insert_rescued(database, placed)
            tables.note_dropped(database, gaps)
            return own, tables.last(database), tables.count(database)

        own, self._last, self._on_disk = await self._store.run(work)
        if self._memory_sequence == 0:
            # What an earlier run brought to the disk comes before what this one may have to.
            self._memory_id = tables.fresh_id(behind=self._last[1])
        self._forget({entry.message_id for entry in entries})
        del self._gaps[: len(gaps)]
        if self._failed:
            log.info(
                "The disk can be used again; %d readings were brought to it.",
                len(entries),
                extra=LogEvent.DISK_RECOVERED.about(READINGS=len(entries)),
            )
            self._failed = False
        if own != self.id or self._left_out:
            self.id = own
            self.era += 1
            self._left_out = False

    async def _look_again(self) -> None:
        """Take up the file, another one perhaps; a failure is only told."""
        try:
            await self._take_up()
        except StoreError as error:
            self._disk_failed(error)

    def _keep_in_memory(self, reading: Reading, taken: Stamp) -> None:
        self._memory_sequence += 1
        position = (self._last[0], self._memory_id, self._memory_sequence)
        self._memory.append(Entry(self._memory_id, self._memory_sequence, reading, taken, position))
        if len(self._memory) > MOST_IN_MEMORY:
            lost = self._memory.popleft()
            if not self._dropped:
                log.warning(
                    "The memory for readings is full; the oldest of them are dropped.",
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
        """Take readings out of memory; return those that were there."""
        forgotten = message_ids & {entry.message_id for entry in self._memory}
        if forgotten:
            self._memory = deque(e for e in self._memory if e.message_id not in forgotten)
        return forgotten

    def _disk_failed(self, error: StoreError) -> None:
        if not self._failed:
            log.warning(
                "%s Until it can be used again, readings are kept in memory, at most %d.",
                error,
                MOST_IN_MEMORY,
                extra=LogEvent.DISK_FAILED.about(),
            )
        self._failed = True

    async def _make_room(self) -> None:
        """Drop the oldest readings where they are too many, or too old."""
        now = None
        # Age can be told only by a clock that is right.
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
            self._age_checked = float("-inf")  # There may be more: with the next reading.
        if dropped and not self._dropped:
            log.warning(
                "There is no more room for readings, or they are too old: the oldest are dropped.",
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
            room = float(MOST_IN_MEMORY - len(self._memory))
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
            set_aside=tuple(SetAsideFile(**note) for note in await self._store.get(SET_ASIDE, [])),
            error=error,
        )
