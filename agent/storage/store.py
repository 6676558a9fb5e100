"""One SQLite file with the daemon's settings and its queue of readings.

One thread does all the work, so that a slow card does not block the event loop. If the disk fails,
the file is opened again for the next piece of work.
"""

import asyncio
import json
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from agent.errors import StoreError, StoreInUse, StoreTooNew
from agent.storage.store_file import Lock, open_database

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
        self._lock = Lock(path)
        self._database: sqlite3.Connection | None = None
        self._unwritten: dict[str, Any] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, board: str | None = None) -> "Store":
        """Open the file. Create it if it does not exist, and upgrade an older one.

        A damaged file, and one that was written on another `board`, is renamed with the date, and a
        new one is created. Raises StoreInUse if another daemon uses it, and StoreTooNew if a newer
        version of this program wrote it. If the disk fails, `run` raises StoreError until the disk
        works.
        """
        store = cls(path, board=board)
        try:
            store._begin()
        except StoreError:
            store.close()
            raise
        return store

    async def begin(self) -> None:
        """Open the file as `open` does, in the thread: checking a large file takes seconds."""
        await self._in_thread(self._begin)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in one transaction in the store's thread.

        Raises StoreError if the file cannot be read or written. The transaction is rolled back.
        """
        return await self._in_thread(lambda: self._do(work))

    async def get(self, name: str, default: Any = None) -> Any:
        """Return the setting `name`, or `default` if it does not exist or the disk fails."""
        return await self._in_thread(lambda: self._get(name, default))

    async def put(self, name: str, value: Any) -> None:
        """Store `value` (of JSON's types) as the setting `name`. None deletes the setting.

        While the disk fails, the value stays in memory. It is written when the disk works again.
        """
        await self._in_thread(lambda: self._put(name, value))

    def close(self) -> None:
        """Finish the pending work and close the file. Does nothing the second time.

        If the disk hangs for CLOSE_DEADLINE seconds, the file stays open and locked: the process is
        about to end, and committed transactions are in the WAL.
        """
        if self._closed:
            return
        self._closed = True
        closing = self._thread.submit(self._disconnect)
        self._thread.shutdown(wait=False)
        if wait({closing}, timeout=CLOSE_DEADLINE).done:
            self._lock.release()

    async def _in_thread(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    # In the store's thread.

    def _begin(self) -> None:
        try:
            self._connect()
        except (StoreInUse, StoreTooNew):
            raise
        except StoreError as error:
            log.debug("The file is opened again later: %s", error)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        database = self._connect()
        try:
            with database:
                for name, value in self._unwritten.items():
                    _write(database, name, value)
                result = work(database)
        except sqlite3.Error as error:
            # The lowest byte of an extended code is the primary code.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in FRESH_CONNECTION_HELPS:
                self._disconnect()
            raise StoreError(self.path, str(error)) from error
        self._unwritten.clear()
        return result

    def _get(self, name: str, default: Any) -> Any:
        if name in self._unwritten:
            value = self._unwritten[name]
            return default if value is None else value

        def work(database: sqlite3.Connection) -> Any:
            row = database.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
            return default if row is None else json.loads(row[0])

        try:
            return self._do(work)
        except StoreError as error:
            log.debug("Cannot read the setting %s: %s", name, error)
            return default

    def _put(self, name: str, value: Any) -> None:
        try:
            self._do(lambda database: _write(database, name, value))
        except StoreError as error:
            log.debug("Cannot write the setting %s yet: %s", name, error)
            self._unwritten[name] = value

    def _connect(self) -> sqlite3.Connection:
        if self._database is None:
            self._lock.take()
            self._database = open_database(self.path, board=self._board)
        return self._database

    def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(
                sqlite3.Error
            ):  # The disk is gone. Committed transactions are in the WAL.
                database.close()


def _write(database: sqlite3.Connection, name: str, value: Any) -> None:
    if value is None:
        database.execute("DELETE FROM settings WHERE name = ?", (name,))
    else:
        database.execute(
            "INSERT INTO settings VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, json.dumps(value)),
        )
