"""Creates, checks and upgrades the store's file, and renames a file it cannot use."""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from agent.errors import StoreError
from agent.storage.set_aside import Reason, set_aside

BOARD = "board"  # Setting: the machine on which the readings in the file were taken.
DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

SCHEMA = (
    # Version 1. AUTOINCREMENT never reuses a sequence number, even if the newest readings have been
    # removed.
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
    -- Readings that were in memory while the disk failed, with their place among the others.
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


class NewerFormatError(sqlite3.DatabaseError):
    """A newer version of this program wrote the file."""


def open_database(path: Path, *, board: str | None) -> sqlite3.Connection:
    """Open the file, or a new one in its place. Raises StoreError.

    `board` identifies this machine; None if nothing does.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            database = _open(path)
        except NewerFormatError:
            return _replace(path, board, Reason.NEWER_VERSION)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            return _replace(path, board, Reason.DAMAGED)
        if not _is_of_another_board(database, board):
            return database
        database.close()
        return _replace(path, board, Reason.OTHER_BOARD)
    except sqlite3.Error as error:
        raise StoreError(path, str(error)) from error
    except OSError as error:
        raise StoreError(path, str(error.strerror)) from error


def _replace(path: Path, board: str | None, reason: Reason) -> sqlite3.Connection:
    # The database first. If a power cut leaves its -wal behind, SQLite deletes that with the new
    # database. A database without its -wal would be an older state, and reuse sequence numbers.
    aside = set_aside(path, reason)
    for ending in ("-wal", "-shm"):
        part = path.with_name(path.name + ending)
        if part.exists():
            part.rename(aside.with_name(aside.name + ending))
    database = _open(path)
    if board is not None:
        with database:
            _put(database, BOARD, board)
    return database


def _is_of_another_board(database: sqlite3.Connection, board: str | None) -> bool:
    if board is None:
        return False
    row = database.execute("SELECT value FROM settings WHERE name = ?", (BOARD,)).fetchone()
    if row is None:
        with database:
            _put(database, BOARD, board)
        return False
    return bool(json.loads(row[0]) != board)


def _put(database: sqlite3.Connection, name: str, value: Any) -> None:
    database.execute("REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))


def _open(path: Path) -> sqlite3.Connection:
    # Created here with a mode that keeps others from reading it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(path, timeout=5, check_same_thread=False)
    # Damage can hit a text, too. One text that is not UTF-8 must not make its row unreadable.
    database.text_factory = lambda text: text.decode("utf-8", "replace")
    try:
        # A card wears with each written block, and a reading is small. No other process opens this
        # file, so with an exclusive lock SQLite needs no -shm file.
        database.execute("PRAGMA page_size = 1024")
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        _check_pages(database)
        _upgrade(database)
        _check_tables(database)
        _check_settings(database)
    except BaseException:
        database.close()
        raise
    return database


def _check_pages(database: sqlite3.Connection) -> None:
    problem = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)


def _check_tables(database: sqlite3.Connection) -> None:
    found = {name for (name,) in database.execute("SELECT name FROM sqlite_schema")}
    missing = {"settings", "readings", "rescued", "dropped"} - found
    if missing:
        raise sqlite3.DatabaseError(f"it has no table {', '.join(sorted(missing))}")


def _check_settings(database: sqlite3.Connection) -> None:
    # Damage can hit a value, too, which SQLite does not check.
    damaged = database.execute("SELECT name FROM settings WHERE NOT json_valid(value)").fetchone()
    if damaged is not None:
        raise sqlite3.DatabaseError(f"its setting {damaged[0]!r} is not JSON")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    # The checks in this file raise errors without a code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF in DAMAGE


def _upgrade(database: sqlite3.Connection) -> None:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    if version > len(SCHEMA):
        raise NewerFormatError(f"its format is {version}")
    for number, script in enumerate(SCHEMA[version:], start=version + 1):
        # One transaction for each step, so a power cut leaves the old format or the new one.
        database.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")
