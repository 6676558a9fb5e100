"""Renames state files that this daemon cannot use. Nothing is deleted."""

import logging
import re
import time
from enum import StrEnum
from pathlib import Path

from agent.logs.events import LogEvent
from agent.status import SetAsideFile

log = logging.getLogger(__name__)

EARLIER_STORE = "state.db"  # Settings and readings, in SQLite.


class Reason(StrEnum):
    """Why a file is set aside, as its new name says."""

    DAMAGED = "damaged"
    OTHER_BOARD = "other-board"
    EARLIER_VERSION = "earlier-version"
    NEWER_VERSION = "newer-version"


SENTENCES = {
    Reason.DAMAGED: "%s is damaged. It is renamed to %s and replaced.",
    Reason.OTHER_BOARD: "%s was written on another board: the card was moved or copied. It is "
    "renamed to %s and replaced; readings in it are not sent.",
    Reason.EARLIER_VERSION: "%s was written by an earlier version of sensor-agent. It is renamed "
    "to %s and replaced; readings in it are not sent.",
    Reason.NEWER_VERSION: "%s was written by a newer version of sensor-agent. It is renamed to %s "
    "and replaced; to use it, install that version and restore the name.",
}
EVENTS = {
    Reason.DAMAGED: LogEvent.STORE_DAMAGED,
    Reason.OTHER_BOARD: LogEvent.STORE_OF_ANOTHER_BOARD,
    Reason.EARLIER_VERSION: LogEvent.STORE_OF_ANOTHER_VERSION,
    Reason.NEWER_VERSION: LogEvent.STORE_OF_ANOTHER_VERSION,
}
RENAMED = re.compile(rf".+\.({'|'.join(Reason)})-\d{{8}}T\d{{6}}Z(-\d+)?")


def set_aside(path: Path, reason: Reason) -> Path:
    """Rename a file or a folder, and log why. Returns its new path.

    The new name is `<name>.<reason>-<date>`. Raises OSError.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.{reason}-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.{reason}-{stamp}-{number}")
    path.rename(aside)
    event = EVENTS[reason]
    log.warning(SENTENCES[reason], path, aside.name, extra=event.about(FILE=aside))
    return aside


def set_aside_earlier_store(directory: Path) -> None:
    """Rename the state file of earlier versions, with its -wal and -shm. Raises OSError."""
    path = directory / EARLIER_STORE
    if not path.exists():
        return
    aside = set_aside(path, Reason.EARLIER_VERSION)
    for ending in ("-wal", "-shm"):
        part = path.with_name(path.name + ending)
        if part.exists():
            part.rename(aside.with_name(aside.name + ending))


def set_aside_files(directory: Path) -> tuple[SetAsideFile, ...]:
    """Return the files and folders that were set aside, by name."""
    try:
        names = sorted(path.name for path in directory.iterdir())
    except OSError:
        return ()  # The directory does not exist, or the disk fails, which other checks report.
    return tuple(
        SetAsideFile(file=name, reason=found[1])
        for name in names
        if (found := RENAMED.fullmatch(name))
    )
