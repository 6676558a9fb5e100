import random

import pytest

from hw import Reading
from hw.sensors.fake import Room, SimulatedSensor
from hw.sensors.models import CHIPS, DHTS, MODELS
from hw.sensors.policy import Policy
from hw.sensors.steadiness import SensorWarning, Steadiness

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
CELLAR = Reading(12.0, 65.0)


class Sensor:
    """A model whose readings are judged, one each minute unless told otherwise."""

    def __init__(self, model="dht22"):
        self.steadiness = Steadiness(MODELS[model])
        self.now = 30 * DAY  # The board has been running for longer than the daemon.

    def reports(self, reading, seconds, *, interval=MINUTE):
        """Repeat a reading, or call it with the time. Return the warnings with their times."""
        began, warnings = self.now, []
        while self.now - began < seconds:
            self.now += interval
            value = reading(self.now) if callable(reading) else reading
            warning = self.steadiness.judge(value, self.now)
            if warning is not SensorWarning.NONE:
                warnings.append((self.now - began, warning))
        return warnings


def room(now):
    """Tenths that change from minute to minute."""
    rng = random.Random(now)  # noqa: S311 - for a repeatable test
    return Reading(round(21 + rng.gauss(0.0, 0.1), 1), round(45 + rng.gauss(0.0, 0.3), 1))


# Warnings


def test_values_that_moved_and_then_repeat_for_six_hours_are_unchanging():
    sensor = Sensor()
    assert sensor.reports(room, HOUR) == []
    warnings = sensor.reports(Reading(21.0, 45.0), 8 * HOUR)
    assert warnings[0] == (pytest.approx(6 * HOUR, abs=2 * MINUTE), SensorWarning.UNCHANGING)
    assert sensor.steadiness.judge(Reading(21.0, 45.1), sensor.now) is SensorWarning.NONE


def test_a_dht11_may_repeat_its_whole_units_for_a_day():
    sensor = Sensor("dht11")
    for degrees in (20.0, 21.0, 20.0):
        assert sensor.reports(Reading(degrees, 45.0), HOUR) == []
    warnings = sensor.reports(Reading(21.0, 45.0), 30 * HOUR)
    assert warnings[0][0] == pytest.approx(24 * HOUR, abs=2 * MINUTE)


@pytest.mark.parametrize(("model", "end"), [("dht22", 99.9), ("dht21", 100.0), ("dht11", 95.0)])
def test_humidity_at_the_end_of_its_scale_for_two_days_is_saturated(model, end):
    sensor = Sensor(model)
    warnings = sensor.reports(lambda now: Reading(room(now).temperature, end), 3 * DAY)
    assert warnings[0] == (pytest.approx(2 * DAY, abs=2 * MINUTE), SensorWarning.HUMIDITY_SATURATED)
    assert sensor.steadiness.judge(Reading(21.0, end - 1.0), sensor.now) is SensorWarning.NONE


def test_a_dead_element_at_99_9_percent_is_saturated_also_if_nothing_else_changes():
    sensor = Sensor()
    sensor.reports(room, HOUR)
    assert {kind for _, kind in sensor.reports(Reading(21.0, 99.9), 5 * DAY)} == {
        SensorWarning.HUMIDITY_SATURATED
    }


@pytest.mark.parametrize("model", CHIPS)
def test_a_sensor_on_i2c_that_hung_before_the_start_is_unchanging(model):
    warnings = Sensor(model).reports(Reading(21.37, 44.21), 2 * HOUR)
    assert warnings[0] == (pytest.approx(HOUR, abs=2 * MINUTE), SensorWarning.UNCHANGING)


def test_a_sensor_that_hangs_in_a_cellar_is_recognized_later():
    sensor = Sensor()
    for hours in range(1, 4):
        assert sensor.reports(Reading(12.0, 65.0 + hours / 10), hours * HOUR) == []
    warnings = sensor.reports(CELLAR, 40 * HOUR)
    assert warnings[0][0] == pytest.approx(30 * HOUR, abs=2 * MINUTE)


# Air that gives no warning


def test_a_cellar_that_never_changed_gives_no_warning():
    assert Sensor().reports(CELLAR, 30 * DAY) == []


def test_a_cellar_whose_last_digit_changes_now_and_then_gives_no_warning():
    def cellar(now):
        return Reading(12.0, 65.0 + int(now / HOUR / 2.5) % 2 / 10)

    assert Sensor().reports(cellar, 30 * DAY) == []


def test_fog_for_a_night_and_a_wet_day_give_no_warning():
    sensor = Sensor()
    for _ in range(5):
        assert sensor.reports(room, 6 * HOUR) == []
        assert sensor.reports(Reading(4.0, 99.9), 18 * HOUR) == []


def test_a_freezer_gives_no_warning():
    def freezer(now):
        return Reading(-18.0 + int(now / MINUTE / 5) % 6 / 10, 70.0)

    assert Sensor().reports(freezer, 7 * DAY) == []


def test_a_drying_cabinet_gives_no_warning():
    assert (
        Sensor().reports(lambda now: Reading(25.0, 6.0 + int(now / HOUR) % 3 / 10), 7 * DAY) == []
    )


def test_a_few_equal_readings_at_long_intervals_give_no_warning():
    sensor = Sensor()
    sensor.reports(room, 10 * HOUR, interval=HOUR)
    # The longest repetition before was one hour, so 10 hours would be enough without a least count.
    assert sensor.reports(CELLAR, 58 * HOUR, interval=HOUR) == []
    assert sensor.reports(CELLAR, 4 * HOUR, interval=HOUR) != []


@pytest.mark.parametrize("model", sorted(DHTS))
def test_a_simulated_room_gives_no_warning_in_a_week_and_a_stuck_sensor_one(model):
    now = 0.0
    sensor = SimulatedSensor(Room(seed=1, clock=lambda: now), model=model)
    policy = Policy(model=model, spacing=0.0, interval=MINUTE, now=0.0)

    def pass_days(days):
        nonlocal now
        warnings = set()
        for _ in range(int(days * DAY / MINUTE)):
            now = policy.next_attempt()
            policy.began(now)
            policy.succeeded(sensor.read(), now)
            warnings.add(policy.warning)
        return warnings

    assert pass_days(7) == {SensorWarning.NONE}
    sensor.room.play({"fault": "stuck"})
    assert SensorWarning.UNCHANGING in pass_days(4)
    sensor.room.play({"fault": None})
    pass_days(1)
    assert policy.warning is SensorWarning.NONE
