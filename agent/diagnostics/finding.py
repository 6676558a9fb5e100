"""The result of a check: one sentence, and advice if something is wrong."""

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
    """The result of one check. `line` is a sentence; `details` are shown on request.

    `see` are ids of checks that may have found the cause: those that did replace the advice.
    """

    outcome: Outcome
    line: str
    advice: str | None = None
    details: tuple[str, ...] = ()
    see: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        found = asdict(self) | {"details": list(self.details)}
        del found["see"]
        return found

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Finding":
        """Return the finding that `as_json` was called on."""
        return cls(Outcome(data["outcome"]), data["line"], data["advice"], tuple(data["details"]))


def plural(count: int, noun: str) -> str:
    """Return "1 reading" or "2 readings"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def ok(line: str, *details: str) -> Finding:
    """Return that all is well."""
    return Finding(Outcome.OK, line, None, details)


def warning(line: str, advice: str, *details: str, see: tuple[str, ...] = ()) -> Finding:
    """Return that something works, but may not for long."""
    return Finding(Outcome.WARNING, line, advice, details, see)


def failed(line: str, advice: str, *details: str, see: tuple[str, ...] = ()) -> Finding:
    """Return that something does not work."""
    return Finding(Outcome.FAILED, line, advice, details, see)


def skipped(because: str) -> Finding:
    """Return that nothing was checked. `because` completes the sentence "Skipped because"."""
    return Finding(Outcome.SKIPPED, f"Skipped because {because}.")


NO_BOARD = skipped("this machine is not a Raspberry Pi (gpio-access)")
