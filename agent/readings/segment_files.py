"""The outbox's files: writes readings to disk, reads them back, and drops the oldest ones."""

import errno
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.readings.clock import Stamp
from agent.readings.disk import Disk
from agent.readings.number_set import NumberSet
from agent.readings.segment_log import (
    ACKNOWLEDGED,
    BLOCK,
    DROPPED,
    HEADER,
    PER_BLOCK,
    REPORTED,
    Block,
    Content,
    Identity,
    Place,
    RangeRecord,
    ReadingRecord,
    Record,
    State,
    board_digest,
    content_of,
    decode_block,
    encode_block,
    encode_record,
    gap_record,
    records_of,
    replayed,
    seed_of,
)
from agent.status import DroppedReadings
from hw import Reading

log = logging.getLogger(__name__)

NAME = re.compile(r"(\d{8})\.log")
BLOCKS_PER_FILE = 64  # 256 kB, or about 5,000 readings.
LEAST_FILES = 8  # A small limit is divided into this many, because whole files are dropped.
DAY = 86400.0  # Seconds that a file takes readings, so that old ones can be dropped with it.
OWN_ORDER = 2**32  # Of the running daemon's own readings, which are the newest.


class OtherBoardError(Exception):
    """The files were written on another board."""


class Position(NamedTuple):
    """The place of a reading in the queue, the same for life."""

    order: int
    run: str
    number: int


START = Position(0, "", 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A reading in the queue, always in degrees Celsius.

    `previous` is set for the oldest remaining reading of a run of the daemon: the id before the
    run's first, if known. So a receiver can prove that none is missing within and across runs.
    """

    position: Position
    reading: Reading
    taken: Stamp
    previous: str | None = None

    @property
    def run(self) -> str:
        return self.position.run

    @property
    def number(self) -> int:
        """The number of the reading in its run, from 1."""
        return self.position.number

    @property
    def message_id(self) -> str:
        """The id of the message, the same each time it is sent."""
        return f"{self.run}:{self.number}"


class _Found(NamedTuple):
    """A reading with the identity of its file."""

    record: ReadingRecord
    identity: Identity


@dataclass(slots=True)
class _Active:
    """The file that is written to. `records` are those of its last block.

    `copy` is the slot with the synced version of that block. `free` is a slot that can be written.
    """

    handle: int
    identity: Identity
    begun: float  # Uptime, seconds.
    last_serial: int
    serial: int = 0
    records: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    copy: int | None = None
    free: int | None = None
    slots: int = 0
    is_saved: bool = False  # Whether a save has succeeded.


class SegmentFiles:
    """The readings of all runs in the files of a directory. Not for several threads at once.

    `load` comes first. After an OSError, call it again until it succeeds. `run` is a fresh id, of
    12 hexadecimal digits; `board` identifies the machine, None if nothing does. `max_bytes` may be
    set at any time.
    """

    def __init__(
        self, disk: Disk, *, run: str, boot: str, board: str | None, max_bytes: int
    ) -> None:
        self.state = State()
        self.previous: tuple[str, int] | None = None
        self.is_unreadable = False  # Whether readings could not be read since this was reset.
        self._disk = disk
        self._run = run
        self._boot = boot
        self._board = board_digest(board)
        self.max_bytes = max_bytes
        self._sizes: dict[int, int] = {}  # In bytes, by the number of the file.
        self._order = self._next = 1
        self._active: _Active | None = None
        # Changes that the next save writes, together with readings.
        self._acknowledged: dict[str, NumberSet] = {}
        self._events: list[RangeRecord] = []

    def load(self) -> None:
        """Find out which readings wait. Raises OSError, or OtherBoardError.

        Reads files from the newest backwards to the newest complete checkpoint.
        """
        sizes = {}
        for name, size in self._disk.sizes().items():
            if matched := NAME.fullmatch(name):
                sizes[int(matched[1])] = size
        contents: list[Content] = []
        for number in sorted(sizes, reverse=True):
            contents.insert(0, self._content(number, sizes[number]))
            if contents[0].is_complete:
                break
        boards = [one.identity.board for one in contents if one.identity is not None]
        if boards and bytes(8) != self._board != boards[-1] != bytes(8):
            raise OtherBoardError
        self._sizes = sizes
        self._order = self._next = max(sizes, default=0) + 1
        self.state = replayed(contents)
        self.previous = self.state.last

    def _content(self, number: int, size: int) -> Content:
        """Read a file, and nothing from memory that may never have reached the card."""
        handle = self._disk.open(_name(number))
        blocks, failures = [], []
        try:
            try:
                self._disk.sync(handle)
            except OSError as error:
                if error.errno != errno.EROFS:  # A read-only file system keeps what it has.
                    raise
            self._disk.drop_cache(handle)
            for offset in range(0, size, BLOCK):
                try:
                    blocks.append(self._disk.read(handle, BLOCK, offset).ljust(BLOCK, b"\0"))
                except OSError as error:  # A bad sector. The rest of the file is used.
                    failures.append(error)
        finally:
            self._disk.close(handle)
        if failures and not blocks:
            raise failures[0]
        content = content_of(number, blocks)
        content.damaged += len(failures)
        return content

    # Changes. They are in memory until the next save.

    def acknowledge(self, run: str, first: int, last: int) -> None:
        """Remove readings that the hub has acknowledged."""
        self.state.remove(run, first, last)
        self._acknowledged.setdefault(run, NumberSet()).add(first, last)

    @property
    def unwritten(self) -> int:
        """Number of acknowledgements that the next save writes."""
        return sum(map(len, self._acknowledged.values()))

    def drop(self, run: str, first: int, last: int, reason: str) -> None:
        """Give readings up, and record which."""
        self.state.drop(run, first, last, reason)
        if run == self._run:
            self.state.note_last(run, last)
        gap = DroppedReadings(run, first, last, reason)
        self._events.append(gap_record(DROPPED, gap))

    def report(self, gaps: Iterable[DroppedReadings]) -> None:
        """Record that an acknowledged message has named these dropped readings."""
        for gap in gaps:
            self.state.report(gap)
            self._events.append(gap_record(REPORTED, gap))

    def make_room(self, is_too_old: Callable[[Stamp], bool] | None = None) -> None:
        """Drop the oldest files while there are too many bytes, or if they are too old.

        A file is too old if `is_too_old` holds for its newest reading.
        """
        while self.used_bytes() > self.max_bytes and self._drop_oldest(lambda _: True, "room"):
            pass  # The condition does the work.
        if is_too_old is not None:
            while self._drop_oldest(lambda file: self._is_all(file, is_too_old), "age"):
                pass  # The same.

    def _drop_oldest(self, condition: Callable[[int], bool], reason: str) -> bool:
        file = min(self.state.waiting, default=Place(0, "", 0)).file
        if not file or (self._active and self._active.identity.file == file) or not condition(file):
            return False
        for place in sorted(place for place in self.state.waiting if place.file == file):
            for first, last in list(self.state.waiting[place]):
                self.drop(place.run, first, last, reason)
        return True

    def _is_all(self, file: int, is_too_old: Callable[[Stamp], bool]) -> bool:
        newest = self._newest_stamp(file)
        return newest is not None and is_too_old(newest)

    def _blocks_per_file(self) -> int:
        return max(2, min(BLOCKS_PER_FILE, self.max_bytes // BLOCK // LEAST_FILES))

    def used_bytes(self) -> int:
        """Return the size of the files that hold waiting readings."""
        files = {place.file for place in self.state.waiting}
        return sum(self._sizes.get(file, 0) for file in files)

    # Writing.

    def save(self, entries: Sequence[Entry]) -> None:
        """Write readings of this run, and all changes. When this returns, they are on the card.

        Raises OSError. Then nothing more is written to the file: Linux may have discarded what was
        not synced and may call it clean. The next save begins a fresh file.
        """
        if not (entries or self._events or self._acknowledged):
            return
        at = entries[-1].taken.uptime if entries else 0.0
        active = self._active
        is_fresh = active is None or active.serial > active.last_serial or at - active.begun >= DAY
        try:
            if is_fresh or active is None:
                active = self._begin(at)
                records: list[Record] = list(self.state.checkpoint())
                active.last_serial = len(records) // PER_BLOCK + self._blocks_per_file() - 1
            else:
                records = list(self._events)
            records += [
                RangeRecord(ACKNOWLEDGED, run=run, first=first, last=last)
                for run, numbers in self._acknowledged.items()
                for first, last in numbers
            ]
            records += map(_record, entries)
            self._append(active, records)
            if is_fresh:
                self._disk.sync_names()
        except OSError:
            self._abandon()
            raise
        self._saved(active, entries)

    def _begin(self, at: float) -> _Active:
        self._end()
        number, self._next = self._next, self._next + 1
        last = self.state.last
        after = last[1] if last is not None and last[0] == self._run else 0
        identity = Identity(
            self._board, self._boot, self._run, self._order, self.previous, number, after
        )
        handle = self._disk.create(_name(number))
        self._sizes[number] = 0
        self._active = _Active(handle, identity, at, last_serial=0)
        return self._active

    def _append(self, active: _Active, records: Iterable[Record]) -> None:
        """Write records, and sync. The synced version of the last block is not overwritten."""
        seed = seed_of(active.identity, active.serial)
        freed = None
        for record in records:
            if len(active.records) == PER_BLOCK:
                active.serial += 1
                seed = seed_of(active.identity, active.serial)
                active.records, active.numbers, active.copy = [], [], None
            active.records.append(encode_record(record, seed))
            if isinstance(record, ReadingRecord):
                active.numbers.append(record.number)
            if len(active.records) == PER_BLOCK:
                freed = active.copy if active.copy is not None else freed
                self._write_block(active)
        if len(active.records) < PER_BLOCK:
            freed = active.copy if active.copy is not None else freed
            self._write_block(active)
        self._disk.sync(active.handle)
        active.free = freed if freed is not None else active.free

    def _write_block(self, active: _Active) -> None:
        slot, active.free = active.free, None
        if slot is None:
            slot, active.slots = active.slots, active.slots + 1
            self._sizes[active.identity.file] = active.slots * BLOCK
        first, last = (active.numbers[0], active.numbers[-1]) if active.numbers else (0, 0)
        block = encode_block(active.identity, active.serial, active.records, first, last)
        self._disk.write(active.handle, block, slot * BLOCK)
        active.copy = slot

    def _saved(self, active: _Active, entries: Sequence[Entry]) -> None:
        """Note what is on the card now, and delete the files that nothing waits in."""
        active.is_saved = True
        place = Place(self._order, self._run, active.identity.file)
        for first, last in NumberSet((entry.number, entry.number) for entry in entries):
            self.state.add(place, first, last)
        for _, last in self._acknowledged.get(self._run, ()):
            self.state.note_last(self._run, last)
        self._acknowledged.clear()
        self._events.clear()
        in_use = {place.file for place in self.state.waiting} | {active.identity.file}
        for number in [number for number in self._sizes if number not in in_use]:
            self._delete(number)

    def _delete(self, number: int) -> None:
        try:
            self._disk.delete(_name(number))
        except FileNotFoundError:
            pass  # Somebody else deleted it.
        except OSError as error:
            log.debug("%s is deleted later: %s", _name(number), error)
            return
        del self._sizes[number]

    def _abandon(self) -> None:
        """Stop using a file that could not be written. Delete it if nothing was saved in it."""
        active = self._active
        self._end()
        if active is not None and not active.is_saved:
            self._delete(active.identity.file)

    def _end(self) -> None:
        if self._active is not None:
            active, self._active = self._active, None
            self._disk.close(active.handle)

    def close(self) -> None:
        """Close the file that is written to. Saved readings are on the card already."""
        self._end()

    # Reading.

    def page(self, after: Position, limit: int) -> list[Entry]:
        """Return up to `limit` saved readings after a position, oldest first.

        Readings that are damaged are dropped. Readings that cannot be read now are left out, and
        `is_unreadable` is set.
        """
        found: list[_Found] = []
        for place in sorted(self.state.waiting):
            order = OWN_ORDER if place.run == self._run else place.order
            if (order, place.run) >= after[:2]:
                start = after.number if (order, place.run) == after[:2] else 0
                found += self._read(place, start, limit - len(found))
        oldest = self.oldest()
        return [
            self._entry(one, is_oldest=one.record.number == oldest[one.identity.run])
            for one in found
        ]

    def oldest(self) -> dict[str, int]:
        """Return the number of the oldest saved reading of each run."""
        oldest: dict[str, int] = {}
        for place, numbers in sorted(self.state.waiting.items()):
            oldest.setdefault(place.run, next(iter(numbers))[0])
        return oldest

    def _entry(self, found: _Found, *, is_oldest: bool) -> Entry:
        record, identity = found
        own = identity.run == self._run
        position = Position(OWN_ORDER if own else identity.order, identity.run, record.number)
        taken = Stamp(record.wall, record.uptime, identity.boot, record.synchronised)
        before = identity.previous if is_oldest else None
        return Entry(
            position,
            Reading(record.temperature, record.humidity),
            taken,
            f"{before[0]}:{before[1]}" if before else None,
        )

    def _read(self, place: Place, start: int, limit: int) -> list[_Found]:
        """Return up to `limit` readings with numbers after `start`. Drops damaged ones."""
        readings: list[_Found] = []
        while len(readings) < limit and place in self.state.waiting:
            wanted = self.state.waiting[place].next(start, limit - len(readings))
            if not wanted:
                break
            found, is_whole = self._search(place, wanted)
            readings += [found[number] for number in wanted if number in found]
            if is_whole and len(found) < len(wanted):
                self._drop_damaged(place, [number for number in wanted if number not in found])
            self.is_unreadable |= not is_whole
            start = wanted[-1]
        return readings

    def _drop_damaged(self, place: Place, numbers: Sequence[int]) -> None:
        self.state.damaged += len(numbers)
        for first, last in NumberSet((number, number) for number in numbers):
            self.drop(place.run, first, last, "damaged")

    def _search(self, place: Place, wanted: Sequence[int]) -> tuple[dict[int, _Found], bool]:
        """Return the readings of a file with these numbers, and whether all of it could be read."""
        found: dict[int, _Found] = {}
        blocks, is_whole = self._blocks(place, wanted[0], wanted[-1])
        numbers = set(wanted)
        for block in blocks:
            for record in records_of(block):
                if isinstance(record, ReadingRecord) and record.number in numbers:
                    found[record.number] = _Found(record, block.identity)
        return found, is_whole

    def _blocks(self, place: Place, first: int, last: int) -> tuple[list[Block], bool]:
        """Return the blocks that can hold these numbers, and whether all could be read."""
        try:
            handle = self._disk.open(_name(place.file))
        except FileNotFoundError:
            # Deleted, if the other files are there. Otherwise the file system is not mounted.
            return [], any(_name(n) in self._disk.sizes() for n in self._sizes if n != place.file)
        except OSError:
            return [], False
        blocks, is_whole = [], True
        try:
            for offset in range(0, self._sizes[place.file], BLOCK):
                try:
                    block = decode_block(self._disk.read(handle, HEADER, offset))
                    if block is None or not _can_hold(block, place, first, last):
                        continue
                    block = decode_block(self._disk.read(handle, BLOCK, offset).ljust(BLOCK, b"\0"))
                except OSError:
                    is_whole = False
                else:
                    blocks += [block] if block is not None else []
        finally:
            self._disk.close(handle)
        return blocks, is_whole

    def _newest_stamp(self, file: int) -> Stamp | None:
        """Return the time of the newest reading that waits in a file, if it can be read."""
        place = max(place for place in self.state.waiting if place.file == file)
        *_, (_, newest) = self.state.waiting[place]
        found, _ = self._search(place, [newest])
        return self._entry(found[newest], is_oldest=False).taken if found else None


def _can_hold(block: Block, place: Place, first: int, last: int) -> bool:
    """Whether a block of this place can hold readings with the numbers `first` to `last`."""
    is_of = block.identity.file == place.file and block.identity.run == place.run
    return is_of and block.first <= last and first <= block.last


def _name(number: int) -> str:
    return f"{number:08}.log"


def _record(entry: Entry) -> ReadingRecord:
    reading, taken = entry.reading, entry.taken
    return ReadingRecord(
        entry.number,
        taken.synchronised,
        reading.temperature,
        reading.humidity,
        taken.wall,
        taken.uptime,
    )
