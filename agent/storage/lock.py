"""Locks the state directory, so that two daemons cannot use it at the same time."""

import fcntl
import os
import threading
from pathlib import Path

from agent.errors import StoreInUse


class Lock:
    """A lock on a directory that is held until `release` or the end of the process.

    Any thread may call its methods.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._held: int | None = None  # A file descriptor.
        self._mutex = threading.Lock()

    def take(self) -> None:
        """Create the directory if necessary, and lock it.

        Call it before each creation of a file: it does nothing while the directory is locked, and
        recreates one that was removed. Raises StoreInUse if another daemon has the lock, and
        OSError if the directory cannot be created or locked.
        """
        with self._mutex:
            if self._held is not None and self._is_in_place(self._held):
                return
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            # The directory itself, which can be locked even on a read-only disk.
            directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(directory)
                raise StoreInUse(self.directory) from None
            except OSError:
                os.close(directory)
                raise
            self._close()
            self._held = directory

    def release(self) -> None:
        with self._mutex:
            self._close()

    def _is_in_place(self, directory: int) -> bool:
        try:
            return os.path.samestat(os.fstat(directory), self.directory.stat())
        except FileNotFoundError:
            return False

    def _close(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None
