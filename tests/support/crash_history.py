"""A history of the outbox's files on a simulated card, checked after a power cut at each step."""

import random
from itertools import count

from card import Card

from agent.readings.clock import Stamp
from agent.readings.segment_files import (
    OWN_ORDER,
    START,
    Entry,
    OtherBoardError,
    Position,
    SegmentFiles,
)
from hw import Reading

DAY = 86400.0
LIMIT = 50_000  # Bytes of the files: few, so that readings are dropped.
FAULTS = (
    {"sync"},
    {"sync"},
    {"sync"},
    {"write"},
    {"create"},
    {"sync_names"},
    {"delete"},
    {"write", "create", "sync", "sync_names", "delete"},
)


class ViolationError(AssertionError):
    """The files broke a promise."""


class History:
    """What a daemon did, and what must therefore be in its files.

    `safe` are the readings that must survive, `gone` those whose acknowledgement or drop was saved.
    Every reading that is returned must be in `taken`, unchanged.
    """

    def __init__(self, seed, *, card=Card, variants=3, neighbours=False):
        self.choice = random.Random(seed)  # noqa: S311 - faults, not secrets.
        self.card = card(self.choice)
        self.variants = variants
        self.neighbours = neighbours
        self.states = set()
        self.taken = {}
        self.safe = set()
        self.gone = set()
        self.going = set()  # Until the next save.
        self.newest = ("", 0)  # The newest id that was saved.
        self.dropped = 0
        self.lost = 0
        self.board: str | None = "board a"
        self.boards: set[str | None] = {"board a"}  # Those that may have written files.
        self.uptime = 1000.0
        self._runs = (f"{number:012x}" for number in count(1 + seed * 1_000_000))
        self._start()

    def run(self, steps):
        """Do random things, with power cuts that the history survives, too."""
        self.card.before = self._cut
        for _ in range(steps):
            step = self.choice.choices(
                (
                    self._add,
                    self._acknowledge,
                    self._fail,
                    self._recover,
                    self._restart,
                    self._cut_here,
                    self._move_to_another_board,
                    self._report,
                ),
                (40, 20, 12, 12, 8, 4, 1, 4),
            )[0]
            step()

    # What a daemon does.

    def _start(self):
        self.unsaved = []
        self.log = self._load(self.card)
        # What is believed at the start must survive, too.
        self.safe = {entry.message_id for entry in everything(self.log)}
        self.going = set()
        self.dropped = self.log.state.dropped

    def _load(self, card):
        self.run_id = next(self._runs)
        self.number = 0
        return load(card, self.run_id, self.board)

    def _take(self, how_many):
        for _ in range(how_many):
            self.number += 1
            self.uptime += self.choice.choice((1.0, 60.0, DAY / 8))
            entry = Entry(
                Position(OWN_ORDER, self.run_id, self.number),
                Reading(self.choice.randrange(-400, 800) / 10, self.choice.randrange(1000) / 10),
                Stamp(1.7e9 + self.uptime, self.uptime, "boot", self.choice.random() < 0.5),
            )
            self.taken[entry.message_id] = entry
            yield entry

    def _add(self):
        self.unsaved += self._take(self.choice.choice((1, 1, 1, 2, 5, 90)))
        dropped = self.log.state.dropped
        self.log.make_room()
        if self.log.state.dropped > dropped:
            self._goes(self.safe & given_up(self.log))
        self._save()

    def _save(self):
        try:
            self.log.save(self.unsaved)
        except OSError:
            return
        self.safe |= {entry.message_id for entry in self.unsaved}
        self.newest = max([self.newest, *(entry.position[1:] for entry in self.unsaved)])
        self.unsaved = []
        self.gone |= self.going
        self.going = set()
        self.dropped = self.log.state.dropped

    def _goes(self, names):
        self.safe -= names
        self.going |= names

    def _acknowledge(self):
        page = self.log.page(START, 200) + self.unsaved
        entries = self.choice.sample(page, self.choice.randrange(len(page) + 1))
        if self.choice.random() < 0.5:
            entries = page[: len(entries)]
        names = {entry.message_id for entry in entries}
        self._goes(names)
        self.unsaved = [entry for entry in self.unsaved if entry.message_id not in names]
        for entry in entries:
            self.log.acknowledge(entry.run, entry.number, entry.number)
        if self.choice.random() < 0.3:
            self._save()

    def _report(self):
        self.log.report(self.log.state.unreported[:2])

    def _fail(self):
        self.card.failing = self.choice.choice(FAULTS)

    def _recover(self):
        self.card.failing = set()

    def _restart(self):
        """Kill the daemon, and start it with what is in the page cache."""
        self._recover()
        self._start()

    def _cut_here(self):
        self.card = self.card.after_power_cut(self.choice)
        self.card.choice = self.choice
        before = self.safe
        self._start()
        self.card.before = self._cut
        if before - self.safe:
            raise ViolationError(f"lost {sorted(before - self.safe)}")

    def _move_to_another_board(self):
        self._recover()
        self.board = self.choice.choice(("board a", "board b", None))
        self.card.before = _nothing
        try:
            self._start()
        except OtherBoardError:
            self._check_refusal()
            self.card.set_aside()
            self.boards = set()
            self.newest = ("", 0)
            self._start()
        self.boards.add(self.board)
        self.card.before = self._cut

    # What is checked.

    def _check_refusal(self):
        if not self.boards - {self.board, None} or self.board is None:
            raise ViolationError("this board's own files were refused")

    def _cut(self, _operation):
        for _ in range(self.variants):
            card = self.card.after_power_cut(self.choice, neighbours=self.neighbours)
            state = hash(card.contents())
            if state not in self.states:
                self.states.add(state)
                self.check(card)

    def check(self, card):
        """Check a card after a power cut. Raises ViolationError."""
        try:
            log = load(card, "f" * 12, self.board)
        except OtherBoardError:
            self._check_refusal()
            return
        entries = everything(log)
        names = [entry.message_id for entry in entries]
        for entry in entries:
            taken = self.taken.get(entry.message_id)
            if taken is None or (taken.reading, taken.taken) != (entry.reading, entry.taken):
                raise ViolationError(f"wrong: {entry}")
        if len(names) != len(set(names)) or len(names) != log.state.count:
            raise ViolationError("a reading was returned twice, or counted wrongly")
        lost = self.safe - set(names)
        if not self.neighbours:
            self._check_all_is_kept(log, set(names))
        if given_up(log) & (self.safe - lost):
            raise ViolationError("a reading that waits is called dropped")
        # Nothing can prove that readings are missing after the newest one that is left.
        known = log.state.last or ("", 0)
        uncounted = {name for name in lost - given_up(log) if as_id(name) <= known}
        if uncounted:
            raise ViolationError(f"lost without being counted: {sorted(uncounted)}")
        self.lost += len(lost)

    def _check_all_is_kept(self, log, names):
        if self.safe - names:
            raise ViolationError(f"lost {sorted(self.safe - names)}")
        if self.gone & names:
            raise ViolationError(f"returned {sorted(self.gone & names)} after their removal")
        if (log.state.last or ("", 0)) < self.newest:
            raise ViolationError(f"the newest id is {log.state.last}, and {self.newest} was saved")
        if log.state.dropped < self.dropped:
            raise ViolationError(f"{self.dropped} dropped readings became {log.state.dropped}")


def _nothing(_operation):
    pass


def load(card, run, board):
    log = SegmentFiles(card, run=run, boot="boot", board=board, max_bytes=LIMIT)
    log.load()
    return log


def everything(log):
    return log.page(START, 100_000)


def as_id(name):
    run, _, number = name.partition(":")
    return run, int(number)


def given_up(log):
    """Return the ids of all dropped readings."""
    return {
        f"{gap.run}:{number}"
        for gap in (*log.state.unreported, *log.state.reported)
        for number in range(gap.first, gap.last + 1)
    }
