"""The judgement of readings, against a reference that sees all readings sorted by their time."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from central.records import Threshold
from central.rules import conditions
from central.rules.conditions import Fired, Returned, State

HOT = Threshold("temp", above=True, limit=30.0, margin=2.0, seconds=0.0)


@dataclass
class Alerts:
    """The alerts of one rule and device, and the readings that have arrived."""

    condition: Threshold

    def __post_init__(self):
        self.state = State()
        self.known = {}  # Value by time.
        self.alerts = []  # [fired, returned or None]

    def arrive(self, time, value):
        """Judge a reading; return the alert that it fires, if any."""
        if time in self.known:
            return None
        if all(time > each for each in self.known):
            outcome = conditions.judge(self.condition, self.state, time, value)
        else:
            history = KnownReadings(self.known, self.alerts, time)
            outcome = conditions.judge_late(self.condition, self.state, time, value, history)
        self.known[time] = value
        if isinstance(outcome, Returned):
            (ended,) = [alert for alert in self.alerts if alert[0] == outcome.fired]
            assert ended[0] < outcome.at < end_of(ended[1])
            ended[1] = outcome.at
        elif isinstance(outcome, Fired):
            self.alerts.append([outcome.at, outcome.returned])
            return outcome
        return None

    def restart(self):
        """Continue from what is stored: when a limit was first exceeded, and the alerts."""
        opened = [fired for fired, returned in self.alerts if returned is None]
        self.state = State(since=self.state.since, fired=opened[0] if opened else None)


@dataclass
class KnownReadings:
    known: dict[float, float]
    alerts: list[list[float]]
    time: float

    def earlier(self):
        return iter(sorted(((t, v) for t, v in self.known.items() if t < self.time), reverse=True))

    def later(self):
        return iter(sorted((t, v) for t, v in self.known.items() if t > self.time))

    def has_alert(self, first, end):
        return any(fired < end and first < end_of(returned) for fired, returned in self.alerts)

    def alert_at_reading(self):
        around = [
            (fired, end_of(returned))
            for fired, returned in self.alerts
            if fired <= self.time < end_of(returned)
        ]
        return around[0] if around else None

    def next_alert(self):
        return min((fired for fired, _ in self.alerts if fired > self.time), default=math.inf)


def end_of(returned):
    return math.inf if returned is None else returned


def events(condition, readings):
    """Return the events in readings that are all known: when each begins and ends."""
    found = []
    since = None
    firing = False
    for time, value in sorted(readings.items()):
        if conditions.is_beyond(condition, value):
            since = time if since is None else since
            if not firing and time - since >= condition.seconds:
                firing = True
                found.append([time, None])
        else:
            since = None
            if firing and conditions.is_back(condition, value):
                firing = False
                found[-1][1] = time
    return found


# At and around the limit of 30 and the margin of 2. The negative ones are for a limit of -30.
VALUES = [20.0, 28.0, 29.0, 30.0, 31.0]


def mirrored(condition, readings):
    """Return the readings for a condition: below is the mirror of above."""
    return [(time, value if condition.above else -value) for time, value in readings]


@st.composite
def arrivals(draw):
    """A few hours of readings, as they arrive: outages, late and repeated ones, and restarts."""
    interval = draw(st.sampled_from([5, 60, 300]))
    values = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=40))
    readings = [(float(n * interval), value) for n, value in enumerate(values)]
    live: list[tuple[float, float]] = []
    backlog: list[tuple[float, float]] = []
    away = False
    for reading in readings:
        away ^= draw(st.integers(0, 5)) == 0
        (backlog if away else live).append(reading)
    # After an outage, a device sends new readings at once and the older ones beside them.
    arriving = list(live)
    for reading in backlog:
        after = sum(1 for time, _ in arriving if time < reading[0])
        arriving.insert(draw(st.integers(after, len(arriving))), reading)
    for reading in draw(st.lists(st.sampled_from(readings), max_size=5)):  # Sent again.
        first = arriving.index(reading)
        arriving.insert(draw(st.integers(first + 1, len(arriving))), reading)
    restarts = draw(st.sets(st.integers(0, len(arriving)), max_size=3))
    return arriving, restarts


thresholds = st.builds(
    lambda above, margin, seconds: Threshold(
        "temp", above, 30.0 if above else -30.0, margin, seconds
    ),
    above=st.booleans(),
    margin=st.sampled_from([0.0, 2.0]),
    seconds=st.sampled_from([0.0, 10.0, 120.0, 600.0]),
)


@given(thresholds, arrivals())
def test_every_event_has_one_alert_in_whatever_order_readings_arrive(condition, arriving):
    readings, restarts = arriving
    device = Alerts(condition)
    for number, (time, value) in enumerate(mirrored(condition, readings)):
        if number in restarts:
            device.restart()
        fired = device.arrive(time, value)
        known = events(condition, device.known)
        if fired is not None:
            event("an alert in the past" if fired.returned else "an alert")
            assert fired.at in [begins for begins, _ in known]
        for begins, ends in known:
            around = [start for start, end in device.alerts if begins < end_of(end)]
            assert any(start < end_of(ends) for start in around)
            assert sum(begins <= start < end_of(ends) for start in around) <= 1
    for (_, end), (start, _) in zip(
        sorted(device.alerts)[:-1], sorted(device.alerts)[1:], strict=True
    ):
        assert end is not None
        assert end <= start


@given(thresholds, arrivals())
def test_readings_in_order_have_exactly_the_alerts_of_the_reference(condition, arriving):
    readings, restarts = arriving
    device = Alerts(condition)
    for number, (time, value) in enumerate(sorted(mirrored(condition, readings))):
        if number in restarts:
            device.restart()
        device.arrive(time, value)
    assert device.alerts == events(condition, device.known)


def alerts_of(condition, *readings):
    device = Alerts(condition)
    for time, value in readings:
        device.arrive(time, value)
    return device.alerts


def test_a_late_reading_inside_of_the_limit_shortens_the_time_beyond_it():
    lasting = Threshold("temp", above=True, limit=30.0, margin=0.0, seconds=60.0)
    readings = [(0.0, 31.0), (50.0, 31.0), (30.0, 20.0), (70.0, 31.0), (110.0, 31.0)]
    assert alerts_of(lasting, *readings) == [[110.0, None]]


def test_a_late_reading_can_show_that_an_event_was_two():
    readings = [(10.0, 20.0), (40.0, 31.0), (20.0, 31.0), (30.0, 20.0)]
    assert alerts_of(HOT, *readings) == [[40.0, None], [20.0, 30.0]]


def test_an_alert_that_a_late_reading_ended_can_be_followed_by_another():
    readings = [(10.0, 31.0), (20.0, 29.0), (15.0, 20.0), (25.0, 31.0)]
    assert alerts_of(HOT, *readings) == [[10.0, 15.0], [25.0, None]]


@pytest.mark.parametrize(
    ("above", "limit", "margin", "inside"),
    [
        (False, 0.1, 0.2, 0.3),
        (False, -0.3, 0.1, -0.2),
        (True, 0.3, 0.1, 0.2),
        (True, 0.0, 0.1, -0.1),
    ],
)
def test_the_margin_is_exact_for_numbers_as_they_are_entered(above, limit, margin, inside):
    condition = Threshold("temp", above, limit, margin, seconds=0.0)
    outside = limit + 1 if above else limit - 1
    within = inside + 0.01 if above else inside - 0.01
    readings = [(1.0, limit), (2.0, outside), (3.0, limit), (4.0, within), (5.0, inside)]
    assert alerts_of(condition, *readings, (6.0, limit), (7.0, outside)) == [
        [2.0, 5.0],
        [7.0, None],
    ]


def test_a_time_is_not_too_short_because_it_cannot_be_computed_exactly():
    begin = 1_800_000_000.1
    lasting = Threshold("temp", above=True, limit=30.0, margin=0.0, seconds=0.3)
    assert begin + 0.3 - begin < 0.3
    assert alerts_of(lasting, (begin, 31.0), (begin + 0.3, 31.0)) == [[begin + 0.3, None]]
    assert alerts_of(lasting, (begin, 31.0), (begin + 0.299, 31.0)) == []
    late = [(begin + 0.3, 31.0), (begin, 31.0)]
    assert alerts_of(lasting, *late) == [[begin + 0.3, None]]


def test_a_gap_neither_ends_an_event_nor_begins_it_again():
    lasting = Threshold("temp", above=True, limit=30.0, margin=2.0, seconds=60.0)
    readings = [(0.0, 31.0), (7200.0, 31.0), (9000.0, 31.0), (9001.0, 28.0)]
    assert alerts_of(lasting, *readings) == [[7200.0, 9001.0]]


def test_a_late_reading_that_lasts_since_earlier_ones_makes_an_alert():
    lasting = Threshold("temp", above=True, limit=30.0, margin=0.0, seconds=60.0)
    assert alerts_of(lasting, (0.0, 31.0), (200.0, 20.0), (70.0, 31.0)) == [[70.0, 200.0]]
    assert alerts_of(lasting, (0.0, 20.0), (200.0, 20.0), (70.0, 31.0)) == []
    assert alerts_of(lasting, (0.0, 31.0), (200.0, 20.0), (50.0, 31.0)) == []
