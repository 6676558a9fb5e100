"""The few operations on files that the outbox needs, so that tests can simulate a failing card."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agent.storage.set_aside import Reason, set_aside


class Disk(Protocol):
    """A directory of files. Each operation raises OSError if it fails."""

    def sizes(self) -> dict[str, int]:
        """Return the size of each file in bytes; empty if the directory does not exist."""
        ...

    def create(self, name: str) -> int:
        """Create a file, and the directory if necessary. Returns the handle for the others."""
        ...

    def open(self, name: str) -> int:
        """Open a file for reading."""
        ...

    def close(self, handle: int) -> None: ...

    def read(self, handle: int, size: int, offset: int) -> bytes:
        """Return up to `size` bytes; fewer at the end of the file."""
        ...

    def write(self, handle: int, content: bytes, offset: int) -> None: ...

    def sync(self, handle: int) -> None:
        """Wait until the contents of the file are on the card."""
        ...

    def sync_names(self) -> None:
        """Wait until created and deleted names are on the card."""
        ...

    def drop_cache(self, handle: int) -> None:
        """Forget what memory has of the file, so that it is read from the card again."""
        ...

    def delete(self, name: str) -> None: ...

    def set_aside(self) -> None:
        """Rename the directory, because its files are another board's."""
        ...


class Directory:
    """A real directory. `before_create` is called before a file is created."""

    def __init__(self, path: Path, *, before_create: Callable[[], None]) -> None:
        self.path = path
        self._before_create = before_create

    def sizes(self) -> dict[str, int]:
        try:
            with os.scandir(self.path) as entries:
                return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        except FileNotFoundError:
            return {}

    def create(self, name: str) -> int:
        self._before_create()
        if not self.path.exists():
            self.path.mkdir(mode=0o700)
            _sync_directory(self.path.parent)
        return os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open(self, name: str) -> int:
        return os.open(self.path / name, os.O_RDONLY | os.O_CLOEXEC)

    def close(self, handle: int) -> None:
        os.close(handle)

    def read(self, handle: int, size: int, offset: int) -> bytes:
        return os.pread(handle, size, offset)

    def write(self, handle: int, content: bytes, offset: int) -> None:
        if os.pwrite(handle, content, offset) != len(content):
            raise OSError("the disk took only a part of the data")

    def sync(self, handle: int) -> None:
        if not os.fstat(handle).st_nlink:
            raise FileNotFoundError("the file was deleted")
        # macOS has no fdatasync.
        (os.fdatasync if sys.platform == "linux" else os.fsync)(handle)

    def sync_names(self) -> None:
        _sync_directory(self.path)

    def drop_cache(self, handle: int) -> None:
        if sys.platform == "linux":
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)

    def delete(self, name: str) -> None:
        (self.path / name).unlink()

    def set_aside(self) -> None:
        set_aside(self.path, Reason.OTHER_BOARD)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
