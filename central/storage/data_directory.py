"""Central's data directory: one central at a time uses it, and no restore of it stays half done."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from central.errors import DataDirectoryInUse, StartError, in_words

LOCK = "central.lock"
DATABASE = "central.db"
ANNOUNCED = "central.json"  # Only while central runs.
# A restore goes through these directories. Each step is one rename, so that it can be finished
# whenever it was interrupted.
RESTORING = "restore-incomplete"  # It is being written, and may be thrown away.
RESTORED = "restore-complete"  # It is whole. What was there before is being moved to BEFORE.
ARRIVING = "restore-arriving"  # That is done, and the content is being moved to its place.
BEFORE = "before-restore"
OWN = frozenset({LOCK, RESTORING, RESTORED, ARRIVING, BEFORE})


@contextmanager
def locked(directory: Path) -> Iterator[Path]:
    """Create the data directory if it is missing, and lock it. Raise StartError.

    A restore that was interrupted is finished first.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = "it is a file" if directory.is_file() else in_words(error)
        raise StartError(
            f"Cannot use {directory} as data directory: {reason}. Choose another one with --data."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finish_restore(directory)
        yield directory
    except BlockingIOError:
        raise DataDirectoryInUse(directory) from None
    finally:
        os.close(lock)


def finish_restore(directory: Path) -> None:
    """Finish a restore that is complete, or discard one that is not. The directory is locked."""
    discard(directory / RESTORING)
    if (directory / RESTORED).is_dir():
        before = directory / BEFORE
        replaced = [path for path in directory.iterdir() if path.name not in OWN]
        if replaced:
            before.mkdir(mode=0o700, exist_ok=True)
        for path in replaced:
            path.replace(before / path.name)
        if replaced:
            sync(before)
        (directory / RESTORED).replace(directory / ARRIVING)
        sync(directory)
    if (directory / ARRIVING).is_dir():
        for path in list((directory / ARRIVING).iterdir()):
            path.replace(directory / path.name)
        sync(directory)
        (directory / ARRIVING).rmdir()


def discard(directory: Path) -> None:
    """Remove a directory with everything in it, if it is there."""
    if directory.is_dir():
        shutil.rmtree(directory)


def sync(path: Path) -> None:
    """Write a file or the names in a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
