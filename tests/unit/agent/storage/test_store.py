import asyncio
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from agent.errors import StoreError, StoreInUse, StoreTooNew
from agent.storage import store as store_module
from agent.storage.store import Store
from agent.storage.store_file import SCHEMA, SET_ASIDE, set_aside


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "state.db"


async def test_settings_survive_a_restart(path):
    store = Store.open(path)
    await store.put("property.brightness", 2)
    await store.put("assignment", {"hub": "a", "list": [1, None, "å"]})
    store.close()

    store = Store.open(path)
    assert await store.get("property.brightness") == 2
    assert await store.get("assignment") == {"hub": "a", "list": [1, None, "å"]}
    assert await store.get("never put", "default") == "default"
    store.close()


async def test_none_deletes_a_setting(path):
    store = Store.open(path)
    await store.put("name", "x")
    await store.put("name", None)
    assert await store.get("name") is None
    store.close()


async def test_a_failed_transaction_changes_nothing(path):
    store = Store.open(path)
    await store.put("name", "before")

    def work(database):
        database.execute("UPDATE settings SET value = '\"after\"'")
        database.execute("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(StoreError, match="no_such_table"):
        await store.run(work)
    assert await store.get("name") == "before"
    store.close()


def test_a_second_daemon_is_refused(path):
    store = Store.open(path)
    with pytest.raises(StoreInUse, match="another sensor-agent is using it"):
        Store.open(path)
    store.close()
    Store.open(path).close()


def test_closing_twice_is_harmless(path):
    store = Store.open(path)
    store.close()
    store.close()


async def test_closing_does_not_wait_for_a_hanging_disk(path, monkeypatch):
    monkeypatch.setattr(store_module, "CLOSE_DEADLINE", 0.01)
    store, release = Store.open(path), threading.Event()
    writing = asyncio.create_task(store.run(lambda _db: release.wait(10)))
    await asyncio.sleep(0)
    store.close()
    assert not writing.done()
    with pytest.raises(StoreInUse):
        Store.open(path)
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
    "damage",
    [
        lambda path: path.write_bytes(b"not a database, but long enough to be taken for one" * 50),
        lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * 5000),
        lambda path: path.write_bytes(b"\0" * 16 + path.read_bytes()[16:]),
        lambda path: truncate(path, 4096),
        lambda path: truncate(path, 5000),
        lambda path: execute(path, "DROP TABLE readings"),
        lambda path: execute(path, "UPDATE settings SET value = 'damaged'"),
    ],
    ids=["garbage", "pages", "header", "truncated", "truncated in a page", "a table", "a value"],
)
async def test_a_damaged_file_is_renamed_and_replaced(path, damage, caplog):
    store = Store.open(path)
    await store.put("name", "old")
    store.close()
    damage(path)
    damaged = path.read_bytes()

    store = Store.open(path)
    assert await store.get("name") is None
    await store.put("name", "new")
    (note,) = await store.get(SET_ASIDE)
    store.close()
    (aside,) = path.parent.glob("state.db.corrupt-*")
    assert note == {"file": aside.name, "reason": "corrupt", "readings": None}
    assert aside.read_bytes() == damaged
    assert "is damaged" in caplog.text
    assert str(aside) in caplog.text


async def test_a_power_cut_during_a_rename_restores_no_old_setting(path, monkeypatch):
    store = Store.open(path)
    await store.put("name", "old")
    store.close()
    store = Store.open(path)
    await store.put("name", "newer")
    log = path.with_name(path.name + "-wal")
    database, written = path.read_bytes(), log.read_bytes()
    store.close()
    path.write_bytes(database)
    log.write_bytes(written)
    rename = Path.rename
    renamed: list[Path] = []

    def rename_one(source, target):
        if renamed:
            raise OSError("the power is cut")
        renamed.append(source)
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", rename_one)
    with pytest.raises(OSError, match="the power is cut"):
        set_aside(path, "corrupt")
    monkeypatch.undo()
    store = Store.open(path)
    assert await store.get("name") is None
    await store.put("name", "new")
    store.close()
    store = Store.open(path)
    assert await store.get("name") == "new"
    store.close()


async def test_a_truncated_wal_keeps_its_complete_transactions(path, tmp_path):
    store = Store.open(path)
    for number in range(20):
        await store.put(f"n{number}", number)
    log = path.with_name(path.name + "-wal").read_bytes()
    for length in [*range(0, len(log), 517), len(log)]:
        place = tmp_path / str(length)
        place.mkdir()
        shutil.copy(path, place / path.name)
        (place / f"{path.name}-wal").write_bytes(log[:length])
        cut = Store.open(place / path.name)
        kept = [await cut.get(f"n{number}") for number in range(20)]
        cut.close()
        assert not list(place.glob("*.corrupt-*")), length
        count = sum(value is not None for value in kept)
        assert kept == [*range(count), *[None] * (20 - count)]
    assert count == 20
    store.close()


async def test_a_file_damaged_while_open_is_renamed_and_replaced(path):
    store = Store.open(path)
    await store.put("name", "old")

    def damage(database):
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path.write_bytes(b"\xff" * path.stat().st_size)
        database.execute("PRAGMA cache_size = 0")
        database.execute("SELECT count(*) FROM readings").fetchone()

    with pytest.raises(StoreError, match=r"not a database|malformed"):
        await store.run(damage)
    assert await store.get("name") is None
    await store.put("name", "new")
    assert await store.get("name") == "new"
    store.close()
    assert len(list(path.parent.glob("state.db.corrupt-*"))) == 1


async def test_a_file_of_another_board_is_renamed_and_replaced(path, caplog):
    store = Store.open(path, board="serial a")
    await store.put("property.name", "another one's")
    await store.run(
        lambda db: db.execute("INSERT INTO readings VALUES (1, 20.0, 50.0, 0, 0, 'boot', 1)")
    )
    store.close()

    store = Store.open(path, board="serial b")
    assert await store.get("property.name") is None
    assert await store.run(lambda db: db.execute("SELECT count(*) FROM readings").fetchone()) == (
        0,
    )
    (note,) = await store.get(SET_ASIDE)
    store.close()
    (aside,) = path.parent.glob("state.db.other-board-*")
    assert note == {"file": aside.name, "reason": "other-board", "readings": 1}
    assert "written on another board" in caplog.text
    assert "its 1 readings are not sent" in caplog.text

    store = Store.open(path, board="serial b")
    assert (await store.get(SET_ASIDE)) == [note]
    store.close()
    assert len(list(path.parent.glob("state.db.other-board-*"))) == 1


async def test_a_file_without_a_board_is_kept(path):
    store = Store.open(path)
    await store.put("name", "kept")
    store.close()
    for board in ("serial a", None, "serial a"):
        store = Store.open(path, board=board)
        assert await store.get("name") == "kept"
        store.close()


async def test_a_directory_that_becomes_usable_is_used(tmp_path):
    place = tmp_path / "place"
    place.write_text("in the way")
    store = Store.open(place / "state.db")
    assert await store.get("name", "default") == "default"
    with pytest.raises(StoreError, match="File exists"):
        await store.run(lambda db: db.execute("SELECT 1"))
    await store.put("name", "first")
    await store.put("name", "second")
    assert await store.get("name") == "second"
    await store.put("gone", None)

    place.unlink()
    assert await store.get("name") == "second"
    await store.run(lambda db: db.execute("SELECT 1"))
    store.close()
    store = Store.open(place / "state.db")
    assert await store.get("name") == "second"
    store.close()


def test_a_file_of_a_newer_version_is_refused_and_kept(path):
    Store.open(path).close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {len(SCHEMA) + 1}")
    database.close()
    with pytest.raises(StoreTooNew, match="newer sensor-agent"):
        Store.open(path)
    assert path.exists()


def test_only_the_owner_can_read_the_file(path):
    Store.open(path).close()
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_every_commit_is_synced_to_disk(path):
    store = Store.open(path)
    assert store._database is not None
    # 2 is FULL: the WAL is synced at each commit.
    assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()
