"""One SQLite file: the settings in it, and whatever else is done to it, one piece at a time.

All work is done by one thread, so that a slow card holds up nobody but those who wait for it. A
disk that fails ends nothing: the file is opened again with the next piece of work.
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

CLOSE_DEADLINE = 1.0  # Seconds; the daemon stops within 5, whatever hangs.

# After these the connection is worth nothing; the others leave it as it was.
FRESH_CONNECTION_HELPS = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
}


class Store:
    """The daemon's file. `open` or `begin` it, hand it to those who need it, `close` it last.

    Everything that is committed survives a power cut (WAL, synchronous=FULL).
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
        """Open the file, make it if there is none, and bring an older one up to date.

        A damaged file, and one that was written on another `board`, is set aside with the date in
        its name, and a fresh one is begun. Raises StoreInUse if another daemon has it open,
        StoreTooNew if a newer version of this program wrote it. Where the disk fails, `run`
        raises StoreError until it can be used.
        """
        store = cls(path, board=board)
        try:
            store._begin()
        except StoreError:
            store.close()
            raise
        return store

    async def begin(self) -> None:
        """Do what `open` does, and hold up nobody: to check a large file takes seconds."""
        await self._in_thread(self._begin)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in one transaction on the store's own thread.

        Raises StoreError if the file could not be read or written; nothing is changed then.
        """
        return await self._in_thread(lambda: self._do(work))

    async def get(self, name: str, default: Any = None) -> Any:
        """Return the setting `name`; `default` when there is none, or the disk fails."""
        return await self._in_thread(lambda: self._get(name, default))

    async def put(self, name: str, value: Any) -> None:
        """Keep `value` (anything JSON can say) as the setting `name`; None forgets it.

        While the disk fails it is kept in memory, and written as soon as anything can be.
        """
        await self._in_thread(lambda: self._put(name, value))

    def close(self) -> None:
        """Finish what was begun and close the file. Safe to call twice.

        A disk that hangs is left alone after CLOSE_DEADLINE seconds, and the file locked: the
        process is about to end, and what was committed is in the WAL.
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

    # On the store's thread.

    def _begin(self) -> None:
        try:
            self._connect()
        except (StoreInUse, StoreTooNew):
            raise
        except StoreError as error:
            log.debug("It will be tried again: %s", error)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        database = self._connect()
        try:
            with database:
                for name, value in self._unwritten.items():
                    _write(database, name, value)
                result = work(database)
        except sqlite3.Error as error:
            # Extended codes have the plain one in their lowest byte.
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
            log.debug("The setting %s could not be read: %s", name, error)
            return default

    def _put(self, name: str, value: Any) -> None:
        try:
            self._do(lambda database: _write(database, name, value))
        except StoreError as error:
            log.debug("The setting %s will be written later: %s", name, error)
            self._unwritten[name] = value

    def _connect(self) -> sqlite3.Connection:
        if self._database is None:
            self._lock.take()
            self._database = open_database(self.path, board=self._board)
        return self._database

    def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error):  # A disk that is gone; what was committed is in the WAL.
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
