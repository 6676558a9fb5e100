"""A simulated memory card with a file system on it, in memory: `agent.readings.disk.Disk`.

What is written stays in the page cache until it is synced. A power cut keeps any part of what was
not synced: each block of 4096 bytes whole, torn, or lost with what it had before, in any order.
"""

import errno
import os
import random
from copy import deepcopy
from dataclasses import dataclass, field

BLOCK = 4096
SECTOR = 512
HALF = 0.5  # Of what fails has its effect all the same.


@dataclass
class File:
    """`cached` is what reads return, `stored` what is on the card, block by block."""

    cached: dict[int, bytes] = field(default_factory=dict)
    stored: dict[int, bytes] = field(default_factory=dict)
    dirty: dict[int, list[bytes]] = field(default_factory=dict)  # Its versions since the sync.


class Card:
    """A card. Set `failing` to the operations that fail, and `error` to the reason.

    A sync that fails loses data: any of it is not on the card, later syncs succeed, and reads still
    show all of it until the cache is dropped. A write that fails may be in the cache all the same.
    `before` is called with the name of each operation that changes something.
    """

    def __init__(self, choice=None):
        self.choice = choice or random.Random(0)  # noqa: S311 - faults, not secrets.
        self.names = {}  # In the cache: name to File.
        self.stored_names = {}
        self.handles = {}
        self.failing = set()
        self.error = errno.EIO
        self.bad = set()  # (name, number of a block): reading it fails.
        self.before = lambda operation: None
        self._next_handle = 3

    def _do(self, operation):
        if operation not in {"sizes", "open", "read"}:
            self.before(operation)
        self._fail(operation)

    def _fail(self, operation):
        if operation in self.failing:
            raise OSError(self.error, os.strerror(self.error))

    def sizes(self):
        self._do("sizes")
        return {name: _size(file.cached) for name, file in self.names.items()}

    def create(self, name):
        self._do("create")
        if name in self.names:
            raise FileExistsError(name)
        self.names[name] = File()
        return self._handle(name)

    def open(self, name):
        self._do("open")
        if name not in self.names:
            raise FileNotFoundError(errno.ENOENT, "No such file", name)
        return self._handle(name)

    def _handle(self, name):
        self._next_handle += 1
        self.handles[self._next_handle] = self.names[name]
        return self._next_handle

    def close(self, handle):
        del self.handles[handle]

    def read(self, handle, size, offset):
        self._do("read")
        file, number = self.handles[handle], offset // BLOCK
        if any(self.names[name] is file for name, block in self.bad if block == number):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if offset >= _size(file.cached):
            return b""
        block = file.cached.get(number, bytes(BLOCK))
        return block[offset - number * BLOCK :][:size]

    def write(self, handle, content, offset):
        assert len(content) == BLOCK, "the log writes whole blocks"
        assert offset % BLOCK == 0
        self.before("write")
        file, number = self.handles[handle], offset // BLOCK
        if "write" not in self.failing or self.choice.random() < HALF:
            file.cached[number] = content
            file.dirty.setdefault(number, []).append(content)
        self._fail("write")

    def sync(self, handle):
        self.before("sync")
        file = self.handles[handle]
        for number, versions in file.dirty.items():
            if "sync" not in self.failing or self.choice.random() < HALF:
                file.stored[number] = versions[-1]
        file.dirty.clear()
        self._fail("sync")

    def sync_names(self):
        self._do("sync_names")
        self.stored_names = dict(self.names)

    def drop_cache(self, handle):
        self._do("drop_cache")
        file = self.handles[handle]
        clean = {n: block for n, block in file.cached.items() if n in file.dirty}
        file.cached = file.stored | clean

    def delete(self, name):
        self._do("delete")
        del self.names[name]

    def set_aside(self):
        """Rename the directory, so that it is empty."""
        self.names, self.stored_names = {}, {}

    def copy(self):
        """Return a card with the same contents, which works."""
        card = Card()
        copied = deepcopy((self.names, self.stored_names))
        card.names, card.stored_names = copied
        return card

    def after_power_cut(self, choice, *, neighbours=False):
        """Return the card after a power cut now, as `choice` (random.Random) decides.

        With `neighbours`, a block beside one that was being written may be lost, too.
        """
        card = self.copy()
        names = {}
        for name in sorted(card.names.keys() | card.stored_names.keys()):
            now, before = card.names.get(name), card.stored_names.get(name)
            file = now if now is before else choice.choice((now, before))
            if file is not None:
                names[name] = file
        written = [name for name in sorted(names) if names[name].dirty and names[name].stored]
        if neighbours and written:
            _lose_neighbour(names[choice.choice(written)], choice)
        for name in sorted(names):
            _cut_power(names[name], choice)
        card.names, card.stored_names = names, dict(names)
        return card

    def contents(self):
        """Return everything that is on the card, to tell states apart."""
        return tuple(
            (name, tuple(sorted(file.stored.items())))
            for name, file in sorted(self.stored_names.items())
        )


def _size(blocks):
    return BLOCK * (max(blocks, default=-1) + 1)


def _lose_neighbour(file, choice):
    number = choice.choice(sorted(file.dirty)) + choice.choice((-1, 1))
    if number in file.stored:
        file.stored[number] = choice.choice((bytes(BLOCK), b"\xff" * BLOCK))


def _cut_power(file, choice):
    for number, versions in sorted(file.dirty.items()):
        before, after = file.stored.get(number), choice.choice(versions)
        left = choice.choice((_nothing, _all, _torn, _torn_any, _lost))(before, after, choice)
        if left is not None:
            file.stored[number] = left
    file.dirty.clear()
    file.cached = dict(file.stored)


def _nothing(before, _after, _choice):
    return before


def _all(_before, after, _choice):
    return after


def _torn(before, after, choice):
    """Only the first sectors were written."""
    cut = SECTOR * choice.randrange(BLOCK // SECTOR)
    return after[:cut] + (before or bytes(BLOCK))[cut:]


def _torn_any(before, after, choice):
    """Any of the sectors were written."""
    before = before or bytes(BLOCK)
    sectors = range(0, BLOCK, SECTOR)
    return b"".join(choice.choice((before, after))[at : at + SECTOR] for at in sectors)


def _lost(_before, _after, choice):
    return choice.choice((bytes(BLOCK), b"\xff" * BLOCK, choice.randbytes(BLOCK)))
