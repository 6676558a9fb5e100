"""One SQLite file with the daemon's queue of readings.

One thread does all the work, so that a slow card does not block the event loop. If the disk fails,
the file is opened again for the next piece of work.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from agent.errors import StoreError
from agent.storage.store_file import open_database

T = TypeVar("T")

log = logging.getLogger(__name__)

STORE_NAME = "state.db"

CLOSE_DEADLINE = 1.0  # Seconds. The daemon stops within 5 even if the disk hangs.

# After these errors only a new connection can work.
FRESH_CONNECTION_HELPS = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
}


class Store:
    """The daemon's state file. `open` or `begin` comes first and `close` last.

    Every committed transaction survives a power cut (WAL, synchronous=FULL).
    """

    def __init__(self, path: Path, *, board: str | None = None) -> None:
        self.path = path
        self._board = board
        self._database: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, board: str | None = None) -> "Store":
        """Open the file. Create it if it does not exist, and upgrade an older one.

        A file that is damaged, of a newer version, or of another board than `board` is set aside.
        If the disk fails, `run` raises StoreError until the disk works.
        """
        store = cls(path, board=board)
        store._begin()
        return store

    async def begin(self) -> None:
        """Open the file as `open` does, in the thread: checking a large file takes seconds."""
        await self._in_thread(self._begin)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in one transaction in the store's thread.

        Raises StoreError if the file cannot be read or written. The transaction is rolled back.
        """
        return await self._in_thread(lambda: self._do(work))

    def close(self) -> None:
        """Finish the pending work and close the file. Does nothing the second time.

        If the disk hangs for CLOSE_DEADLINE seconds, the file stays open: the process is about to
        end, and committed transactions are in the WAL.
        """
        if self._closed:
            return
        self._closed = True
        closing = self._thread.submit(self._disconnect)
        self._thread.shutdown(wait=False)
        wait({closing}, timeout=CLOSE_DEADLINE)

    async def _in_thread(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    # In the store's thread.

    def _begin(self) -> None:
        try:
            self._connect()
        except StoreError as error:
            log.debug("The file is opened again later: %s", error)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        database = self._connect()
        try:
            with database:
                return work(database)
        except sqlite3.Error as error:
            # The lowest byte of an extended code is the primary code.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in FRESH_CONNECTION_HELPS:
                self._disconnect()
            raise StoreError(self.path, str(error)) from error

    def _connect(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = open_database(self.path, board=self._board)
        return self._database

    def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(
                sqlite3.Error
            ):  # The disk is gone. Committed transactions are in the WAL.
                database.close()
