"""What a check found: one line, and, where something is wrong, what to do about it."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `line` is a sentence; `details` are for who wants to know more."""

    outcome: Outcome
    line: str
    advice: str | None = None
    details: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"details": list(self.details)}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Finding":
        """Return what `as_json` was made from."""
        return cls(Outcome(told["outcome"]), told["line"], told["advice"], tuple(told["details"]))


def plural(count: int, noun: str) -> str:
    """Return "1 reading" or "2 readings"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def ok(line: str, *details: str) -> Finding:
    """Say that all is well."""
    return Finding(Outcome.OK, line, None, details)


def warning(line: str, advice: str, *details: str) -> Finding:
    """Say that it works, and may not for long."""
    return Finding(Outcome.WARNING, line, advice, details)


def failed(line: str, advice: str, *details: str) -> Finding:
    """Say that it does not work."""
    return Finding(Outcome.FAILED, line, advice, details)


def skipped(because: str) -> Finding:
    """Say that it was not looked at. `because` goes on where "skipped because" ends."""
    return Finding(Outcome.SKIPPED, f"Skipped because {because}.")
