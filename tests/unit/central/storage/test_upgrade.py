"""Upgrades of a database that an earlier version made."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from central.errors import StoreError
from central.storage import completeness, series, telemetry
from central.storage.store import SCHEMA_VERSION, Store

EARLIER = Path(__file__).with_name("central-1.sql").read_text()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "central.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(EARLIER)
    db.close()
    return path


def assert_upgraded(path):
    store = Store(path)
    found = store.read(completeness.completeness, "pi-1")
    assert (found.received, found.late, found.duplicates) == (6, 2, 1)
    assert [(gap.first, gap.last) for gap in found.gaps] == [(6, 6)]
    assert store.read(completeness.completeness, "pi-2").received == 2
    assert len(store.read(telemetry.messages, "pi-2")) == 4
    points = store.read(series.series, "pi-1", "temp", since=0, until=2e9).points
    assert [point.late for point in points] == [True, True, False, False, False, False, False]
    columns = store.read(
        lambda db: [tuple(row) for row in db.execute("SELECT run, sequence, late FROM messages")]
    )
    assert columns[:2] == [(1, 1, 0), (1, 2, 0)]
    assert columns[5:8] == [(1, 4, 1), (1, 5, 1), (2, 1, 0)]
    assert columns[9:] == [(None, None, 0)] * 2
    store.close()


def version(path):
    db = sqlite3.connect(path)
    found = db.execute("PRAGMA user_version").fetchone()[0]
    db.close()
    return found


def test_messages_of_the_version_before_are_counted(path):
    assert version(path) == 1
    assert_upgraded(path)
    assert version(path) == SCHEMA_VERSION
    assert_upgraded(path)  # Once only.


def test_the_tables_are_the_same_as_in_a_new_database(path, tmp_path):
    tables = "SELECT type, name, sql FROM sqlite_schema ORDER BY name"
    found = []
    for each in (path, tmp_path / "new.db"):
        store = Store(each)
        found.append(store.read(lambda db: [tuple(row) for row in db.execute(tables)]))
        store.close()
    assert found[0] == found[1]


def test_an_upgrade_that_fails_is_repeated_at_the_next_start(path, monkeypatch):
    count, left = completeness.record_arrival, iter([True] * 6)

    def fail_later(db, new, *, late):
        if next(left, None) is None:
            raise sqlite3.OperationalError("database or disk is full")
        return count(db, new, late=late)

    monkeypatch.setattr(completeness, "record_arrival", fail_later)
    with pytest.raises(StoreError, match="disk is full"):
        Store(path)
    monkeypatch.undo()
    assert version(path) == 1
    assert_upgraded(path)


def test_a_power_cut_during_the_upgrade_leaves_the_version_before(path, tmp_path, monkeypatch):
    """The files are copied at each message, with what a power cut would leave of them."""
    count = completeness.record_arrival
    copies: list[Path] = []

    def copy_files(db, new, *, late):
        db.execute("PRAGMA cache_spill = 1")  # Writes pages to the -wal file before the commit.
        db.execute("PRAGMA cache_size = 1")
        copy = tmp_path / f"copy-{len(copies)}"
        copy.mkdir()
        for file in tmp_path.glob("central.db*"):
            shutil.copy(file, copy)
        copies.append(copy / "central.db")
        return count(db, new, late=late)

    monkeypatch.setattr(completeness, "record_arrival", copy_files)
    Store(path).close()
    monkeypatch.undo()
    assert len(copies) == 11
    assert any(copy.with_name("central.db-wal").stat().st_size for copy in copies)
    for copy in copies:
        assert version(copy) == 1
        assert_upgraded(copy)
