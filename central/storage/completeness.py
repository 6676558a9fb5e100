"""Which messages of a device are missing, by their ids `<run>:<number>`.

Each start of the daemon is a run: a random name, and messages that are numbered from 1. A message
may say which message came before its run (property `previous`), and which ones its device gave up
(property `dropped`). Messages with other ids are not counted.

Received numbers are stored as ranges, so that the cost of storing a message and of finding the
missing ones does not depend on the number of messages. Each function is a query for `Store`.
"""

import re
import sqlite3
from collections import defaultdict
from dataclasses import dataclass

from central.records import Message
from central.storage import devices

RUN = "[0-9a-f]{12}"
NUMBER = "[1-9][0-9]{0,14}"  # Up to 15 digits: exact in JavaScript, too.
MESSAGE_ID = re.compile(f"({RUN}):({NUMBER})")
REASONS = ("age", "room", "memory", "damaged")
DROPPED_ITEM = re.compile(f"({RUN}):({NUMBER})-({NUMBER}):({'|'.join(REASONS)})")
MAX_DROPPED = 2048  # Characters of the property `dropped`; a longer one is ignored.
RECEIVED = "received"  # Besides REASONS, what a range is known for.
MISSING = "missing"  # Besides REASONS, why numbers were not received.

# Of one device. Beyond them, the oldest are forgotten, so that no client can fill the database.
MOST_RUNS = 1000
MOST_RANGES = 2000

Range = tuple[int, int]  # First and last number. Lists of ranges are sorted and do not overlap.


# Keeping track


def record_arrival(
    db: sqlite3.Connection, new: Message, *, late: bool
) -> tuple[int, int] | tuple[None, None]:
    """Count a message that arrives; return the number of its run in `runs`, and its own.

    Return None twice if its id has another form. Malformed properties are ignored.
    """
    found = MESSAGE_ID.fullmatch(new.system.get("message_id", ""))
    if found is None:
        return None, None
    run, number = _run(db, new.device_id, found[1], new.received), int(found[2])
    first_time = _add(db, new.device_id, run, RECEIVED, (number, number))
    db.execute(
        "UPDATE runs SET last_received = max(last_received, ?), duplicates = duplicates + ?,"
        " late = late + ? WHERE number = ?",
        (new.received, not first_time, late and first_time, run),
    )
    if previous := MESSAGE_ID.fullmatch(new.properties.get("previous", "")):
        db.execute(
            "UPDATE runs SET previous = ?1, previous_number = ?2"
            " WHERE number = ?3 AND run != ?1 AND previous IS NULL AND begins IS NULL",
            (previous[1], int(previous[2]), run),
        )
    if dropped := new.properties.get("dropped"):
        _record_dropped(db, new, dropped)
    return run, number


def _record_dropped(db: sqlite3.Connection, new: Message, dropped: str) -> None:
    """Record what a device gave up, by `<run>:<first>-<last>:<reason>`, separated by commas."""
    if len(dropped) > MAX_DROPPED:
        return
    for found in map(DROPPED_ITEM.fullmatch, dropped.split(",")):
        if found is not None and int(found[2]) <= int(found[3]):
            run = _run(db, new.device_id, found[1], new.received)
            _add(db, new.device_id, run, found[4], (int(found[2]), int(found[3])))


def _run(db: sqlite3.Connection, device_id: str, name: str, now: float) -> int:
    """Return the number of a run in `runs`, where it is added if it is new."""
    key = (device_id, name)
    row = db.execute("SELECT number FROM runs WHERE device_id = ? AND run = ?", key).fetchone()
    if row is not None:
        return int(row["number"])
    db.execute(
        "INSERT INTO runs (device_id, run, first_received, last_received) VALUES (?, ?, ?, ?)",
        (*key, now, now),
    )
    for excess in db.execute(
        "SELECT number FROM runs WHERE device_id = ?"
        " ORDER BY last_received DESC, number DESC LIMIT -1 OFFSET ?",
        (device_id, MOST_RUNS),
    ).fetchall():
        _forget(db, excess["number"])
    return _run(db, device_id, name, now)


def _add(db: sqlite3.Connection, device_id: str, run: int, kind: str, new: Range) -> bool:
    """Add numbers to those of a run; return False if they were all there before."""
    first, last = new
    touched: list[Range] = []
    for row in db.execute(
        "SELECT first, last FROM ranges WHERE run = ? AND kind = ? AND first <= ?"
        " ORDER BY first DESC",
        (run, kind, last + 1),
    ):
        if row["last"] < first - 1:
            break
        touched.append((row["first"], row["last"]))
    union = min([first, *(low for low, _ in touched)]), max([last, *(high for _, high in touched)])
    if touched == [union]:
        return False
    db.executemany(
        "DELETE FROM ranges WHERE run = ? AND kind = ? AND first = ?",
        [(run, kind, low) for low, _ in touched if low != union[0]],
    )
    db.execute("INSERT OR REPLACE INTO ranges VALUES (?, ?, ?, ?)", (run, kind, *union))
    if not touched:
        _limit_ranges(db, device_id)
    return True


def _limit_ranges(db: sqlite3.Connection, device_id: str) -> None:
    """Forget the lowest range of the oldest run if a device has too many."""
    (count,) = db.execute(
        "SELECT count(*) FROM ranges WHERE run IN (SELECT number FROM runs WHERE device_id = ?)",
        (device_id,),
    ).fetchone()
    if count <= MOST_RANGES:
        return
    run, kind, first, last = db.execute(
        "SELECT run, kind, first, last FROM ranges WHERE run = (SELECT number FROM runs"
        " WHERE device_id = ? AND number IN (SELECT run FROM ranges)"
        " ORDER BY last_received, number LIMIT 1) ORDER BY first LIMIT 1",
        (device_id,),
    ).fetchone()
    key = (run, kind, first)
    db.execute("DELETE FROM ranges WHERE run = ? AND kind = ? AND first = ?", key)
    db.execute(
        "UPDATE runs SET begins = max(ifnull(begins, 1), ?) WHERE number = ?", (last + 1, run)
    )


def forget_runs(db: sqlite3.Connection, before: float) -> None:
    """Forget the runs whose last message was received before then, but the last of each device.

    The last one is kept, because a device that was offline for long continues it.
    """
    for row in db.execute(
        "SELECT number FROM runs AS run WHERE last_received < ? AND EXISTS (SELECT 1 FROM runs"
        " WHERE device_id = run.device_id"
        " AND (last_received, number) > (run.last_received, run.number))",
        (before,),
    ).fetchall():
        _forget(db, row["number"])


def _forget(db: sqlite3.Connection, number: int) -> None:
    """Forget a run. Those that name it as previous are linked to the one before it."""
    row = db.execute("DELETE FROM runs WHERE number = ? RETURNING *", (number,)).fetchone()
    db.execute(
        "UPDATE runs SET begins = ifnull(begins, 1), previous = ?, previous_number = ?"
        " WHERE device_id = ? AND previous = ?",
        (row["previous"], row["previous_number"], row["device_id"], row["run"]),
    )


# Asking


@dataclass(frozen=True, slots=True)
class Gap:
    """Consecutive numbers of a run that were not received."""

    run: str
    first: int
    last: int
    reason: str  # MISSING, or one of REASONS if the device gave them up.
    after: float | None  # When the nearest message before was created, or else received,
    before: float | None  # and the nearest one after; None if central has none of this run.


@dataclass(frozen=True, slots=True)
class Completeness:
    """Counts of received and missing messages since a device's oldest known run."""

    since: float | None  # Time of the first message received; None without messages.
    received: int  # Messages with different ids.
    late: int
    duplicates: int
    start_unknown: bool  # Messages may be missing that no other message tells of.
    lost: dict[str, int]  # How many numbers were not received, by reason.
    gaps: list[Gap]  # Some of them: see `most`.


def completeness(db: sqlite3.Connection, device_id: str, *, most: int = 20) -> Completeness:
    """Return what is missing of a device's messages, with at most so many gaps of each reason.

    Each run must be complete from number 1 to the number that another run names as its previous
    one. The start is unknown if the messages do not lead back to the number 1 of one first run.
    Raise UnknownDevice.
    """
    devices.get(db, device_id)
    runs = db.execute(
        "SELECT * FROM runs WHERE device_id = ? ORDER BY number", (device_id,)
    ).fetchall()
    names = {row["run"] for row in runs}
    ends: dict[str, int] = {}  # The last number of each run that another one names.
    for row in runs:
        if row["previous"] is not None:
            ends[row["previous"]] = max(row["previous_number"], ends.get(row["previous"], 0))
    unlinked = len(names - ends.keys())  # One: the newest run. Others have an unknown end.
    start_unknown = unlinked != 1 and bool(runs)
    received = 0
    lost: defaultdict[str, int] = defaultdict(int)
    gaps: defaultdict[str, list[Gap]] = defaultdict(list)
    for row in runs:
        known = _ranges(db, row["number"])
        received += _size(known[RECEIVED])
        lowest = min((ranges[0][0] for ranges in known.values() if ranges), default=1)
        highest = max((ranges[-1][1] for ranges in known.values() if ranges), default=0)
        linked = row["begins"] is not None or row["previous"] in names
        if not linked and (row["previous"] is not None or not _has_oldest(known, highest)):
            start_unknown = True
        begins = (row["begins"] or 1) if linked else lowest
        expected = [(begins, max(highest, ends.get(row["run"], 0)))]
        for reason, ranges in _by_reason(expected, known).items():
            lost[reason] += _size(ranges)
            gaps[reason] += [_gap(db, row, each, reason) for each in ranges[-most:]]
    return Completeness(
        since=min((row["first_received"] for row in runs), default=None),
        received=received,
        late=sum(row["late"] for row in runs),
        duplicates=sum(row["duplicates"] for row in runs),
        start_unknown=start_unknown,
        lost=dict(lost),
        gaps=[gap for found in gaps.values() for gap in found[-most:]],
    )


def _has_oldest(known: dict[str, list[Range]], highest: int) -> bool:
    """Return whether the oldest message of a run that was not dropped has arrived.

    It names the message before the run; without that, the run is the first one.
    """
    missing = _by_reason([(1, highest)], known).get(MISSING)
    return bool(known[RECEIVED]) and (not missing or known[RECEIVED][0] < missing[0])


def _ranges(db: sqlite3.Connection, run: int) -> dict[str, list[Range]]:
    """Return the ranges of a run, by what they are known for."""
    found: dict[str, list[Range]] = {kind: [] for kind in (RECEIVED, *REASONS)}
    for row in db.execute("SELECT * FROM ranges WHERE run = ? ORDER BY kind, first", (run,)):
        found[row["kind"]].append((row["first"], row["last"]))
    return found


def _by_reason(expected: list[Range], known: dict[str, list[Range]]) -> dict[str, list[Range]]:
    """Return the expected numbers that were not received, by why they were not."""
    rest = _without(expected, known[RECEIVED])
    found = {}
    for reason in REASONS:
        remaining = _without(rest, known[reason])
        found[reason] = _without(rest, remaining)
        rest = remaining
    found[MISSING] = rest
    return {reason: ranges for reason, ranges in found.items() if ranges}


def _without(ranges: list[Range], removed: list[Range]) -> list[Range]:
    """Return the numbers of one list of ranges that are not in the other."""
    left: list[Range] = []
    index = 0
    for low, last in ranges:
        first = low
        while index < len(removed) and removed[index][1] < first:
            index += 1
        at = index
        while at < len(removed) and removed[at][0] <= last:
            if first < removed[at][0]:
                left.append((first, removed[at][0] - 1))
            first = removed[at][1] + 1
            at += 1
        if first <= last:
            left.append((first, last))
    return left


def _size(ranges: list[Range]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _gap(db: sqlite3.Connection, run: sqlite3.Row, numbers: Range, reason: str) -> Gap:
    first, last = numbers
    time = "SELECT ifnull(created, received) FROM messages WHERE run = ? AND sequence"
    after = db.execute(f"{time} < ? ORDER BY sequence DESC LIMIT 1", (run["number"], first))
    before = db.execute(f"{time} > ? ORDER BY sequence LIMIT 1", (run["number"], last))
    times = [None if row is None else row[0] for row in (after.fetchone(), before.fetchone())]
    return Gap(run["run"], first, last, reason, *times)
