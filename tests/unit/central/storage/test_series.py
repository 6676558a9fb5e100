"""Charts: a long series is thinned, and keeps its extremes and its gaps."""

import itertools
import math
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.records import Device
from central.storage import devices, telemetry
from central.storage.store import _prepare

MOST = 40  # Points that are returned at most.
INTERVALS = MOST // telemetry.KEPT_OF_EACH

times = st.floats(0, 1e9) | st.integers(0, 300).map(float)
# As sensors send them. SQLite may read the last digit of a longer number differently.
numbers = st.integers(-1_000_000, 1_000_000).map(lambda thousandths: thousandths / 1000)
long_series = st.lists(st.tuples(times, numbers), min_size=MOST + 1, max_size=300)


@pytest.fixture(scope="module")
def db():
    db = sqlite3.connect(":memory:", isolation_level=None)
    _prepare(db, upgrade=True)
    yield db
    db.close()


def stored(db, points):
    """Store the points, and return them thinned."""
    db.execute("DELETE FROM devices")
    devices.insert(db, Device("pi", "pi", 0.0, "etag"))
    rows = [("pi", "", "temp", at, number, repr(v)) for number, (at, v) in enumerate(points)]
    db.executemany("INSERT INTO telemetry VALUES (?, ?, ?, ?, ?, ?)", rows)
    kept = telemetry.series(db, "pi", "temp", since=-1, until=1e10, most=MOST)
    return [(at, value) for at, value, _ in kept]


@given(points=long_series)
def test_thinned_points_are_some_of_the_points_in_order(db, points):
    kept = stored(db, points)
    assert len(kept) <= MOST
    assert set(kept) <= set(points)
    assert [at for at, _ in kept] == sorted(at for at, _ in kept)


@given(points=long_series)
def test_the_extremes_of_each_interval_survive(db, points):
    kept = stored(db, points)
    first, last = min(points)[0], max(points)[0]
    for begin, end in telemetry._intervals(first, last, INTERVALS):
        values = [value for at, value in points if begin <= at <= end]
        shown = [value for at, value in kept if begin <= at <= end]
        if values:
            assert (min(shown), max(shown)) == (min(values), max(values))


@given(points=long_series)
def test_both_ends_of_each_gap_survive(db, points):
    kept = {at for at, _ in stored(db, points)}
    moments = sorted({at for at, _ in points})
    interval = (moments[-1] - moments[0]) / INTERVALS
    for before, after in itertools.pairwise(moments):
        if after - before > interval * 1.001:
            assert {before, after} <= kept


@given(first=times, length=times, count=st.integers(1, 500))
def test_intervals_follow_each_other_without_a_gap(first, length, count):
    found = telemetry._intervals(first, first + length, count)
    assert found[0][0] == first
    assert found[-1][1] == first + length
    assert all(begin <= end for begin, end in found)
    for (_, end), (begin, _) in itertools.pairwise(found):
        assert math.nextafter(end, math.inf) == begin


@given(points=st.lists(st.tuples(times, numbers), max_size=MOST))
def test_a_short_series_is_not_thinned(db, points):
    assert stored(db, points) == sorted(points, key=lambda point: point[0])
