"""Where this device belongs: its ID scope, and a move to another one that is in progress.

Everything here is pure. A move is undone only if the new place fails once more right after the old
one has worked, so an outage of the local network, a wrong clock or a provisioning service that is
down cannot undo it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from agent.ranges import ID_SCOPE

# Seconds that the new place may fail before the old one is tried. Routers, hubs that fail over and
# provisioning services that are throttled need minutes, and the operator of a fleet is waiting. The
# outbox holds the readings of this time many times over.
PATIENCE = 900.0
REFUSALS = 3  # In a row, after which the old place is tried at once.
MOST_SCOPES = 10  # ID scopes that are remembered, the configuration's among them.
LONGEST_STATUS = 500  # Characters of the property `moveStatus`.
NONE, MOVING, MOVED = "none", "moving", "moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where this device belongs.

    `scopes` are the ID scopes it has belonged to: the configuration's first, the current one last.
    `target` is the one that it is moving to, and `tried` the seconds it has tried that in vain.
    `status` is the property `moveStatus`. `since` (UTC, ISO 8601) and `by` say when that began, and
    by whose order; both are None for a device that was never moved.
    """

    scopes: tuple[str, ...]
    target: str | None = None
    tried: float = 0.0
    status: str = NONE
    since: str | None = None
    by: str | None = None

    @property
    def id_scope(self) -> str:
        """The ID scope that this device belongs to."""
        return self.scopes[-1]

    def ordered(self, target: str, *, by: str, now: str) -> "Home":
        """Begin a move to `target`."""
        return replace(self, target=target, tried=0.0, status=MOVING, since=now, by=by)

    def arrived(self, now: str) -> "Home":
        """End a move: this device belongs to its target now."""
        if self.target is None:
            return self
        scopes = (*self.scopes, self.target)
        kept = (scopes[0], *scopes[1:][1 - MOST_SCOPES :])
        return replace(self, scopes=kept, target=None, tried=0.0, status=MOVED, since=now)

    def returned(self, reason: str, now: str) -> "Home":
        """Give up a move that failed."""
        status = f"The move to ID scope {self.target} was undone: {reason}"[:LONGEST_STATUS]
        return replace(self, target=None, tried=0.0, status=status, since=now)

    def undone(self, *, by: str, now: str) -> "Home | None":
        """Undo the move in progress, or else the last one. None if there is none."""
        undone = self.target or self.id_scope
        if self.target is None and len(self.scopes) == 1:
            return None
        scopes = self.scopes if self.target is not None else self.scopes[:-1]
        status = f"The move to ID scope {undone} was undone by {by}."
        return Home(scopes=scopes, status=status, since=now, by=by)


class Step(StrEnum):
    """The place to try next, and why."""

    STAY = "the place this device belongs to"
    NEW = "the target of the move"
    OLD = "the old place, to see whether it works"
    LAST = "the target again, as the old place has just worked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """A device on its way, or at home. Only `home` outlives the process."""

    home: Home
    step: Step = Step.STAY
    refusals: int = 0

    @classmethod
    def at_start(cls, home: Home, patience: float) -> "Journey":
        """Return where a process begins that finds this home stored."""
        if home.target is None:
            return cls(home=home)
        return cls(home=home, step=Step.OLD if home.tried >= patience else Step.NEW)

    @property
    def id_scope(self) -> str:
        """The ID scope to try next."""
        if self.step in {Step.NEW, Step.LAST} and self.home.target is not None:
            return self.home.target
        return self.home.id_scope

    def worked(self, now: str) -> "Journey":
        """Return the journey after a connection to `id_scope` worked."""
        if self.step is Step.OLD:
            return replace(self, step=Step.LAST)
        return Journey(home=self.home.arrived(now))

    def failed(
        self, reason: str, *, refused: bool, seconds: float, now: str, patience: float
    ) -> "Journey":
        """Return the journey after an attempt failed. `seconds` have passed since the one before.

        `refused` is true if the place itself refused this device, false if it was not reached.
        """
        match self.step:
            case Step.STAY:
                return self
            case Step.LAST:
                return Journey(home=self.home.returned(reason, now))
            case Step.OLD:  # The cause may be this device's network, so the new place starts again.
                return Journey(home=replace(self.home, tried=0.0), step=Step.NEW)
        tried = self.home.tried + seconds
        refusals = self.refusals + 1 if refused else 0
        enough = tried >= patience or refusals >= REFUSALS
        return Journey(
            home=replace(self.home, tried=tried),
            step=Step.OLD if enough else Step.NEW,
            refusals=0 if enough else refusals,
        )


def to_stored(home: Home, registration: Sequence[str | None]) -> dict[str, Any]:
    """Return the setting for a home. `registration` is host, ID scope and device id configured."""
    return {
        "registration": list(registration),
        "scopes": list(home.scopes),
        "target": home.target,
        "tried": home.tried,
        "status": home.status,
        "since": home.since,
        "by": home.by,
    }


def from_stored(stored: object) -> tuple[Home, list[Any]] | None:
    """Return the home and the registration of a setting; None if it is missing or damaged."""
    if not isinstance(stored, Mapping):
        return None
    match dict(stored):
        case {
            "registration": list(registration),
            "scopes": list([_, *_] as scopes),
            "target": str() | None as target,
            "tried": float() | int() as tried,
            "status": str(status),
            "since": str() | None as since,
            "by": str() | None as by,
        } if (
            all(map(is_id_scope, scopes))
            and (target is None or is_id_scope(target))
            and tried >= 0  # Not NaN either.
        ):
            home = Home(
                scopes=tuple(scopes),
                target=target,
                tried=float(tried),
                status=status,
                since=since,
                by=by,
            )
            return home, registration
    return None


def is_id_scope(value: object) -> bool:
    """Return whether a value has the form of an ID scope."""
    return isinstance(value, str) and re.fullmatch(ID_SCOPE, value) is not None
