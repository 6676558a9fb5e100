"""Which processes hold GPIO lines, as far as this user may see it.

The kernel shows it in /proc/PID/fdinfo since Linux 6.1, for requests of the newer kind (gpiod 2,
lgpio). Of an older request, as Blinka's helper makes it, only the process is known.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

LINK = re.compile(r"anon_inode:\[?gpio-(?:line|linehandle|event|lineevent)\]?")
INFO = re.compile(r"gpio-chip:\s*(\S+)\s+gpio-line:\s*([0-9]+)")
# Not a service of a user's own systemd, which systemctl manages only for that user.
UNIT = re.compile(r"^(?!.*/user\.slice/).*/([^/]+)\.service$", re.MULTILINE)
OWN_UNIT = "sensor-agent"
DEEPEST = 32  # Processes above each other.


@dataclass(frozen=True, slots=True)
class Process:
    """A process that holds lines, by chip and number. `has_others` is whether it has unknown ones.

    `unit` is the service it belongs to, or "". `is_own` is whether it is a part of this program;
    `pid` is then that of its main process.
    """

    pid: int
    name: str
    unit: str
    is_own: bool
    lines: frozenset[tuple[str, int]]
    has_others: bool


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes with lines. `are_all` is whether this user could look at every process."""

    found: list[Process] = field(default_factory=list)
    are_all: bool = True

    def holder(self, chip: str, line: int) -> Process | None:
        """Return the process that holds a line, if that is known."""
        return next((one for one in self.found if (chip, line) in one.lines), None)

    def candidates(self) -> list[Process]:
        """Return the processes that hold lines of which nothing more is known."""
        return [one for one in self.found if one.has_others]


def processes(proc: Path, own: int | None = None) -> Processes:
    """Return the processes in `proc` that hold lines. `own` is this process."""
    own = os.getpid() if own is None else own
    # The service has a /proc without the processes of other users, and so without the first one.
    found, are_all = [], (proc / "1").exists()
    for place in proc.glob("[0-9]*"):
        try:
            requests = [one for one in (place / "fd").iterdir() if LINK.fullmatch(_link(one))]
        except PermissionError:
            are_all = False
            continue
        except OSError:  # It has ended.
            continue
        if requests:
            found.append(_process(place, [one.name for one in requests], own))
    return Processes(sorted(found, key=lambda one: one.pid), are_all)


def _process(place: Path, requests: list[str], own: int) -> Process:
    lines, has_others = set(), False
    for number in requests:
        known = INFO.findall(_read(place / "fdinfo" / number))
        has_others = has_others or not known
        lines |= {(chip, int(line)) for chip, line in known}
    unit = UNIT.search(_read(place / "cgroup"))
    main = _own_main(place, own)
    return Process(
        pid=int(place.name) if main is None else main,
        name=_read(place / "comm").strip() or "a program",
        unit=unit[1] if unit else "",
        is_own=(unit is not None and unit[1] == OWN_UNIT) or main is not None,
        lines=frozenset(lines),
        has_others=has_others,
    )


def _own_main(place: Path, own: int) -> int | None:
    """Return the process of this program that a process is or comes from. None if there is none."""
    for _ in range(DEEPEST):
        arguments = _read(place / "cmdline").split("\0")
        names = {Path(one).name for one in arguments[:2]}
        if int(place.name) == own or "sensor-agent" in names or arguments[1:3] == ["-m", "agent"]:
            return int(place.name)
        parent = re.search(r"^PPid:\s*([0-9]+)", _read(place / "status"), re.MULTILINE)
        if parent is None or parent[1] in {"0", "1"}:
            return None
        place = place.parent / parent[1]
    return None


def _link(file: Path) -> str:
    try:
        return str(file.readlink())
    except OSError:  # It has been closed.
        return ""


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
