"""The format of the outbox's files, and the state that follows from their contents. No I/O.

A file ("segment") is a sequence of blocks of 4096 bytes. It belongs to one run of the daemon. Each
block says whose it is, and each record in it has a checksum over its bytes, the identity of its
file and the serial of its block. So a record that is accepted is where it was written, and says
what was written, even if a power cut left half of a block and half of what was there before.

The block that is being filled has two slots, which are written in turn: an older copy stays on disk
while the newer one is written. A file begins with a checkpoint, the state that follows from all
files before it. The records after it change that state.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import zip_longest
from math import isfinite
from typing import NamedTuple
from zlib import crc32

from agent.readings.clock import LATEST
from agent.readings.number_set import NumberSet
from agent.status import DroppedReadings
from hw.sensors.models import MODELS

BLOCK = 4096  # Bytes.
RECORD = 48
HEADER = 112
PER_BLOCK = (BLOCK - HEADER) // RECORD

MAGIC = b"SENSLOG1"
IDENTITY = struct.Struct("<8s8s36s6sI6sIII")  # The part that all blocks of a file share.
CONTENTS = struct.Struct("<IIIH")  # Serial, first and last number of the readings, records.
SERIAL = struct.Struct("<I")  # The beginning of that.
CHECKSUM = struct.Struct("<I")
READING = struct.Struct("<BB2xIdddd4x")
RANGE = struct.Struct("<BB6sIIII20x")

# The kinds of records: a reading, what happens to readings, and the parts of a checkpoint.
MEASURED, ACKNOWLEDGED, DROPPED, REPORTED = range(1, 5)
WAITING, UNREPORTED_DROP, REPORTED_DROP, LAST, COMPLETE = range(5, 10)
HAPPENED = {ACKNOWLEDGED, DROPPED}
IN_CHECKPOINT = {WAITING, UNREPORTED_DROP, REPORTED_DROP, LAST}
REASONS = ("age", "room", "memory", "damaged")

# The widest range that the policy accepts, over all models. Offsets do not move a temperature out.
TEMPERATURES = (  # Degrees Celsius.
    min(model.coldest for model in MODELS.values()),
    max(model.hottest for model in MODELS.values()),
)
HUMIDITIES = (0.0, 100.0)  # Percent, with an offset.

REPORTED_KEPT = 50  # Ranges of dropped readings that stay in the status after they were reported.
UNREPORTED_KEPT = 1000  # Beyond, the oldest counts as reported.


class Identity(NamedTuple):
    """The fields that are the same in all blocks of a file.

    `board` is a digest, `previous` the last id before the run's first, if known. `order` sorts the
    runs of a state directory by age. All readings of the file have numbers greater than `after`.
    """

    board: bytes
    boot: str
    run: str
    order: int
    previous: tuple[str, int] | None
    file: int
    after: int

    def encode(self) -> bytes:
        run, number = self.previous or ("0" * 12, 0)
        return IDENTITY.pack(
            MAGIC,
            self.board,
            self.boot.encode()[:36],
            bytes.fromhex(self.run),
            self.order,
            bytes.fromhex(run),
            number,
            self.file,
            self.after,
        )


class Block(NamedTuple):
    """A block as it was read.

    `serial` counts the blocks of a file; two versions of a block have the same. `first` and `last`
    are the numbers of its readings, 0 without any. `records` is the number of its records.
    """

    identity: Identity
    seed: int  # For the checksums of the records.
    serial: int
    first: int
    last: int
    records: int
    content: bytes


class ReadingRecord(NamedTuple):
    """A reading without what it shares with its file."""

    number: int
    synchronised: bool
    temperature: float
    humidity: float
    wall: float
    uptime: float


class RangeRecord(NamedTuple):
    """Everything but a reading: something about the numbers `first` to `last` of a run.

    LAST has the newest number of the newest run. COMPLETE ends a checkpoint: `first` is the number
    of its records, `last` the number of all dropped readings.
    """

    kind: int
    reason: int = 0
    run: str = "0" * 12
    order: int = 0
    first: int = 0
    last: int = 0
    file: int = 0


Record = ReadingRecord | RangeRecord


def board_digest(board: str | None) -> bytes:
    """Return the identity of a board as files have it. Zeros if the board is unknown."""
    return bytes(8) if board is None else sha256(board.encode()).digest()[:8]


def encode_record(record: Record, seed: int) -> bytes:
    """Return the bytes of a record in a block with this seed (see `seed_of`)."""
    if isinstance(record, ReadingRecord):
        body = READING.pack(MEASURED, *record[1:2], record[0], *record[2:])
    else:
        kind, reason, run, *rest = record
        body = RANGE.pack(kind, reason, bytes.fromhex(run), *rest)
    return body + CHECKSUM.pack(crc32(body, seed))


def decode_record(content: bytes, seed: int) -> Record | None:
    """Return a record; None if it is damaged, or says what no sensor measures."""
    body = content[: RECORD - CHECKSUM.size]
    if crc32(body, seed) != CHECKSUM.unpack_from(content, len(body))[0]:
        return None
    if body[0] == MEASURED:
        _, synchronised, number, *values = READING.unpack(body)
        reading = ReadingRecord(number, bool(synchronised), *values)
        return reading if is_credible(reading) else None
    kind, reason, run, *numbers = RANGE.unpack(body)
    if not (MEASURED < kind <= COMPLETE and reason < len(REASONS)):
        return None
    return RangeRecord(kind, reason, run.hex(), *numbers)


def is_credible(record: ReadingRecord) -> bool:
    """Whether a sensor can have measured the values, at a time within the calendar."""
    return (  # Comparisons with NaN are false.
        TEMPERATURES[0] <= record.temperature <= TEMPERATURES[1]
        and HUMIDITIES[0] <= record.humidity <= HUMIDITIES[1]
        and 0 <= record.wall <= LATEST
        and record.uptime >= 0
        and isfinite(record.uptime)
    )


def seed_of(identity: Identity, serial: int) -> int:
    """Return the seed for the checksums of the records in a block."""
    return crc32(identity.encode() + SERIAL.pack(serial))


def encode_block(
    identity: Identity, serial: int, records: Sequence[bytes], first: int, last: int
) -> bytes:
    """Return a block of encoded records. `first` and `last` are the numbers of its readings."""
    head = identity.encode() + CONTENTS.pack(serial, first, last, len(records))
    head += CHECKSUM.pack(crc32(head))
    return (head.ljust(HEADER, b"\0") + b"".join(records)).ljust(BLOCK, b"\0")


def decode_block(content: bytes) -> Block | None:
    """Return a block, or the header of one; None if the header is not valid."""
    size = IDENTITY.size + CONTENTS.size
    if len(content) < HEADER or not content.startswith(MAGIC):
        return None
    if crc32(content[:size]) != CHECKSUM.unpack_from(content, size)[0]:
        return None
    _, board, boot, run, order, previous_run, previous, file, after = IDENTITY.unpack_from(content)
    serial, first, last, records = CONTENTS.unpack_from(content, IDENTITY.size)
    identity = Identity(
        board,
        boot.rstrip(b"\0").decode("utf-8", "replace"),
        run.hex(),
        order,
        (previous_run.hex(), previous) if previous else None,
        file,
        after,
    )
    seed = crc32(content[: IDENTITY.size + SERIAL.size])
    return Block(identity, seed, serial, first, last, records, content)


def records_of(block: Block) -> Iterator[Record | None]:
    """Yield the records of a block in order; None for each that is damaged."""
    for number in range(min(block.records, PER_BLOCK)):
        at = HEADER + number * RECORD
        yield decode_record(block.content[at : at + RECORD], block.seed)


@dataclass(slots=True)
class Content:
    """The contents of a file. Consecutive readings are one range of the kind MEASURED.

    `damaged` counts blocks and records that cannot be used. `is_complete` says whether the file
    begins with a whole checkpoint.
    """

    file: int
    identity: Identity | None = None
    records: list[RangeRecord] = field(default_factory=list)
    damaged: int = 0

    @property
    def is_complete(self) -> bool:
        found = sum(record.kind in IN_CHECKPOINT for record in self.records)
        return any(record.kind == COMPLETE and record.first == found for record in self.records)

    def add(self, record: Record) -> None:
        if isinstance(record, RangeRecord):
            self.records.append(record)
            return
        first = record.number
        before = self.records[-1] if self.records else None
        if before is not None and before.kind == MEASURED and before.last == first - 1:
            first = self.records.pop().first
        self.records.append(RangeRecord(MEASURED, first=first, last=record.number))


def content_of(file: int, blocks: Iterable[bytes]) -> Content:
    """Return what is in the blocks of the file with this number.

    A damaged record of the last write is not counted: it may have been cut off by a crash, and a
    reading was not called safe before the write was complete.
    """
    copies: dict[int, list[Block]] = {}
    unknown = 0
    for content in blocks:
        block = decode_block(content)
        if block is not None and block.identity.file == file:
            copies.setdefault(block.serial, []).append(block)
        else:
            unknown += any(content)
    if not copies:
        return Content(file, damaged=unknown)
    newest = max(copies)
    found = Content(file, copies[newest][0].identity, damaged=newest + 1 - len(copies))
    for serial, versions in sorted(copies.items()):
        versions.sort(key=lambda block: block.records, reverse=True)
        certain = versions[0].records
        if serial == newest:
            certain = versions[1].records if len(versions) > 1 else 0
        for place, record in enumerate(_merged(versions)):
            if record is not None:
                found.add(record)
            elif place < certain:
                found.damaged += 1
    return found


def _merged(versions: Sequence[Block]) -> Iterator[Record | None]:
    """Yield the records of a block of which there are several versions, the newest first."""
    for copies in zip_longest(*map(records_of, versions)):
        yield next((copy for copy in copies if copy is not None), None)


class Place(NamedTuple):
    """The readings of a run in a file. Places sort by age."""

    order: int
    run: str
    file: int


class State:
    """Which readings wait in which file, and which were dropped.

    `last` is the newest id. `unreported` are the dropped readings that no acknowledged message has
    named yet. `dropped` counts all dropped readings, `damaged` the blocks and records that could
    not be used.
    """

    def __init__(self) -> None:
        self.waiting: dict[Place, NumberSet] = {}
        self.count = 0
        self.last: tuple[str, int] | None = None
        self.unreported: list[DroppedReadings] = []
        self.reported: list[DroppedReadings] = []
        self.dropped = 0
        self.damaged = 0

    def add(self, place: Place, first: int, last: int) -> None:
        """Add readings to a file. If another file has a copy of one, that is not used any more."""
        self.remove(place.run, first, last)
        self.count += self.waiting.setdefault(place, NumberSet()).add(first, last)
        self.note_last(place.run, last)

    def remove(self, run: str, first: int, last: int) -> None:
        """Remove readings that need not be sent any more."""
        for place in [place for place in self.waiting if place.run == run]:
            self.count -= self.waiting[place].remove(first, last)
            if not self.waiting[place]:
                del self.waiting[place]

    def drop(self, run: str, first: int, last: int, reason: str) -> None:
        """Remove readings that are given up, and record which."""
        self.remove(run, first, last)
        self.dropped += last - first + 1
        before = self.unreported[-1] if self.unreported else None
        if before and (before.run, before.last, before.reason) == (run, first - 1, reason):
            self.unreported.pop()
            first = before.first
        self.unreported.append(DroppedReadings(run, first, last, reason))
        if len(self.unreported) > UNREPORTED_KEPT:
            self.report(self.unreported[0])

    def report(self, gap: DroppedReadings) -> None:
        """Record that an acknowledged message has named dropped readings."""
        if gap in self.unreported:
            self.unreported.remove(gap)
            self.reported = [*self.reported, gap][-REPORTED_KEPT:]

    def note_last(self, run: str, number: int) -> None:
        """Record a number of the newest run."""
        same = self.last is not None and self.last[0] == run
        self.last = (run, max(number, self.last[1]) if same and self.last else number)

    def checkpoint(self) -> list[RangeRecord]:
        """Return the records from which `restored` makes the same state."""
        records = [
            RangeRecord(WAITING, 0, place.run, place.order, first, last, place.file)
            for place, numbers in sorted(self.waiting.items())
            for first, last in numbers
        ]
        for kind, gaps in ((UNREPORTED_DROP, self.unreported), (REPORTED_DROP, self.reported)):
            records += [gap_record(kind, gap) for gap in gaps]
        if self.last is not None:
            run, number = self.last
            records.append(RangeRecord(LAST, run=run, first=number, last=number))
        return [*records, RangeRecord(COMPLETE, first=len(records), last=self.dropped)]


def gap_record(kind: int, gap: DroppedReadings) -> RangeRecord:
    """Return a record of this kind about dropped readings."""
    reason = REASONS.index(gap.reason)
    return RangeRecord(kind, reason, gap.run, first=gap.first, last=gap.last)


def restored(records: Iterable[RangeRecord]) -> State:
    """Return the state of a complete checkpoint among the records."""
    state = State()
    for kind, reason, run, order, first, last, file in records:
        if kind == WAITING:
            numbers = state.waiting.setdefault(Place(order, run, file), NumberSet())
            state.count += numbers.add(first, last)
        elif kind == UNREPORTED_DROP:
            state.unreported.append(DroppedReadings(run, first, last, REASONS[reason]))
        elif kind == REPORTED_DROP:
            state.reported.append(DroppedReadings(run, first, last, REASONS[reason]))
        elif kind == LAST:
            state.last = (run, first)
        elif kind == COMPLETE:
            state.dropped = last
    return state


def replayed(contents: Sequence[Content]) -> State:
    """Return the state after the files `contents`, the oldest first.

    If there is a complete checkpoint, it must be in the first file. Numbers of a run that are
    neither waiting nor accounted for were damaged, and count as dropped.
    """
    has_checkpoint = bool(contents) and contents[0].is_complete
    state = restored(contents[0].records) if has_checkpoint else State()
    # Per run: up to where it was accounted for before these files, and the numbers since.
    ends = dict([state.last] if state.last else [])
    accounted: dict[str, NumberSet] = {}
    files = {content.file for content in contents}
    newest: dict[str, int] = {}
    for content in contents:
        state.damaged += content.damaged
        if content.identity is not None:
            run = content.identity.run
            # If the run's first file is among these, its readings must be there from the first on.
            ends.setdefault(
                run, content.identity.after if content.identity.order not in files else 0
            )
            newest |= [content.identity.previous] if content.identity.previous else []
            numbers = accounted.setdefault(run, NumberSet())
            _replay(state, content.identity, content.records, numbers)
    for run, numbers in accounted.items():
        end, newest_known = ends[run], newest.get(run, 0)
        for first, last in (*numbers, (newest_known + 1, newest_known)):
            if first > end + 1:
                state.drop(run, end + 1, first - 1, "damaged")
            end = max(end, last)
    return state


def _replay(
    state: State, identity: Identity, records: Iterable[RangeRecord], accounted: NumberSet
) -> None:
    """Apply the records after a file's checkpoint, and add its own run's numbers."""
    own = identity.run
    if identity.previous is not None and (state.last is None or state.last[0] != own):
        state.note_last(*identity.previous)
    for record in records:
        if record.kind == MEASURED:
            state.add(Place(identity.order, own, identity.file), record.first, record.last)
        elif record.kind == ACKNOWLEDGED:
            state.remove(record.run, record.first, record.last)
        elif record.kind == DROPPED:
            state.drop(record.run, record.first, record.last, REASONS[record.reason])
        elif record.kind == REPORTED:
            reason = REASONS[record.reason]
            state.report(DroppedReadings(record.run, record.first, record.last, reason))
        if record.kind == MEASURED or (record.kind in HAPPENED and record.run == own):
            accounted.add(record.first, record.last)
            state.note_last(own, record.last)
