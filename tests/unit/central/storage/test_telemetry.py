"""Queries for messages and telemetry."""

import pytest

from central.protocol.sas import new_key
from central.storage import telemetry
from central.storage.registry import Registry
from central.storage.store import Store


@pytest.fixture
def registry(tmp_path):
    store = Store(tmp_path / "central.db")
    registry = Registry(store, group_key=new_key(), clock=lambda: 1e9)
    registry.add_device("pi")
    yield registry
    store.close()


@pytest.fixture
def store(registry):
    return registry.store


def add_points(store, points):
    rows = [("pi", "", "temp", at, number, value) for number, (at, value) in enumerate(points)]
    store.call(lambda db: db.executemany("INSERT INTO telemetry VALUES (?, ?, ?, ?, ?, ?)", rows))


def test_a_long_series_is_thinned_to_its_extremes(registry, store):
    points = [(float(at), "20.0") for at in range(50_000)]
    points[31_234] = (31_234.0, "85.0")
    points[7] = (7.0, "-3.5")
    add_points(store, points)
    kept = store.read(telemetry.series, "pi", "temp", since=0, until=1e6, most=2000)
    assert 1000 <= len(kept) <= 2002
    assert {(31_234.0, 85.0, False), (7.0, -3.5, False)} <= set(kept)
    assert kept == sorted(kept)


def test_a_series_of_one_moment_is_thinned(registry, store):
    add_points(store, [(5.0, str(value)) for value in range(100)])
    kept = store.read(telemetry.series, "pi", "temp", since=0, until=10, most=10)
    assert kept == [(5.0, 0.0, False), (5.0, 99.0, False)]


def test_a_series_has_only_finite_numbers(registry, store):
    values = ["1", "true", "null", '"2"', "[3]", "-4", "1e3", "9" * 400]
    add_points(store, [(float(at), value) for at, value in enumerate(values)])
    kept = store.read(telemetry.series, "pi", "temp", since=0, until=100)
    assert [(at, value) for at, value, _ in kept] == [(0.0, 1.0), (5.0, -4.0), (6.0, 1000.0)]


async def test_delayed_values_are_marked(registry, store):
    for created in (1e9 - 60, 1e9 - 1):
        await registry.record_message(
            "pi", created=created, body=b'{"temp": 5}', properties={}, system={}
        )
    kept = store.read(telemetry.series, "pi", "temp", since=0, until=2e9)
    assert kept == [(1e9 - 60, 5.0, True), (1e9 - 1, 5.0, False)]


async def test_pages_of_long_messages_are_short(registry, store):
    for _ in range(12):
        await registry.record_message(
            "pi", created=None, body=b"x" * 256 * 1024, properties={}, system={}
        )
    pages, last = [], 0
    while found := store.read(telemetry.messages_after, "pi", last, since=0, until=2e9, limit=200):
        pages.append(len(found))
        last = found[-1].number
    assert pages == [4, 4, 4]
