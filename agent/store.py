"""One SQLite file: opened, upgraded, set aside when it is corrupt; and the settings in it.

All work on the file is done by one thread, one piece at a time, so that a slow card holds up
nobody but those who wait for it.
"""

import asyncio
import fcntl
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from agent.errors import StoreError, StoreInUse

T = TypeVar("T")

log = logging.getLogger(__name__)

SCHEMA = (
    # Version 1. AUTOINCREMENT: a sequence number is never used twice, even when the newest
    # readings have been removed.
    """
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE readings (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        temperature REAL NOT NULL,
        humidity REAL NOT NULL,
        wall REAL NOT NULL,
        uptime REAL NOT NULL,
        boot_id TEXT NOT NULL,
        synchronised INTEGER NOT NULL
    ) STRICT;
    -- Readings that were in memory while the disk failed, in their place among the others.
    CREATE TABLE rescued (
        place INTEGER NOT NULL,
        outbox_id TEXT NOT NULL,
        own INTEGER NOT NULL,
        temperature REAL NOT NULL,
        humidity REAL NOT NULL,
        wall REAL NOT NULL,
        uptime REAL NOT NULL,
        boot_id TEXT NOT NULL,
        synchronised INTEGER NOT NULL,
        PRIMARY KEY (place, outbox_id, own)
    ) STRICT, WITHOUT ROWID;
    -- Ranges of readings that were given up.
    CREATE TABLE dropped (
        outbox_id TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, reason TEXT NOT NULL
    ) STRICT;
    """,
)


class Store:
    """The daemon's file. `open` it, hand it to those who need it, `close` it last.

    Everything that is committed survives a power cut (WAL, synchronous=FULL).
    """

    def __init__(self, path: Path, database: sqlite3.Connection, lock: int) -> None:
        self.path = path
        self._database = database
        self._lock = lock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._closed = False

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open the file, make it if there is none, and bring an older one up to date.

        A file that is not a database, or a damaged one, is set aside with the date in its name,
        and a fresh one is begun. Raises StoreInUse if another daemon has it open, StoreError if
        the directory cannot be used or the file was written by a newer version of this program.
        """
        lock = _lock(path)
        try:
            return cls(path, _open(path), lock)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise StoreError(path, str(error)) from error
            aside = set_aside(path)
            log.warning(
                "%s is damaged (%s). It is kept as %s; the readings in it are not sent. "
                "A fresh file is begun.",
                path,
                error,
                aside,
            )
        except OSError as error:
            raise StoreError(path, str(error.strerror)) from error
        try:
            return cls(path, _open(path), lock)
        except sqlite3.Error as error:
            raise StoreError(path, str(error)) from error

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in one transaction on the store's own thread.

        Raises StoreError if the file could not be read or written; nothing is changed then.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with self._database:
                return work(self._database)
        except sqlite3.Error as error:
            raise StoreError(self.path, str(error)) from error

    async def get(self, name: str, default: Any = None) -> Any:
        """Return the setting `name`, or `default` when there is none."""

        def work(database: sqlite3.Connection) -> Any:
            row = database.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
            return default if row is None else json.loads(row[0])

        return await self.run(work)

    async def put(self, name: str, value: Any) -> None:
        """Keep `value` (anything JSON can say) as the setting `name`; None forgets it."""

        def work(database: sqlite3.Connection) -> None:
            if value is None:
                database.execute("DELETE FROM settings WHERE name = ?", (name,))
            else:
                database.execute(
                    "INSERT INTO settings VALUES (?, ?) "
                    "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (name, json.dumps(value)),
                )

        await self.run(work)

    def close(self) -> None:
        """Finish what was begun and close the file. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._thread.shutdown(wait=True)
        self._database.close()
        os.close(self._lock)


def set_aside(path: Path) -> Path:
    """Rename a database, its -wal and its -shm beside it, with the date in the new name."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    for ending in ("", "-wal", "-shm"):
        part = path.with_name(path.name + ending)
        if part.exists():
            part.rename(aside.with_name(aside.name + ending))
    return aside


def _lock(path: Path) -> int:
    """Make the directory if need be and keep every other daemon out of it."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(path, str(error.strerror)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreInUse(path) from None
    return lock


def _open(path: Path) -> sqlite3.Connection:
    # Made by us first, so that nobody else on the machine can read it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(path, timeout=5, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        _check(database)
        _upgrade(path, database)
    except BaseException:
        database.close()
        raise
    return database


def _check(database: sqlite3.Connection) -> None:
    problem = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)


def _upgrade(path: Path, database: sqlite3.Connection) -> None:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    if version > len(SCHEMA):
        raise StoreError(
            path,
            f"it was written by a newer sensor-agent (format {version}, this one knows "
            f"{len(SCHEMA)}); install that version again, or move the file away",
        )
    for number, script in enumerate(SCHEMA[version:], start=version + 1):
        # One transaction a step: a power cut leaves the old format or the new one.
        database.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")
