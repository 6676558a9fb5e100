"""Charts: a long series is thinned, and keeps its extremes and its gaps."""

import itertools
import math
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.records import Device, Message
from central.storage import devices, telemetry
from central.storage.series import (
    KEPT_OF_EACH,
    Point,
    _intervals,
    is_gap,
    series,
)
from central.storage.store import _prepare

MOST = 40  # Points that are returned at most.
INTERVALS = MOST // KEPT_OF_EACH

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


def store(db, points):
    """Store points of a time and a value, which may be any JSON."""
    db.execute("DELETE FROM devices")
    devices.insert(db, Device("pi", "pi", 0.0, "etag"))
    rows = [
        ("pi", "", "temp", at, number, value if isinstance(value, str) else repr(value))
        for number, (at, value) in enumerate(points)
    ]
    db.executemany("INSERT INTO telemetry VALUES (?, ?, ?, ?, ?, ?)", rows)


def stored(db, points):
    """Store the points, and return them thinned."""
    store(db, points)
    found = series(db, "pi", "temp", since=-1, until=1e10, most=MOST)
    return [(point.time, point.value) for point in found.points]


def gaps(db, moments, *, since=-math.inf, until=math.inf, most=2000):
    """Return the times of readings before which the line is interrupted."""
    store(db, [(moment, 20.0) for moment in moments])
    found = series(db, "pi", "temp", since=since, until=until, most=most)
    return [point.time for point in found.points if point.after_gap]


class TestThinning:
    @given(points=long_series)
    def test_thinned_points_are_some_of_the_points_in_order(self, db, points):
        kept = stored(db, points)
        assert len(kept) <= MOST
        assert set(kept) <= set(points)
        assert [at for at, _ in kept] == sorted(at for at, _ in kept)

    @given(points=long_series)
    def test_the_extremes_of_each_interval_survive(self, db, points):
        kept = stored(db, points)
        first, last = min(points)[0], max(points)[0]
        for begin, end in _intervals(first, last, INTERVALS):
            values = [value for at, value in points if begin <= at <= end]
            shown = [value for at, value in kept if begin <= at <= end]
            if values:
                assert (min(shown), max(shown)) == (min(values), max(values))

    @given(points=long_series)
    def test_both_ends_of_each_long_pause_survive(self, db, points):
        kept = {at for at, _ in stored(db, points)}
        moments = sorted({at for at, _ in points})
        interval = (moments[-1] - moments[0]) / INTERVALS
        for before, after in itertools.pairwise(moments):
            if after - before > interval * 1.001:
                assert {before, after} <= kept

    @given(first=times, length=times, count=st.integers(1, 500))
    def test_intervals_follow_each_other_without_a_pause(self, first, length, count):
        found = _intervals(first, first + length, count)
        assert found[0][0] == first
        assert found[-1][1] == first + length
        assert all(begin <= end for begin, end in found)
        for (_, end), (begin, _) in itertools.pairwise(found):
            assert math.nextafter(end, math.inf) == begin

    @given(points=st.lists(st.tuples(times, numbers), max_size=MOST))
    def test_a_short_series_is_not_thinned(self, db, points):
        assert stored(db, points) == sorted(points, key=lambda point: point[0])

    def test_a_long_series_is_thinned_to_its_extremes(self, db):
        points = [(float(at), "20.0") for at in range(50_000)]
        points[31_234] = (31_234.0, "85.0")
        points[7] = (7.0, "-3.5")
        store(db, points)
        kept = series(db, "pi", "temp", since=0, until=1e6, most=2000).points
        assert 1000 <= len(kept) <= 2002
        assert {Point(31_234.0, 85.0), Point(7.0, -3.5)} <= set(kept)
        assert kept == sorted(kept, key=lambda point: (point.time, point.value))

    def test_a_series_of_one_moment_is_thinned(self, db):
        store(db, [(5.0, str(value)) for value in range(100)])
        kept = series(db, "pi", "temp", since=0, until=10, most=10).points
        assert kept == [Point(5.0, 0.0), Point(5.0, 99.0)]


class TestGaps:
    REGULAR = tuple(range(0, 300, 5))

    def test_a_regular_series_has_no_gap(self, db):
        assert gaps(db, self.REGULAR) == []

    def test_a_pause_of_more_than_three_intervals_is_a_gap(self, db):
        assert gaps(db, [*self.REGULAR, 309, 314, 319]) == []  # 14 seconds.
        assert gaps(db, [*self.REGULAR, 311, 316, 321]) == [311]  # 16 seconds.

    def test_a_new_interval_is_not_a_gap(self, db):
        slow = [295 + 60 * each for each in range(1, 30)]
        fast = [slow[-1] + 5 * each for each in range(1, 30)]
        assert gaps(db, [*self.REGULAR, *slow, *fast]) == []

    def test_a_reading_between_two_gaps_is_alone(self, db):
        assert gaps(db, [*self.REGULAR, 1000, *range(2000, 2300, 5)]) == [1000, 2000]

    def test_two_readings_are_connected(self, db):
        assert gaps(db, [0, 86400]) == []

    def test_readings_before_and_after_the_span_reveal_its_gaps(self, db):
        """In the time shown is one reading, or none at all."""
        moments = [*self.REGULAR, 1000, *range(2000, 2300, 5)]
        assert gaps(db, moments, since=900, until=1100) == [1000, 2000]
        assert gaps(db, moments, since=1100, until=1200) == [1000, 2000]
        assert gaps(db, moments, since=101, until=104) == []

    @given(
        interval=st.integers(1, 100),
        hole=st.integers(100, 290),
        length=st.integers(100, 1000),
        shift=st.integers(-1000, 1000),
    )
    def test_a_gap_survives_thinning(self, db, interval, hole, length, shift):
        """It is longer than an interval of thinning, and than three of the device."""
        before = [shift + interval * each for each in range(hole)]
        after = [before[-1] + interval * (length + each) for each in range(400 - hole)]
        assert gaps(db, before + after, most=MOST) == [after[0]]

    def test_a_thinned_series_without_a_gap_has_none(self, db):
        """The points that are kept are further apart than the readings were."""
        assert gaps(db, range(0, 100_000, 7), most=MOST) == []

    def test_slow_readings_in_a_thinned_series_are_connected(self, db):
        """The pauses of an hour are longer than an interval of thinning."""
        fast, slow = range(0, 3600, 10), range(3600, 90_000, 3600)
        assert gaps(db, [*fast, *slow], most=MOST) == []

    def test_a_single_pause_is_not_known_to_be_a_gap(self):
        assert not is_gap([0], [1e6])
        assert is_gap([0, 1], [1e6])


class TestSeries:
    def test_the_nearest_reading_on_each_side_is_included(self, db):
        store(db, [(1.0, 1), (2.0, 2), (3.0, '"text"'), (5.0, 5), (8.0, "true"), (9.0, 9)])
        found = series(db, "pi", "temp", since=4, until=6)
        assert [point.time for point in found.points] == [2.0, 5.0, 9.0]
        found = series(db, "pi", "temp", since=6, until=7)
        assert [point.time for point in found.points] == [5.0, 9.0]

    def test_the_interval_is_that_of_the_last_readings(self, db):
        store(db, [(float(at), 20) for at in (0, 100, 200, 300, 305, 310, 315, 320, 325, 330)])
        assert series(db, "pi", "temp", since=0, until=1e6).interval == 5
        assert series(db, "pi", "temp", since=0, until=300).interval == 100
        assert series(db, "pi", "temp", since=0, until=50).interval is None

    def test_the_age_of_what_is_kept_is_reported(self, db):
        store(db, [(100.0, 20), (200.0, 20)])
        assert series(db, "pi", "temp", since=150, until=160).kept_since == 100
        assert series(db, "pi", "none", since=0, until=160).kept_since is None

    def test_only_finite_numbers_are_drawn(self, db):
        values = ["1", "true", "null", '"2"', "[3]", "-4", "1e3", "9" * 400]
        store(db, [(float(at), value) for at, value in enumerate(values)])
        found = series(db, "pi", "temp", since=0, until=100).points
        assert [(at.time, at.value) for at in found] == [(0.0, 1.0), (5.0, -4.0), (6.0, 1000.0)]

    def test_late_values_are_marked(self, db):
        store(db, [])
        for created in (1e9 - 60, 1e9 - 1):
            telemetry.add_message(db, Message(0, "pi", 1e9, created, b'{"temp": 5}', {}, {}))
        found = series(db, "pi", "temp", since=0, until=2e9).points
        assert found == [Point(1e9 - 60, 5.0, late=True), Point(1e9 - 1, 5.0)]
