import asyncio
import sqlite3
import threading

import pytest

from agent.errors import StoreError
from agent.storage import store as store_module
from agent.storage.store import Store
from agent.storage.store_file import SCHEMA


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "state.db"


async def insert(store):
    await store.run(
        lambda db: db.execute("INSERT INTO readings VALUES (NULL, 20.0, 50.0, 0, 0, 'boot', 1)")
    )


async def count(store):
    return await store.run(lambda db: db.execute("SELECT count(*) FROM readings").fetchone()[0])


async def test_a_failed_transaction_changes_nothing(path):
    store = Store.open(path)

    def work(database):
        database.execute("INSERT INTO readings VALUES (NULL, 20.0, 50.0, 0, 0, 'boot', 1)")
        database.execute("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(StoreError, match="no_such_table"):
        await store.run(work)
    assert await count(store) == 0
    store.close()


async def test_closing_does_not_wait_for_a_hanging_disk(path, monkeypatch):
    monkeypatch.setattr(store_module, "CLOSE_DEADLINE", 0.01)
    store, release = Store.open(path), threading.Event()
    writing = asyncio.create_task(store.run(lambda _db: release.wait(10)))
    await asyncio.sleep(0)
    store.close()
    store.close()
    assert not writing.done()
    release.set()
    assert await writing


def truncate(path, size):
    with path.open("r+b") as file:
        file.truncate(size)


def execute(path, statement):
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b"not a database, but long enough" * 99), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * 5000), "damaged"),
        (lambda path: path.write_bytes(b"\0" * 16 + path.read_bytes()[16:]), "damaged"),
        (lambda path: truncate(path, 4096), "damaged"),
        (lambda path: truncate(path, 5000), "damaged"),
        (lambda path: execute(path, "DROP TABLE readings"), "damaged"),
        (lambda path: execute(path, "REPLACE INTO settings VALUES ('x', 'damaged')"), "damaged"),
        (lambda path: execute(path, f"PRAGMA user_version = {len(SCHEMA) + 1}"), "newer-version"),
        (lambda path: execute(path, "UPDATE settings SET value = '\"b\"'"), "other-board"),
    ],
    ids=["garbage", "pages", "header", "cut", "cut in a page", "table", "value", "newer", "board"],
)
async def test_a_file_that_cannot_be_used_is_set_aside(path, damage, reason):
    store = Store.open(path, board="a")
    await insert(store)
    store.close()
    damage(path)
    before = path.read_bytes()

    store = Store.open(path, board="a")
    assert await count(store) == 0
    store.close()
    (aside,) = path.parent.glob(f"state.db.{reason}-*")
    assert aside.read_bytes() == before


async def test_a_file_damaged_while_open_is_set_aside(path):
    store = Store.open(path)

    def damage(database):
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path.write_bytes(b"\xff" * path.stat().st_size)
        database.execute("PRAGMA cache_size = 0")
        database.execute("SELECT count(*) FROM readings").fetchone()

    with pytest.raises(StoreError, match=r"not a database|malformed"):
        await store.run(damage)
    assert await count(store) == 0
    store.close()
    assert len(list(path.parent.glob("state.db.damaged-*"))) == 1


async def test_a_directory_that_becomes_usable_is_used(tmp_path):
    place = tmp_path / "place"
    place.write_text("in the way")
    store = Store.open(place / "state.db")
    with pytest.raises(StoreError, match="File exists"):
        await insert(store)
    place.unlink()
    await insert(store)
    assert await count(store) == 1
    store.close()


def test_every_commit_is_synced_to_disk(path):
    store = Store.open(path)
    assert store._database is not None
    # 2 is FULL: the WAL is synced at each commit.
    assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()
