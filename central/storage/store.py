"""Central's SQLite database, and the one thread that writes to it.

The thread runs all queries that wait in one transaction and answers them after the commit, so that
hundreds of messages a second take few commits. Queries that only read do not wait for it: they have
connections of their own and see what is committed.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from central.errors import StoreError
from central.storage import telemetry

T = TypeVar("T")
P = ParamSpec("P")
Job = Callable[[sqlite3.Connection], T]
Query = Callable[Concatenate[sqlite3.Connection, P], T]

SCHEMA_1 = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE devices (
    id TEXT PRIMARY KEY, display_name TEXT NOT NULL, template TEXT, enabled INTEGER NOT NULL,
    provisioned INTEGER NOT NULL, simulated INTEGER NOT NULL, created REAL NOT NULL,
    etag TEXT NOT NULL, announced TEXT, primary_key TEXT, secondary_key TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE twins (
    device_id TEXT PRIMARY KEY REFERENCES devices ON DELETE CASCADE,
    desired TEXT NOT NULL DEFAULT '{}', desired_version INTEGER NOT NULL DEFAULT 1,
    desired_times TEXT NOT NULL DEFAULT '{}',
    reported TEXT NOT NULL DEFAULT '{}', reported_version INTEGER NOT NULL DEFAULT 1,
    reported_times TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;
CREATE TABLE sessions (
    device_id TEXT PRIMARY KEY REFERENCES devices ON DELETE CASCADE, filters TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    received REAL NOT NULL, created REAL, body BLOB NOT NULL,
    properties TEXT NOT NULL, system TEXT NOT NULL
);
CREATE INDEX messages_by_device ON messages (device_id, number);
CREATE TABLE telemetry (
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    component TEXT NOT NULL, name TEXT NOT NULL, time REAL NOT NULL, number INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (device_id, component, name, time, number)
) WITHOUT ROWID;
CREATE TABLE commands (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    name TEXT NOT NULL, request TEXT, asked REAL NOT NULL, answered REAL, status INTEGER,
    response TEXT, queued INTEGER NOT NULL, completion TEXT, completed REAL
);
CREATE INDEX commands_by_device ON commands (device_id, name, number);
CREATE TABLE queue (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    command_id TEXT NOT NULL, properties TEXT NOT NULL, body BLOB NOT NULL,
    expires REAL NOT NULL, sent INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX queue_by_device ON queue (device_id, number);
CREATE TABLE connections (
    number INTEGER PRIMARY KEY,
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    at REAL NOT NULL, event TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE INDEX connections_by_device ON connections (device_id, number);
CREATE TABLE templates (id TEXT PRIMARY KEY, interface TEXT NOT NULL) WITHOUT ROWID;
"""
# For `central.storage.completeness`. `messages.run` is `runs.number`, also of a forgotten run.
SCHEMA_2 = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE, run TEXT NOT NULL,
    first_received REAL NOT NULL, last_received REAL NOT NULL,
    late INTEGER NOT NULL DEFAULT 0, duplicates INTEGER NOT NULL DEFAULT 0,
    previous TEXT, previous_number INTEGER,
    begins INTEGER, -- What came before this number was forgotten.
    UNIQUE (device_id, run)
);
CREATE TABLE ranges (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    kind TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (run, kind, first)
) WITHOUT ROWID;
ALTER TABLE messages ADD COLUMN run INTEGER;
ALTER TABLE messages ADD COLUMN sequence INTEGER;
ALTER TABLE messages ADD COLUMN late INTEGER NOT NULL DEFAULT 0;
CREATE INDEX messages_by_run ON messages (run, sequence) WHERE run IS NOT NULL;
"""
# Where each device registered last.
SCHEMA_3 = "ALTER TABLE devices ADD COLUMN id_scope TEXT;"
# What IoT Central keeps beside a device's twin and a template's interface, as JSON.
SCHEMA_4 = """
ALTER TABLE devices ADD COLUMN organizations TEXT NOT NULL DEFAULT '[]';
ALTER TABLE templates ADD COLUMN about TEXT NOT NULL DEFAULT '{}';
CREATE TABLE cloud_properties (
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    component TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, changed REAL NOT NULL,
    PRIMARY KEY (device_id, component, name)
) WITHOUT ROWID;
"""
# Who may use the console, and what was changed there. Tags are the operator's groups of devices.
# Rules, how far each is for each device, their alerts, and what is to be sent to webhooks.
# Templates are found by their models, too.
SCHEMA_5 = """
CREATE TABLE users (
    name TEXT PRIMARY KEY COLLATE NOCASE, role TEXT NOT NULL, password TEXT NOT NULL,
    created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE sign_ins (
    digest TEXT PRIMARY KEY,
    user TEXT NOT NULL COLLATE NOCASE REFERENCES users ON DELETE CASCADE,
    created REAL NOT NULL, expires REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX sign_ins_by_user ON sign_ins (user);
CREATE TABLE api_tokens (
    name TEXT PRIMARY KEY COLLATE NOCASE, role TEXT NOT NULL, digest TEXT NOT NULL,
    created REAL NOT NULL, expires REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE audit (
    number INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, address TEXT NOT NULL,
    request TEXT NOT NULL, device_id TEXT, status INTEGER NOT NULL
);
CREATE INDEX audit_by_device ON audit (device_id, number);
CREATE TABLE tags (
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    tag TEXT NOT NULL COLLATE NOCASE, PRIMARY KEY (device_id, tag)
) WITHOUT ROWID;
CREATE INDEX tags_by_tag ON tags (tag);
CREATE INDEX messages_ahead ON messages (device_id, received) WHERE created > received + 60;
CREATE TABLE rules (
    number INTEGER PRIMARY KEY AUTOINCREMENT, revision INTEGER NOT NULL, name TEXT NOT NULL,
    enabled INTEGER NOT NULL, since REAL NOT NULL, condition TEXT NOT NULL,
    tags TEXT NOT NULL, devices TEXT NOT NULL, webhook TEXT
);
CREATE TABLE rule_states (
    rule INTEGER NOT NULL REFERENCES rules ON DELETE CASCADE,
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    since REAL, base REAL, PRIMARY KEY (rule, device_id)
) WITHOUT ROWID;
CREATE TABLE alerts (
    number INTEGER PRIMARY KEY AUTOINCREMENT, rule INTEGER NOT NULL, rule_name TEXT NOT NULL,
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    condition TEXT NOT NULL, value TEXT NOT NULL, fired REAL NOT NULL, recorded REAL NOT NULL,
    returned REAL, acknowledged REAL, acknowledged_by TEXT
);
CREATE INDEX alerts_by_rule ON alerts (rule, device_id, fired);
CREATE INDEX alerts_open ON alerts (rule, device_id) WHERE returned IS NULL;
CREATE INDEX alerts_unread ON alerts (number) WHERE acknowledged IS NULL;
CREATE INDEX alerts_by_device ON alerts (device_id);
CREATE TABLE reported_changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    at REAL NOT NULL, change TEXT NOT NULL
);
CREATE INDEX reported_changes_by_device ON reported_changes (device_id);
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    alert INTEGER NOT NULL REFERENCES alerts ON DELETE CASCADE,
    event TEXT NOT NULL, url TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    due REAL, outcome TEXT NOT NULL DEFAULT ''
);
CREATE INDEX deliveries_due ON deliveries (due) WHERE due IS NOT NULL;
CREATE INDEX deliveries_by_alert ON deliveries (alert);
CREATE INDEX deliveries_by_url ON deliveries (url, number);
CREATE INDEX deliveries_waiting ON deliveries (url) WHERE due IS NOT NULL;
CREATE INDEX templates_by_model ON templates (json_extract(interface, '$."@id"'));
"""
SCHEMA_VERSION = 5

RUNS_SINCE = 2  # The version of the database that counts messages.
BATCH = 1000  # Queries in one transaction, at most.
READERS = 3  # Reading queries at the same time; others wait.
LONG_READERS = 2  # The same for those that may take seconds: the others do not wait for them.
LAST_MOMENT = 0.5  # Seconds after which the queries that are running are interrupted at the end.

log = logging.getLogger(__name__)


class Store:
    """One SQLite file.

    `query` is a function whose first argument is the database connection, such as those of
    `central.storage.history`; the other arguments follow it. Each method raises whatever the
    query raises, or StoreError if the file cannot be read or written.
    """

    def __init__(self, path: Path, *, upgrade: bool = True) -> None:
        """Open a file, and create or upgrade its tables.

        With `upgrade` false, raise StoreError if they have another version: a running central
        uses them.
        """
        self._path = path
        self._upgrade = upgrade
        self._jobs: queue.SimpleQueue[tuple[Job[object], Future[object]] | None]
        self._jobs = queue.SimpleQueue()
        self._opened: Future[None] = Future()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="central-store", daemon=True)
        self._thread.start()
        self._opened.result()
        self._readers = _Readers(path, READERS)
        self._long_readers = _Readers(path, LONG_READERS)

    def submit(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Queue a query that may write. The future has its result once it is committed."""
        if self._closed:
            raise StoreError("Central is stopping.")
        future: Future[T] = Future()
        job = lambda db: query(db, *args, **kwargs)  # noqa: E731
        self._jobs.put((job, future))  # type: ignore[arg-type]  # T is any object
        return future

    def call(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query that may write, and wait until it is committed: a few milliseconds."""
        return self.submit(query, *args, **kwargs).result()

    async def run(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query that may write, without blocking the event loop."""
        return await asyncio.wrap_future(self.submit(query, *args, **kwargs))

    def read(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query that only reads, in this thread, which may be any.

        It sees one committed state of the file and does not wait for writes in progress.
        """
        return self._read(self._readers, lambda db: query(db, *args, **kwargs))

    def read_long(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query as `read` does, which may take seconds. When the store is closed, it ends."""
        return self._read(self._long_readers, lambda db: query(db, *args, **kwargs))

    def _read(self, readers: "_Readers", job: Job[T]) -> T:
        if self._closed:
            raise StoreError("Central is stopping.")
        with readers.borrowed() as db:
            try:
                db.execute("BEGIN")
                try:
                    return job(db)
                finally:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise _unusable(error) from error

    def close(self) -> None:
        """Run the queries that wait, and close the file. May be called again."""
        if not self._closed:
            self._closed = True
            self._readers.close()
            self._long_readers.close()
            self._jobs.put(None)
            self._thread.join()

    def _work(self) -> None:
        try:
            db = _open(self._path, upgrade=self._upgrade)
        except (sqlite3.Error, OSError, StoreError) as error:
            advice = (
                "Put it back from a backup, or empty it to start without devices and history, "
                "under a new ID scope."
                if self._upgrade
                else "Restart the central that is running, then try again."
            )
            self._opened.set_exception(
                StoreError(f"{self._path} cannot be used ({error}). {advice}")
            )
            return
        self._opened.set_result(None)
        more = True
        while more:
            batch = [self._jobs.get()]
            while len(batch) < BATCH and not self._jobs.empty():
                batch.append(self._jobs.get())
            more = None not in batch
            _do(db, [entry for entry in batch if entry is not None])
        db.close()


def _open(path: Path, *, upgrade: bool) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        path.chmod(0o600)
        _prepare(db, upgrade=upgrade)
    except BaseException:  # Whatever it was, the file must not stay locked.
        db.close()
        raise
    return db


class _Readers:
    """Connections that only read, each for one query at a time."""

    def __init__(self, path: Path, count: int) -> None:
        self._all = [_open_reader(path) for _ in range(count)]
        self._free: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for db in self._all:
            self._free.put(db)

    @contextmanager
    def borrowed(self) -> Iterator[sqlite3.Connection]:
        """Wait for a connection that no other query uses."""
        db = self._free.get()
        try:
            yield db
        finally:
            self._free.put(db)

    def close(self) -> None:
        """Close all connections. A query that does not end soon is interrupted, with an error."""
        for db in [self._next_free() for _ in self._all]:
            db.close()
            self._free.put(db)  # A query that still waits gets it, and its error.

    def _next_free(self) -> sqlite3.Connection:
        while True:
            try:
                return self._free.get(timeout=LAST_MOMENT)
            except queue.Empty:
                for db in self._all:
                    db.interrupt()


def _open_reader(path: Path) -> sqlite3.Connection:
    """Open a read-only connection, which any one thread at a time may use."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA query_only = ON")
    return db


def _prepare(db: sqlite3.Connection, *, upgrade: bool) -> None:
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION or (version < SCHEMA_VERSION and not upgrade):
        raise StoreError(f"it has version {version}; this central needs {SCHEMA_VERSION}")
    if version < SCHEMA_VERSION:
        _upgrade(db, version)


def _upgrade(db: sqlite3.Connection, version: int) -> None:
    """Create or upgrade the tables, in one transaction: a power cut leaves the version before."""
    if version > 0:
        log.info(
            "Upgrading the database from version %d to %d. This takes about a minute for a million "
            "messages.",
            version,
            SCHEMA_VERSION,
        )
    missing = (SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5)[version:]
    db.executescript("BEGIN;" + "".join(missing))
    if version < RUNS_SINCE:
        telemetry.recount(db)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")


def _do(db: sqlite3.Connection, batch: list[tuple[Job[object], Future[object]]]) -> None:
    """Run a batch in one transaction. A job that fails undoes only its own changes."""
    outcomes: list[tuple[Future[object], object, Exception | None]] = []
    try:
        # IMMEDIATE: the command line may write to the file, too, and then this waits for it.
        db.execute("BEGIN IMMEDIATE")
        for job, future in batch:
            db.execute("SAVEPOINT job")
            try:
                outcomes.append((future, job(db), None))
            except Exception as error:
                if not db.in_transaction:  # SQLite rolled everything back: the disk is full, say.
                    raise sqlite3.OperationalError(str(error)) from error
                db.execute("ROLLBACK TO job")
                outcomes.append((future, None, error))
            db.execute("RELEASE job")
        db.execute("COMMIT")
    except sqlite3.Error as error:
        log.error("Cannot write to the database: %s.", error)  # noqa: TRY400 - a sentence is enough
        if db.in_transaction:
            db.execute("ROLLBACK")
        failure = StoreError(f"Cannot write to central's database: {error}.")
        outcomes = [(future, None, failure) for _, future in batch]
    for future, result, failed in outcomes:
        _settle(future, result, failed)


def _settle(future: Future[object], result: object, error: Exception | None) -> None:
    if not future.set_running_or_notify_cancel():
        return  # The caller was cancelled; the change stays.
    if error is None:
        future.set_result(result)
    elif isinstance(error, sqlite3.Error):
        future.set_exception(_unusable(error))
    else:
        future.set_exception(error)


def _unusable(error: sqlite3.Error) -> StoreError:
    return StoreError(f"Cannot use central's database: {error}.")
