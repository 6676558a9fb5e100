"""Which devices the list shows, in which order, and how many there are of each kind."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from central.hub.device_state import DeviceState
from central.records import Device

DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True)
class Entry:
    """A device in the list."""

    device: Device
    state: DeviceState
    heard: float | None  # When its newest message was received; without any, when it connected.
    tags: tuple[str, ...] = ()
    alert: bool = False  # Whether it has an alert whose condition still holds.


KINDS: Mapping[str, Callable[[Entry], bool]] = {
    state: partial(lambda state, entry: entry.state is state, state) for state in DeviceState
} | {"alert": lambda entry: entry.alert}
"""What the list counts and can be narrowed to, by name."""

Order = Literal["name", "id", "state", "silence", "newest", "added"]

STATE_ORDER = [
    DeviceState.SILENT,
    DeviceState.LATE,
    DeviceState.NEVER_SEEN,
    DeviceState.BLOCKED,
    DeviceState.REPORTING,
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator wants to see. Each empty field is no condition."""

    kind: str = ""  # One of KINDS.
    tag: str = ""
    search: str = ""  # Words that all occur in the name, the id or a tag.
    order: Order = "name"


@dataclass(frozen=True, slots=True)
class Found:
    """The devices to show, and how many there are of each kind, whichever kind is wanted."""

    entries: list[Entry]
    counts: dict[str, int]
    matching: int  # Devices with the tag and the words, of any kind.


def find(entries: Iterable[Entry], wanted: Wanted) -> Found:
    """Return the devices that are wanted, sorted; equal ones by name and id."""
    words = wanted.search.casefold().split()
    tag = wanted.tag.casefold()
    matching = [entry for entry in entries if _has(entry, tag, words)]
    counts = {name: sum(map(is_kind, matching)) for name, is_kind in KINDS.items()}
    shown = [entry for entry in matching if not wanted.kind or KINDS[wanted.kind](entry)]
    shown.sort(key=_by_name)
    if wanted.order != "name":
        shown.sort(key=ORDERS[wanted.order])
    return Found(shown, counts, len(matching))


def tag_counts(entries: Iterable[Entry]) -> list[tuple[str, int]]:
    """Return each tag and its number of devices, in natural order."""
    counts = Counter(tag for entry in entries for tag in entry.tags)
    return sorted(counts.items(), key=lambda each: natural_key(each[0]))


def natural_key(text: str) -> tuple[tuple[str, int], ...]:
    """Return the key by which 2 comes before 10, and upper and lower case are the same.

    https://en.wikipedia.org/wiki/Natural_sort_order
    """
    parts = DIGITS.split(text.casefold())
    numbers = [*parts[1::2], "0"]
    return tuple((word, int(number)) for word, number in zip(parts[::2], numbers, strict=True))


def _has(entry: Entry, tag: str, words: list[str]) -> bool:
    tags = [each.casefold() for each in entry.tags]
    if tag and tag not in tags:
        return False
    texts = [entry.device.display_name.casefold(), entry.device.id.casefold(), *tags]
    return all(any(word in text for text in texts) for word in words)


def _by_name(entry: Entry) -> Any:
    return natural_key(entry.device.display_name), natural_key(entry.device.id), entry.device.id


ORDERS: Mapping[str, Callable[[Entry], Any]] = {
    "name": _by_name,
    "id": lambda entry: (natural_key(entry.device.id), entry.device.id),
    "state": lambda entry: STATE_ORDER.index(entry.state),
    "silence": lambda entry: (entry.heard is None, entry.heard or 0),
    "newest": lambda entry: (entry.heard is None, -(entry.heard or 0)),
    "added": lambda entry: -entry.device.created,
}
