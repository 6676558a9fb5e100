import asyncio
import sqlite3
import threading

import pytest

from central.errors import StoreError
from central.storage.store import Store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "central.db"


@pytest.fixture
def store(path):
    store = Store(path)
    yield store
    store.close()


def put(name, value):
    return lambda db: db.execute("INSERT INTO settings VALUES (?, ?)", (name, value))


def names(db):
    return [row["name"] for row in db.execute("SELECT name FROM settings ORDER BY name")]


def test_an_answered_query_is_committed(store, path):
    store.call(put("a", "1"))
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM settings").fetchone() == (1,)
    other.close()


async def test_waiting_queries_share_a_transaction(store):
    # SQLite itself counts the transactions that changed the file.
    version = "PRAGMA data_version"
    gate = threading.Event()
    other = sqlite3.connect(store._path)
    before = other.execute(version).fetchone()
    blocked = store.submit(lambda _: gate.wait(10))
    writes = [store.run(put(f"n{n}", "x")) for n in range(100)]
    waiting = asyncio.gather(*writes)
    await asyncio.sleep(0)
    gate.set()
    await waiting
    assert blocked.result(10)
    assert other.execute(version).fetchone()[0] - before[0] == 1
    assert len(store.call(names)) == 100
    other.close()


async def test_a_failing_query_undoes_only_its_own_changes(store):
    def fails(db):
        put("half", "x")(db)
        raise ValueError("on purpose")

    outcomes = await asyncio.gather(
        store.run(put("before", "x")),
        store.run(fails),
        store.run(put("after", "x")),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], ValueError)
    assert store.call(names) == ["after", "before"]


def test_an_error_of_sqlite_is_a_store_error(store):
    with pytest.raises(StoreError):
        store.call(lambda db: db.execute("SELECT nonsense"))
    assert store.call(names) == []


def test_a_full_disk_is_an_error_and_earlier_changes_stay(store):
    store.call(put("kept", "x"))

    def limit(db):
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")

    store.call(limit)
    with pytest.raises(StoreError, match="full"):
        store.call(put("large", "x" * 100_000))
    assert store.call(names) == ["kept"]
    store.call(lambda db: db.execute("PRAGMA max_page_count = 100000"))
    store.call(put("large", "x" * 100_000))
    assert store.call(names) == ["kept", "large"]


def test_a_file_that_is_not_a_database_is_named_in_the_error(path):
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match=r"central\.db cannot be used"):
        Store(path)


def test_a_database_of_a_later_version_is_not_changed(path):
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="version 99"):
        Store(path)


def test_a_closed_store_raises(path):
    store = Store(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="stopping"):
        store.call(names)


async def test_a_cancelled_query_does_not_affect_the_others(store):
    gate = threading.Event()
    blocked = asyncio.ensure_future(store.run(lambda _: gate.wait(10)))
    given_up = asyncio.ensure_future(store.run(put("a", "x")))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await blocked
    await store.run(put("b", "x"))
    assert "b" in store.call(names)
