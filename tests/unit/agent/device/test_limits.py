"""Limits: which readings cross them, and whose are in force."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.loader import LimitsConfig
from agent.device.limits import (
    ALL_WITHIN,
    LIMITS,
    NO_LIMITS,
    LimitStatus,
    Quantity,
    change_limits,
    configured,
    in_force,
    judge,
    limit_status,
)

TEMPERATURE, HUMIDITY = Quantity.TEMPERATURE, Quantity.HUMIDITY


class Series:
    """Readings one after the other; `crossed` lists what each of them crosses."""

    def __init__(self, **values):
        self.values = {**NO_LIMITS, **values}
        self.sides = ALL_WITHIN

    def read(self, *temperatures, humidity=50.0):
        crossed = []
        for temperature in temperatures:
            measured = {TEMPERATURE: temperature, HUMIDITY: humidity}
            self.sides, crossings = judge(self.sides, self.values, measured)
            crossed.append([(one.limit.name, one.is_outside) for one in crossings])
        return crossed

    def change(self, **values):
        before, self.values = self.values, {**NO_LIMITS, **values}
        self.sides, crossings = change_limits(self.sides, before, self.values)
        return [(one.limit.name, one.is_outside) for one in crossings]

    @property
    def status(self):
        return limit_status(self.sides, self.values)


ENTERED, LEFT = [("temperatureHigh", True)], [("temperatureHigh", False)]


def test_a_limit_is_crossed_by_the_third_reading_in_a_row_beyond_it():
    series = Series(temperatureHigh=25.0)
    assert series.read(25.1, 25.1, 25.0, 25.1, 25.1) == [[], [], [], [], []]
    assert series.status == LimitStatus.WITHIN
    assert series.read(25.1) == [ENTERED]
    assert series.status == LimitStatus.TOO_WARM


def test_readings_return_by_three_in_a_row_half_a_degree_inside():
    series = Series(temperatureHigh=25.0)
    series.read(26, 26, 26)
    assert series.read(24.5, 24.5, 24.6, 24.5, 24.5) == [[], [], [], [], []]
    assert series.read(24.5) == [LEFT]
    assert series.status == LimitStatus.WITHIN


def test_humidity_returns_two_percent_inside():
    series = Series(humidityLow=40.0)
    assert series.read(20, 20, 20, humidity=39.9)[2] == [("humidityLow", True)]
    assert series.status == LimitStatus.TOO_DRY
    assert series.read(20, 20, 20, humidity=41.9) == [[], [], []]
    assert series.read(20, 20, 20, humidity=42.0)[2] == [("humidityLow", False)]


def test_a_value_that_flaps_around_the_limit_crosses_it_once_at_most():
    series = Series(temperatureHigh=25.0)
    assert sum(map(len, series.read(*[25.1, 24.9] * 500))) == 0
    assert sum(map(len, series.read(*[26.0] * 3, *[25.1, 24.4] * 500))) == 1


def test_from_too_warm_to_too_cold_takes_three_readings():
    series = Series(temperatureLow=10.0, temperatureHigh=25.0)
    series.read(26, 26, 26)
    assert series.read(5, 5, 5)[2] == [("temperatureLow", True), ("temperatureHigh", False)]
    assert series.status == LimitStatus.TOO_COLD


def test_of_two_crossings_the_temperatures_is_named():
    series = Series(humidityHigh=80.0, temperatureLow=5.0)
    series.read(20, 20, 20, humidity=90)
    assert series.status == LimitStatus.TOO_HUMID
    series.read(2, 2, 2, humidity=90)
    assert series.status == LimitStatus.TOO_COLD


def test_a_limit_at_the_end_of_the_range_is_none():
    series = Series()
    assert sum(map(len, series.read(-45, -45, -45, 130, 130, 130, humidity=100))) == 0
    assert series.status == LimitStatus.OFF
    assert limit_status(series.sides, series.values, is_reading=False) is LimitStatus.OFF


def test_without_readings_the_status_is_unknown():
    series = Series(temperatureHigh=25.0)
    assert limit_status(series.sides, series.values, is_reading=False) is LimitStatus.UNKNOWN


def test_a_quantity_that_is_not_believed_changes_nothing():
    series = Series(humidityHigh=80.0)
    series.read(20, 20, humidity=90)
    for _ in range(9):
        series.sides, crossings = judge(series.sides, series.values, {TEMPERATURE: 20.0})
        assert crossings == []
    assert series.read(20, humidity=90) == [[("humidityHigh", True)]]


def test_a_limit_removed_while_outside_is_within_at_once():
    series = Series(temperatureHigh=25.0)
    series.read(26, 26, 26)
    assert series.change() == LEFT
    assert series.status == LimitStatus.OFF


def test_a_limit_moved_while_outside_is_decided_by_the_next_readings():
    series = Series(temperatureHigh=25.0, humidityHigh=80.0)
    series.read(26, 26, 26, 24, 24)
    assert series.change(temperatureHigh=30.0, humidityHigh=80.0) == []
    assert series.status == LimitStatus.TOO_WARM
    assert series.read(26, 26, 26) == [[], [], LEFT]


def test_readings_so_far_do_not_count_for_a_moved_limit():
    series = Series(temperatureHigh=25.0)
    series.read(26, 26)
    series.change(temperatureHigh=25.5)
    assert series.read(26, 26, 26) == [[], [], ENTERED]


def test_the_configuration_has_each_limit_and_means_none_by_default():
    assert configured(LimitsConfig()) == NO_LIMITS
    assert configured(LimitsConfig(humidity_low=30))["humidityLow"] == 30.0


FILE = {**NO_LIMITS, "temperatureLow": 10.0, "temperatureHigh": 30.0}


@pytest.mark.parametrize(
    ("operator", "low", "high"),
    [
        ({}, 10.0, 30.0),
        ({"temperatureHigh": 20.0}, 10.0, 20.0),
        ({"temperatureLow": 5.0, "temperatureHigh": 8.0}, 5.0, 8.0),
        # The configuration's limit contradicts the operator's, so there is none.
        ({"temperatureHigh": 9.0}, -40.0, 9.0),
        ({"temperatureHigh": 11.0}, -40.0, 11.0),
        ({"temperatureHigh": 11.1}, 10.0, 11.1),
        ({"temperatureLow": 35.0}, 35.0, 125.0),
    ],
)
def test_the_operators_limits_go_before_the_configurations(operator, low, high):
    values = in_force(FILE, operator)
    assert (values["temperatureLow"], values["temperatureHigh"]) == (low, high)
    assert (values["humidityLow"], values["humidityHigh"]) == (0.0, 100.0)


@dataclass
class PlainLimit:
    """The rule for one limit, written down again: the last three readings decide."""

    limit: float
    margin: float
    is_low: bool

    def positions(self, readings):
        outside = False
        recent: list[float] = []
        for reading in readings:
            recent = [*recent, reading][-3:]
            sign = -1 if self.is_low else 1
            beyond = [sign * (one - self.limit) for one in recent]
            change = (
                all(one <= -self.margin for one in beyond)
                if outside
                else all(one > 0 for one in beyond)
            )
            if change and len(recent) == 3:
                outside, recent = not outside, []
            yield outside


readings_of_any_size = st.integers(-400, 800).map(lambda number: number / 8)


@given(
    st.sampled_from(sorted(LIMITS)),
    st.integers(1, 40).map(float),
    st.lists(st.integers(-8, 8).map(lambda step: step / 4), max_size=60),
)
def test_any_readings_cross_a_limit_as_the_plain_rule_says(name, value, steps):
    limit = LIMITS[name]
    readings = [value + step for step in steps]
    plain = PlainLimit(value, limit.margin, limit.is_low).positions(readings)
    sides = ALL_WITHIN
    for reading, outside in zip(readings, plain, strict=True):
        sides, _ = judge(sides, {**NO_LIMITS, name: value}, {limit.quantity: reading})
        assert sides[name].is_outside is outside


@given(st.lists(readings_of_any_size, max_size=60), st.integers(-30, 20), st.integers(2, 30))
def test_readings_are_never_too_warm_and_too_cold_at_once(readings, low, distance):
    series = Series(temperatureLow=float(low), temperatureHigh=float(low + distance))
    for reading in readings:
        series.read(reading)
        assert not (
            series.sides["temperatureLow"].is_outside and series.sides["temperatureHigh"].is_outside
        )
