import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policies import ATTEMPTS, ROOM, policy, policy_without_spacing, step, warm

from hw import Reading
from hw.errors import Fault
from hw.sensors.models import MODELS
from hw.sensors.policy import STEP_CELSIUS, STEP_HUMIDITY, SensorStatus
from hw.sensors.steadiness import SensorWarning

# Plausibility


@pytest.mark.parametrize(
    ("model", "temperature", "humidity"),
    [
        ("dht22", 3276.7, 45.0),
        ("dht22", -3266.7, 45.0),
        ("dht22", 80.1, 45.0),
        ("dht22", -40.1, 45.0),
        ("dht22", 21.0, 100.1),
        ("dht22", 21.0, -0.1),
        ("dht11", 61.0, 45.0),
        ("dht11", -21.0, 45.0),
        ("dht11", 21.0, 4.0),
        ("dht11", 21.0, 96.0),
        ("dht22", math.nan, 45.0),
        ("dht22", 21.0, math.nan),
        ("dht22", math.inf, 45.0),
        ("dht22", 21.0, -math.inf),
        ("dht22", 0.0, 0.0),
        ("dht22", -0.0, 0.0),
        ("dht22", 0.0, 2.0),
        ("dht22", 0.1, 1.0),
        ("dht22", 1.0, 1.0),
        ("dht22", 0.2, 0.2),
        ("dht22", 21.4, 1.0),
        ("dht22", 21.4, 1.9),
        ("dht22", -40.0, 1.0),
        ("dht22", -40.0, 99.9),
        ("dht22", -40.0, 100.0),
        ("dht22", 80.0, 99.9),
        ("dht21", 21.4, 1.0),
        ("dht11", 60.0, 95.0),
        ("dht11", -20.0, 95.0),
    ],
)
def test_an_implausible_value_is_a_failed_attempt(model, temperature, humidity):
    it = policy_without_spacing(model=model)
    assert step(it, Reading(temperature, humidity)) == []
    assert it.counters["implausible"] == 1
    assert it.last is None


@pytest.mark.parametrize(
    ("model", "temperature", "humidity"),
    [
        ("dht22", -40.0, 60.0),
        ("dht22", -18.0, 99.9),  # A freezer with the door open.
        ("dht22", 80.0, 3.0),  # A drying oven.
        ("dht22", 25.0, 6.0),  # A drying cabinet.
        ("dht22", 21.0, 2.0),
        ("dht22", 0.0, 45.0),
        ("dht22", 0.0, 99.9),  # Fog.
        ("dht22", 12.0, 100.0),
        ("dht11", -20.0, 50.0),
        ("dht11", 0.0, 5.0),
        ("dht11", 60.0, 5.0),
        ("dht11", 21.0, 95.0),
    ],
)
def test_the_limits_of_the_data_sheets_range_are_accepted(model, temperature, humidity):
    (accepted,) = step(policy_without_spacing(model=model), Reading(temperature, humidity))
    assert accepted.reading == Reading(temperature, humidity)


def test_minus_zero_is_zero():
    (accepted,) = step(policy_without_spacing(), Reading(-0.0, 45.0))
    assert math.copysign(1.0, accepted.reading.temperature) == 1.0


@pytest.mark.parametrize(
    ("reading", "part"),
    [
        (Reading(21.4, 1.0), "1 % humidity, but it measures from 2 %"),
        (Reading(0.0, 0.0), "only zeros"),
        (Reading(-40.0, 99.9), "as damaged sensors do"),
        (Reading(0.0, 2.0), "as damaged sensors do"),
        (Reading(3276.7, 45.0), "check driver and model"),
        (Reading(math.nan, 45.0), "check driver and model"),
    ],
)
def test_the_reason_is_given_until_the_next_attempt(reading, part):
    it = policy_without_spacing()
    step(it, reading)
    assert part in it.why
    step(it, ROOM)
    assert it.why == ""


def test_offsets_are_added_after_the_check_and_humidity_stays_within_0_and_100():
    it = policy_without_spacing(temperature_offset=5.0, humidity_offset=7.0)
    (accepted,) = step(it, Reading(75.0, 97.0))
    assert accepted.reading == Reading(80.0, 100.0)
    it = policy_without_spacing(temperature_offset=-0.3, humidity_offset=-7.0)
    (accepted,) = step(it, Reading(21.0, 5.0))
    assert accepted.reading == Reading(20.7, 0.0)


@pytest.mark.parametrize(("offset", "temperature"), [(5.0, 75.1), (-5.0, -35.1)])
def test_an_offset_does_not_move_a_temperature_out_of_the_range(offset, temperature):
    it = policy_without_spacing(temperature_offset=offset)
    assert step(it, Reading(temperature, 45.0)) == []
    assert f"temperature_offset = {offset:g}" in it.why


def test_offsets_leave_no_rounding_errors():
    (accepted,) = step(policy_without_spacing(temperature_offset=0.1), Reading(0.2, 45.0))
    assert accepted.reading.temperature == 0.3


@given(
    st.sampled_from(sorted(MODELS)), ATTEMPTS, st.sampled_from([0.0, 2.1]), st.floats(5.0, 100.0)
)
def test_no_value_outside_the_range_is_ever_accepted(model, attempts, spacing, interval):
    it = policy(model=model, spacing=spacing, interval=interval)
    limits = MODELS[model]
    times = [-1.0]
    for outcome, late, takes in attempts:
        for accepted in step(it, outcome, late=late, takes=takes):
            assert limits.coldest <= accepted.reading.temperature <= limits.hottest
            assert max(0.0, limits.driest) <= accepted.reading.humidity <= min(100, limits.wettest)
            assert accepted.reading not in limits.ghosts
            times.append(accepted.at)
    assert times == sorted(times)
    assert it.counters["accepted"] == len(times) - 1


# Steps


def test_a_large_step_is_held_back_and_accepted_when_confirmed():
    it = warm()
    step(it, ROOM)  # Warm-up.
    assert step(it, Reading(40.0, 45.0)) == []
    assert it.counters["suspect"] == 1
    assert it.next_attempt() == pytest.approx(64.2)
    held, confirming = step(it, Reading(40.3, 44.0))
    assert (held.reading, held.at) == (Reading(40.0, 45.0), pytest.approx(62.1))
    assert (confirming.reading, confirming.at) == (Reading(40.3, 44.0), pytest.approx(64.2))
    assert it.next_attempt() == 120.0


def test_a_large_step_of_humidity_is_held_back_too():
    it = warm(interval=5.0)
    assert step(it, Reading(21.0, 80.0)) == []
    assert len(step(it, Reading(21.0, 81.0))) == 2


def test_a_wrong_value_between_good_ones_is_dropped_and_counted():
    it = warm(interval=5.0)
    assert step(it, Reading(40.0, 45.0)) == []
    (accepted,) = step(it, Reading(21.1, 45.0))
    assert accepted.reading == Reading(21.1, 45.0)
    assert it.counters["implausible"] == 1
    assert it.status is SensorStatus.OK


def test_a_step_from_21_to_30_degrees_is_accepted_at_the_next_attempt():
    it = policy_without_spacing()
    assert len(step(it, ROOM, takes=0.0)) == 1
    assert step(it, Reading(30.0, 45.0), takes=0.0) == []
    assert it.next_attempt() == 5.0
    assert len(step(it, Reading(30.1, 45.0), takes=0.0)) == 2


def test_a_reading_confirms_the_nearer_of_two_values():
    it = warm(interval=5.0)
    assert step(it, Reading(24.6, 45.0)) == []
    assert len(step(it, Reading(22.1, 45.0))) == 1  # Nearer to 21.
    assert step(it, Reading(25.6, 45.0)) == []
    assert len(step(it, Reading(24.4, 45.0))) == 2  # Nearer to 25.6.


def test_a_suspect_survives_failed_attempts():
    it = warm()
    step(it, ROOM)
    assert step(it, Reading(30.0, 45.0)) == []
    for _ in range(3):
        step(it, Fault.CHECKSUM)
    assert step(it, Reading(30.0, 45.0)) == []  # Warm-up of the next slot.
    assert [accepted.at for accepted in step(it, Reading(30.2, 45.0))] == pytest.approx(
        [62.1, 122.1]
    )


def test_a_suspect_is_not_confirmed_hours_later():
    it = warm()
    wild, later = Reading(29.9, 45.0), Reading(27.0, 45.0)
    step(it, ROOM)  # The warm-up of the next slot.
    assert step(it, wild) == []
    while it.next_attempt() < 4 * 3600.0:
        step(it, Fault.NO_ANSWER)
    step(it, later)  # The warm-up.
    assert [one.reading for one in step(it, later)] == [later]
    assert it.counters["implausible"] == 1


def test_the_allowed_step_grows_with_time_up_to_a_limit():
    def accepted_after(seconds, temperature):
        it = policy_without_spacing(interval=seconds)
        step(it, ROOM)
        return len(step(it, Reading(temperature, 45.0)))

    assert [accepted_after(5.0, 21.0 + d) for d in (3.0, 3.5)] == [1, 0]
    assert [accepted_after(60.0, 21.0 + d) for d in (5.0, 5.5)] == [1, 0]
    assert [accepted_after(86400.0, 21.0 + d) for d in (10.0, 10.5)] == [1, 0]


def test_the_discarded_warm_up_is_the_reference_for_the_first_reading():
    it = policy()
    step(it, ROOM)
    assert step(it, Reading(60.0, 45.0)) == []
    (accepted,) = step(it, ROOM)
    assert accepted.reading == ROOM


@pytest.mark.parametrize("noise", [Fault.CHECKSUM, Reading(3276.7, 45.0)])
def test_a_wrong_first_reading_on_a_noisy_line_is_not_accepted(noise):
    it = policy()
    step(it, noise)
    assert step(it, Reading(60.0, 45.0)) == []
    assert [one.reading for one in step(it, ROOM) + step(it, ROOM)] == [ROOM, ROOM]


def test_noise_that_is_never_confirmed_is_implausible():
    it = warm(interval=5.0)
    for n in range(7):
        assert step(it, Reading([-30.0, 70.0][n % 2], 45.0)) == []
    assert it.status is SensorStatus.IMPLAUSIBLE
    assert "no two agree" in it.why


def test_a_dead_humidity_element_is_implausible_however_long_it_reports():
    it = warm()
    for _ in range(100):
        assert step(it, Reading(21.4, 1.0)) == []
    assert it.status is SensorStatus.IMPLAUSIBLE
    assert it.warning is SensorWarning.NONE
    step(it, ROOM)  # The sensor is replaced while the daemon runs.
    assert len(step(it, ROOM)) == 1


def test_a_replaced_sensor_that_differs_is_accepted_when_confirmed():
    it = warm(interval=5.0)
    assert step(it, Reading(26.0, 70.0)) == []
    assert len(step(it, Reading(26.1, 70.1))) == 2
    assert it.status is SensorStatus.OK


@given(
    st.builds(Reading, st.floats(-40.0, 80.0), st.floats(3.0, 100.0)),
    # Both ends of the scales together are refused.
    st.builds(Reading, st.floats(-39.0, 79.0), st.floats(3.0, 100.0)),
    st.floats(-1.0, 1.0),
    st.lists(st.builds(Reading, st.floats(-40.0, 80.0), st.floats(3.0, 100.0)), max_size=6),
    st.sampled_from([0.0, 2.1]),
    st.floats(5.0, 1000.0),
)
def test_a_true_step_is_accepted_within_two_agreeing_readings(
    before, after, apart, noise, spacing, interval
):
    it = policy(spacing=spacing, interval=interval)
    for reading in (before, before, before, *noise):
        step(it, reading)
    agreeing = Reading(
        min(79.0, max(-39.0, after.temperature + apart * STEP_CELSIUS / 2)),
        min(100.0, max(3.0, after.humidity + apart * STEP_HUMIDITY / 2)),
    )
    # Discarded warm-ups are not readings.
    warm_ups = it.counters["warm_up"]
    accepted = step(it, after)
    if it.counters["warm_up"] > warm_ups:
        accepted = step(it, after)
    warm_ups = it.counters["warm_up"]
    accepted += step(it, agreeing)
    if it.counters["warm_up"] > warm_ups:
        accepted += step(it, agreeing)
    tidy = Reading(round(agreeing.temperature, 3), round(agreeing.humidity, 3))
    assert accepted
    assert accepted[-1].reading == tidy
