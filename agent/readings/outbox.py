"""The durable queue: it keeps each reading until the hub has acknowledged it.

Readings are on disk before they are sent, in order, each with one message id for life. The queue is
bounded by age and bytes; the oldest readings are dropped first, counted and logged. While the disk
fails, readings are kept in memory, under the same ids.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple, TypeVar

from agent.errors import StoreInUse, in_words
from agent.logs.events import LogEvent
from agent.readings.clock import Clock, Stamp
from agent.readings.disk import Directory, Disk
from agent.readings.number_set import NumberSet, Range
from agent.readings.segment_files import (
    OWN_ORDER,
    START,
    Entry,
    OtherBoardError,
    Position,
    SegmentFiles,
)
from agent.readings.segment_log import BLOCK, PER_BLOCK, State
from agent.status import DroppedReadings, OutboxPart
from agent.storage.set_aside import set_aside_earlier_store, set_aside_files
from hw import Reading

__all__ = ["START", "Entry", "Outbox", "Position"]

T = TypeVar("T")

log = logging.getLogger(__name__)

OUTBOX_NAME = "outbox"  # The folder in the state directory.
MAX_IN_MEMORY = 10_000  # Readings: a few megabytes, or a week at one a minute.
RECENT = 100  # Readings on disk that are in memory, too, so that live ones are not read back.
SAVE_AFTER = 500  # Acknowledgements that wait for the next reading to be written with it.
CLOSE_DEADLINE = 1.0  # Seconds to write what is in memory when the daemon stops.
DAY = 86400.0  # Seconds.
AGE_CHECK = 600.0  # Seconds between two searches for readings that are too old.
READ_AGAIN = 600.0  # Seconds between two attempts to read what could not be read.
ENOUGH = 1000  # Readings from which the bytes that one takes are measured.


class _Summary(NamedTuple):
    """The state of the files, as far as the event loop needs it."""

    waiting: int
    oldest: int | None  # The number of the oldest reading of this run.
    unreported: tuple[DroppedReadings, ...]
    dropped: int
    unwritten: int  # Acknowledgements that the next save writes.


def _summary(files: SegmentFiles, run: str) -> _Summary:
    state = files.state
    return _Summary(
        state.count,
        files.oldest().get(run),
        tuple(state.unreported),
        state.dropped,
        files.unwritten,
    )


def waiting_in(directory: Path) -> State:
    """Return what waits in the folder of a daemon that does not run. Changes nothing.

    Raises OSError.
    """
    disk = Directory(directory, before_create=lambda: None)
    files = SegmentFiles(disk, run="0" * 12, boot="", board=None, max_bytes=0)
    files.load()
    return files.state


@dataclass(frozen=True, slots=True)
class _Changes:
    """Changes to make before the next job. `unsaved` are readings that were in memory only."""

    acknowledged: dict[str, list[Range]]
    unsaved: list[Range]
    gaps: list[DroppedReadings]
    reported: list[DroppedReadings]

    def make(self, files: SegmentFiles, run: str) -> None:
        for acknowledged_run, ranges in (*self.acknowledged.items(), (run, self.unsaved)):
            for first, last in ranges:
                files.acknowledge(acknowledged_run, first, last)
        for gap in self.gaps:
            files.drop(gap.run, gap.first, gap.last, gap.reason)
        files.report(self.reported)


class Outbox:
    """The queue in `disk`, a folder of the state directory `state`. `open` comes first.

    One thread does all work on the disk. Nothing raises if the disk fails: this is logged once, and
    readings go to memory. `run` is the first part of the ids of this run's readings. `added` is set
    with each reading; who waits for it clears it. `era` grows when readings on disk that were left
    out of a page can be read again.
    """

    def __init__(
        self,
        disk: Disk,
        *,
        state: Path,
        clock: Clock,
        board: str | None = None,
        max_age_days: float = 30,
        max_megabytes: float = 64,
    ) -> None:
        self.run = token_hex(6)
        self.era = 0
        self.added = asyncio.Event()
        self._disk = disk
        self._state = state
        self._clock = clock
        self._files = SegmentFiles(disk, run=self.run, boot=clock.boot_id, board=board, max_bytes=0)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")
        self._lock = asyncio.Lock()
        self._is_loaded = False
        self._error: str | None = None  # Why the disk fails.
        self._has_warned = False  # That files are damaged.
        self._has_warned_of_reads = False
        self._left_out = False  # A page lacked readings on disk.
        self._read_again_at = float("-inf")  # Uptime, seconds.
        self._disk_has = _Summary(0, None, (), 0, 0)
        self._newest = 0  # The number of the newest reading of this run.
        self._unsaved: dict[int, Entry] = {}
        self._recent: dict[int, Entry] = {}
        self._in_memory_after = 0  # All later readings of this run are in memory.
        # Changes that the next job makes to the files.
        self._acknowledged: dict[str, NumberSet] = {}
        self._acknowledged_unsaved = NumberSet()
        self._gaps: list[DroppedReadings] = []
        self._reported: list[DroppedReadings] = []
        self._dropped = 0  # Since the queue was last empty.
        self.set_limits(max_age_days=max_age_days, max_megabytes=max_megabytes)

    def set_limits(self, *, max_age_days: float, max_megabytes: float) -> None:
        """Bound the queue. Readings beyond new limits are dropped with the next reading."""
        self._max_age = max_age_days * DAY
        self._files.max_bytes = int(max_megabytes * 1_000_000)
        self._age_checked = float("-inf")

    async def open(self) -> None:
        """Find out which readings wait. Raises nothing.

        Files of another board and of earlier versions are set aside.
        """
        async with self._lock:
            await self._do(lambda _: None)

    async def close(self) -> None:
        """Write the readings that are only in memory, and close the files. Raises nothing."""
        with suppress(TimeoutError):  # If the disk hangs, saved readings are on it already.
            async with asyncio.timeout(CLOSE_DEADLINE):
                await self._save()
        self._thread.submit(self._files.close)
        self._thread.shutdown(wait=False)

    @property
    def waiting(self) -> int:
        """Number of readings on disk and in memory."""
        return self._disk_has.waiting - self._pending() + len(self._unsaved)

    @property
    def newest(self) -> Position:
        """The position of the newest reading. Later readings have greater positions."""
        return Position(OWN_ORDER, self.run, self._newest)

    @property
    def unreported(self) -> list[DroppedReadings]:
        """The dropped readings that no acknowledged message has named yet, the oldest first."""
        return [
            gap for gap in (*self._disk_has.unreported, *self._gaps) if gap not in self._reported
        ]

    async def add(self, reading: Reading, taken: Stamp) -> None:
        """Add a reading. When this returns, a power cut does not lose it, unless the disk failed.

        A cancellation does not interrupt it.
        """
        await asyncio.shield(self._add(reading, taken))
        self.added.set()

    async def _add(self, reading: Reading, taken: Stamp) -> None:
        async with self._lock:
            number = self._newest + 1
            entry = Entry(Position(OWN_ORDER, self.run, number), reading, taken)
            unsaved = [*self._unsaved.values(), entry]
            is_too_old = self._age_limit()

            def save(files: SegmentFiles) -> None:
                files.make_room(is_too_old)
                files.save(unsaved)

            is_saved = await self._do(save)
            self._newest = number
            if is_saved:
                self._all_saved(unsaved)
            else:
                self._unsaved[number] = entry
                self._limit_memory()

    async def after(self, position: Position, *, limit: int) -> list[Entry]:
        """Return up to `limit` readings after `position`, oldest first."""
        entries: list[Entry] = []
        if position < (OWN_ORDER, self.run, self._in_memory_after):
            entries = await asyncio.shield(self._page(position, limit))
        known = {entry.position for entry in entries}
        for entry in (*self._recent.values(), *self._unsaved.values()):
            if entry.position > position and entry.position not in known:
                entries.append(self._with_previous(entry))
        return [entry for entry in entries if not self._is_acknowledged(entry)][:limit]

    async def _page(self, position: Position, limit: int) -> list[Entry]:
        entries: list[Entry] = []
        async with self._lock:
            if not await self._do(lambda files: entries.extend(files.page(position, limit))):
                self._left_out = True
        return entries

    def _with_previous(self, entry: Entry) -> Entry:
        oldest = self._disk_has.oldest or next(iter(self._unsaved), None)
        if self._files.previous is None or entry.number != oldest:
            return entry
        run, number = self._files.previous
        return replace(entry, previous=f"{run}:{number}")

    def _age_limit(self) -> Callable[[Stamp], bool] | None:
        """Return the function that says whether a reading is too old, if it is time to check."""
        # Age is known only if the clock is right.
        if self._clock.uptime() - self._age_checked < AGE_CHECK or not self._clock.synchronised():
            return None
        self._age_checked = self._clock.uptime()
        now, max_age = self._clock.stamp(), self._max_age

        def is_too_old(taken: Stamp) -> bool:
            if taken.synchronised:
                return taken.wall < now.wall - max_age
            return taken.boot_id == now.boot_id and taken.uptime < now.uptime - max_age

        return is_too_old

    async def remove(
        self, entries: Iterable[Entry], *, reported: Iterable[DroppedReadings] = ()
    ) -> None:
        """Remove readings that the hub has acknowledged. A cancellation does not interrupt it.

        `reported` are dropped readings that one of their messages has named. Both are written with
        the next reading. After a crash before that, the readings are sent again, with the same ids.
        """
        for entry in entries:
            number = entry.number
            if entry.run == self.run and self._unsaved.pop(number, None) is not None:
                self._acknowledged_unsaved.add(number, number)
            else:
                self._acknowledged.setdefault(entry.run, NumberSet()).add(number, number)
                self._recent.pop(number if entry.run == self.run else 0, None)
        self._reported += reported
        if self._pending() + self._disk_has.unwritten >= SAVE_AFTER and self._error is None:
            await asyncio.shield(self._save())
        if self.waiting == 0 and self._dropped:
            log.warning(
                "%d readings were dropped before they could be sent.",
                self._dropped,
                extra=LogEvent.READINGS_DROPPED.about(READINGS=self._dropped),
            )
            self._dropped = 0

    async def _save(self) -> None:
        """Write what is in memory only."""
        async with self._lock:
            unsaved = list(self._unsaved.values())
            if await self._do(lambda files: files.save(unsaved)):
                self._all_saved(unsaved)

    def _pending(self) -> int:
        """Return the number of acknowledged readings that are still on disk."""
        return sum(map(len, self._acknowledged.values()))

    def _is_acknowledged(self, entry: Entry) -> bool:
        return entry.number in self._acknowledged.get(entry.run, ())

    def _all_saved(self, entries: Sequence[Entry]) -> None:
        """Record that these are on disk, as is everything else."""
        from_memory = len(self._unsaved)
        for entry in entries:
            if self._acknowledged_unsaved.remove(entry.number, entry.number):
                # While it was written.
                self._acknowledged.setdefault(self.run, NumberSet()).add(entry.number, entry.number)
            else:
                self._recent[entry.number] = entry
        self._unsaved.clear()
        while len(self._recent) > RECENT:
            self._in_memory_after = next(iter(self._recent))
            del self._recent[self._in_memory_after]
        if self._error is not None:
            log.info(
                "The disk works again. Wrote %d readings from memory.",
                from_memory,
                extra=LogEvent.DISK_RECOVERED.about(READINGS=from_memory),
            )
        if self._left_out and (self._error or self._clock.uptime() >= self._read_again_at):
            self._read_again_at = self._clock.uptime() + READ_AGAIN
            self.era += 1
            self._left_out = False
        self._error = None

    async def _do(self, job: Callable[[SegmentFiles], None]) -> bool:
        """Do a job in the thread, after what waits for the next one. Call it with the lock only.

        Returns False, and logs why, if the disk fails.
        """
        before, summary = self._disk_has, None
        changes = _Changes(
            {run: list(numbers) for run, numbers in self._acknowledged.items()},
            list(self._acknowledged_unsaved),
            self._gaps.copy(),
            self._reported.copy(),
        )

        def work() -> None:
            nonlocal before, summary
            if not self._is_loaded:
                self._load()
                before = _summary(self._files, self.run)
            changes.make(self._files, self.run)
            try:
                job(self._files)
            finally:
                summary = _summary(self._files, self.run)

        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (OSError, StoreInUse) as error:
            self._disk_failed(error)
            return False
        finally:
            if summary is not None:
                self._made(changes, before, summary)
        return True

    def _load(self) -> None:
        set_aside_earlier_store(self._state)
        try:
            self._files.load()
        except OtherBoardError:
            self._disk.set_aside()
            self._files.load()
        self._is_loaded = True

    def _made(self, changes: _Changes, before: _Summary, after: _Summary) -> None:
        """Forget changes that the files know, and note what is on disk now."""
        for run, ranges in changes.acknowledged.items():
            for first, last in ranges:
                self._acknowledged[run].remove(first, last)
        for first, last in changes.unsaved:
            self._acknowledged_unsaved.remove(first, last)
        del self._gaps[: len(changes.gaps)]
        del self._reported[: len(changes.reported)]
        self._disk_has = after
        self._warn_of_damage()
        dropped = after.dropped - before.dropped - sum(gap.count for gap in changes.gaps)
        if dropped and self._recent:
            self._in_memory_after = max(self._recent)
            self._recent.clear()
        self._note_dropped(dropped)

    def _warn_of_damage(self) -> None:
        damaged, unreadable = self._files.state.damaged, self._files.is_unreadable
        self._left_out |= unreadable
        self._files.is_unreadable = False
        if damaged and not self._has_warned:
            self._has_warned = True
            log.warning(
                "%s is damaged: %d records or blocks were skipped. The card may be failing: "
                "dmesg | grep mmcblk",
                self._state / OUTBOX_NAME,
                damaged,
                extra=LogEvent.STORE_DAMAGED.about(FILE=self._state / OUTBOX_NAME),
            )
        if unreadable and not self._has_warned_of_reads:
            self._has_warned_of_reads = True
            log.warning(
                "A part of %s cannot be read now; its readings are sent later. The card may be "
                "failing (dmesg | grep mmcblk), or no file descriptors are left.",
                self._state / OUTBOX_NAME,
                extra=LogEvent.DISK_FAILED.about(),
            )

    def _limit_memory(self) -> None:
        if len(self._unsaved) <= MAX_IN_MEMORY:
            return
        number = next(iter(self._unsaved))
        del self._unsaved[number]
        first = number
        if self._gaps and self._gaps[-1].last == number - 1:
            first = self._gaps.pop().first
        self._gaps.append(DroppedReadings(self.run, first, number, "memory"))
        self._note_dropped(1)

    def _note_dropped(self, count: int) -> None:
        if count and not self._dropped:
            log.warning(
                "The queue is full, or readings are too old or damaged. The oldest ones are "
                "dropped.",
                extra=LogEvent.READINGS_DROPPED.about(),
            )
        self._dropped += count

    def _disk_failed(self, error: OSError | StoreInUse) -> None:
        is_new, self._error = self._error is None, str(error)
        if isinstance(error, OSError):
            self._error = f"Cannot use {self._state / OUTBOX_NAME}: {in_words(error)}."
        if is_new:
            log.warning(
                "%s Readings are kept in memory, at most %d, until the disk works again.",
                self._error,
                MAX_IN_MEMORY,
                extra=LogEvent.DISK_FAILED.about(),
            )

    async def status(self, interval: float) -> OutboxPart:
        """Return this part of the status; `room_seconds` is for one reading each `interval`."""
        oldest, used = list(self._unsaved.values())[:1], [0]

        def look(files: SegmentFiles) -> None:
            oldest[:0] = files.page(START, 1)
            used[0] = files.used_bytes()

        async with self._lock:
            is_readable = await self._do(look)
            state, waiting = self._files.state, self._disk_has.waiting
            room = float(MAX_IN_MEMORY - len(self._unsaved))
            if is_readable:
                bytes_each = used[0] / waiting if waiting >= ENOUGH else BLOCK / PER_BLOCK
                room = max(0.0, self._files.max_bytes - used[0]) / bytes_each
            return OutboxPart(
                waiting=self.waiting,
                in_memory=len(self._unsaved),
                oldest=self._clock.true_utc(oldest[0].taken) if oldest else None,
                room_seconds=min(room * interval, self._max_age),
                dropped=(*state.reported, *state.unreported, *self._gaps),
                dropped_total=state.dropped + sum(gap.count for gap in self._gaps),
                damaged=state.damaged,
                set_aside=set_aside_files(self._state),
                error=self._error,
            )
