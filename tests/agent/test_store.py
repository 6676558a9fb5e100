import sqlite3

import pytest

from agent.errors import StoreError, StoreInUse
from agent.store import SCHEMA, Store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "state.db"


async def test_what_was_put_is_there_after_a_restart(path):
    store = Store.open(path)
    await store.put("property.brightness", 2)
    await store.put("assignment", {"hub": "a", "list": [1, None, "å"]})
    store.close()

    store = Store.open(path)
    assert await store.get("property.brightness") == 2
    assert await store.get("assignment") == {"hub": "a", "list": [1, None, "å"]}
    assert await store.get("never put", "default") == "default"
    store.close()


async def test_none_forgets(path):
    store = Store.open(path)
    await store.put("name", "x")
    await store.put("name", None)
    assert await store.get("name") is None
    store.close()


async def test_a_transaction_that_fails_changes_nothing(path):
    store = Store.open(path)
    await store.put("name", "before")

    def work(database):
        database.execute("UPDATE settings SET value = '\"after\"'")
        database.execute("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(StoreError, match="no_such_table"):
        await store.run(work)
    assert await store.get("name") == "before"
    store.close()


def test_a_second_daemon_is_refused_with_a_sentence(path):
    store = Store.open(path)
    with pytest.raises(StoreInUse, match="another sensor-agent is using it"):
        Store.open(path)
    store.close()
    Store.open(path).close()


def test_closing_twice_is_harmless(path):
    store = Store.open(path)
    store.close()
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"not a database, but long enough to be taken for one" * 50),
        lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * 5000),
    ],
    ids=["garbage", "damaged pages"],
)
async def test_a_damaged_file_is_set_aside_and_work_goes_on(path, damage, caplog):
    store = Store.open(path)
    await store.put("name", "old")
    store.close()
    damage(path)
    damaged = path.read_bytes()

    store = Store.open(path)
    assert await store.get("name") is None
    await store.put("name", "new")
    store.close()
    (aside,) = path.parent.glob("state.db.corrupt-*")
    assert aside.read_bytes() == damaged
    assert "is damaged" in caplog.text
    assert str(aside) in caplog.text


def test_a_file_of_a_newer_version_is_left_alone(path):
    Store.open(path).close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {len(SCHEMA) + 1}")
    database.close()
    with pytest.raises(StoreError, match="newer sensor-agent"):
        Store.open(path)
    assert path.exists()


def test_a_place_that_is_no_directory_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used"):
        Store.open(tmp_path / "file" / "state.db")


def test_nobody_else_may_read_the_file(path):
    Store.open(path).close()
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_commit_is_on_disk_when_it_returns(path):
    store = Store.open(path)
    # 2 is FULL: the WAL is synced at each commit.
    assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()
