import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw import Reading
from hw.errors import Fault
from hw.policy import (
    ATTEMPTS_PER_SLOT,
    GHOSTS,
    MODELS,
    STEP_CELSIUS,
    STEP_HUMIDITY,
    TIMER_SLACK,
    Policy,
    SensorStatus,
)

ROOM = Reading(21.0, 45.0)


def policy(**options):
    return Policy(**{"model": "dht22", "spacing": 2.1, "interval": 60.0, "now": 0.0} | options)


def fake_policy(**options):
    return policy(**{"spacing": 0.0, "interval": 5.0} | options)


def step(it, outcome, *, late=0.0, takes=0.3):
    """One attempt, when the policy wants it (or later); what was accepted."""
    began = it.next_attempt() + late
    it.began(began)
    if isinstance(outcome, Fault):
        it.failed(outcome, began + takes)
        return []
    return it.succeeded(outcome, began + takes)


def warm(**options):
    """A policy that has accepted one reading, at 2.1."""
    it = policy(**options)
    assert step(it, ROOM) == []
    assert len(step(it, ROOM)) == 1
    return it


# The schedule


def test_the_first_attempt_is_at_once():
    assert policy(now=1000.0).next_attempt() == 1000.0


def test_an_accepted_reading_ends_its_slot():
    it = fake_policy(interval=60.0)
    step(it, ROOM)
    assert it.next_attempt() == 60.0


def test_a_late_attempt_does_not_shift_the_schedule():
    it = fake_policy(interval=60.0)
    step(it, ROOM, late=13.0)
    assert it.next_attempt() == 60.0


def test_an_attempt_that_takes_long_does_not_shift_the_schedule():
    it = fake_policy(interval=60.0)
    step(it, ROOM, takes=47.0)
    assert it.next_attempt() == 60.0


def test_an_attempt_that_outlasts_its_slot_is_followed_at_once_and_the_schedule_stays():
    it = fake_policy(interval=5.0)
    step(it, ROOM, takes=7.0)
    assert it.next_attempt() == 7.0
    step(it, ROOM)
    assert it.next_attempt() == 10.0


def test_slots_that_were_slept_through_are_skipped_not_made_up():
    it = fake_policy(interval=60.0)
    step(it, ROOM)
    step(it, ROOM, late=1000.0)  # At 1060, in the slot from 1020.
    assert it.next_attempt() == 1080.0


def test_an_attempt_a_little_before_its_slot_is_that_slots():
    it = fake_policy(interval=60.0)
    step(it, ROOM)
    step(it, ROOM, late=-0.01)
    assert it.next_attempt() == 120.0


def test_an_attempt_out_of_turn_does_not_use_up_the_next_slot():
    it = fake_policy(interval=60.0)
    step(it, ROOM)
    it.began(30.0)
    assert len(it.succeeded(ROOM, 30.0)) == 1
    assert it.next_attempt() == 60.0


def test_a_failed_attempt_is_repeated_after_the_spacing_counted_from_its_start():
    it = policy(now=100.0)
    step(it, Fault.CHECKSUM, takes=1.5)
    assert it.next_attempt() == pytest.approx(102.1)


def test_a_failed_attempt_that_took_longer_than_the_spacing_is_repeated_at_its_end():
    it = policy()
    step(it, Fault.FAILED, takes=4.0)
    assert it.next_attempt() == 4.0


def test_a_slot_has_five_attempts_at_most():
    it = policy()
    for _ in range(ATTEMPTS_PER_SLOT):
        assert it.next_attempt() < 60.0
        step(it, Fault.NO_ANSWER)
    assert it.next_attempt() == 60.0


def test_a_retry_that_would_delay_the_next_slot_is_not_made():
    it = policy(interval=5.0)
    began = []
    for _ in range(5):
        began.append(it.next_attempt())
        step(it, Fault.NO_ANSWER)
    assert began == pytest.approx([0.0, 2.1, 5.0, 7.1, 10.0])


def test_a_shorter_interval_counts_from_the_current_slot():
    it = fake_policy(interval=3600.0)
    step(it, ROOM)
    it.interval = 60.0
    assert it.next_attempt() == 60.0
    step(it, ROOM)
    assert it.next_attempt() == 120.0


def test_a_shorter_interval_that_has_passed_already_means_at_once_and_no_backlog():
    it = fake_policy(interval=3600.0)
    step(it, ROOM)
    it.interval = 60.0
    step(it, ROOM, late=1000.0 - 60.0)  # It was set when 1000 seconds had passed.
    assert it.next_attempt() == 1020.0


def test_a_longer_interval_postpones_the_next_attempt():
    it = fake_policy(interval=60.0)
    for _ in range(3):
        step(it, ROOM)
    it.interval = 600.0
    assert it.next_attempt() == 120.0 + 600.0


@pytest.mark.parametrize("interval", [0.0, -1.0, math.nan, math.inf])
def test_an_interval_that_is_no_time_is_refused_and_changes_nothing(interval):
    it = fake_policy()
    with pytest.raises(ValueError, match="interval"):
        it.interval = interval
    assert it.interval == 5.0


@pytest.mark.parametrize(
    "options",
    [
        {"model": "dht23"},
        {"spacing": -1.0},
        {"spacing": math.nan},
        {"interval": 0.0},
        {"temperature_offset": math.nan},
        {"humidity_offset": math.inf},
    ],
)
def test_nonsense_is_refused_at_once(options):
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own sentence
        policy(**options)


OUTCOMES = st.one_of(
    st.sampled_from(Fault),
    st.builds(Reading, st.floats(-45, 85), st.floats(-5, 105)),
    st.just(ROOM),
    st.builds(Reading, st.floats(allow_nan=True), st.floats(allow_nan=True)),
)
ATTEMPTS = st.lists(
    st.tuples(OUTCOMES, st.sampled_from([0.0, 0.0, 0.01, 3.0, 500.0]), st.floats(0.0, 8.0))
)


@given(ATTEMPTS, st.sampled_from([2.1, 1.1, 0.0]), st.floats(5.0, 200.0))
def test_spacing_is_never_violated_and_the_schedule_never_drifts(attempts, spacing, interval):
    it = policy(spacing=spacing, interval=interval, now=1000.0)
    previous, per_slot = -math.inf, Counter()
    for outcome, late, takes in attempts:
        wanted = it.next_attempt()
        began = max(wanted + late, previous)
        assert began >= previous + spacing - 1e-9
        slot = math.floor((began + TIMER_SLACK - 1000.0) / interval)
        per_slot[slot] += 1
        assert per_slot[slot] <= ATTEMPTS_PER_SLOT
        it.began(began)
        if isinstance(outcome, Fault):
            it.failed(outcome, began + takes)
        else:
            it.succeeded(outcome, began + takes)
        previous = began
        # Whatever happened, the next slot's first attempt is wanted at its start, or as soon
        # after as the attempt before allows.
        following = it.next_attempt()
        free = max(began + spacing, began + takes)
        assert following >= free - 1e-9
        next_slot = 1000.0 + (slot + 1) * interval
        assert following <= max(next_slot, free) + 1e-6


@given(st.floats(0.05, 86400.0), st.integers(1, 5000), st.floats(0.0, 1e9))
def test_a_thousand_slots_later_the_schedule_is_where_it_must_be(interval, slots, start):
    it = fake_policy(interval=interval, now=start)
    step(it, ROOM, takes=0.0)
    late = start + slots * interval - it.next_attempt()
    step(it, ROOM, late=late, takes=0.0)
    assert it.next_attempt() == pytest.approx(start + (slots + 1) * interval, rel=1e-12)


# Warm-up: a DHT answers with its previous conversion


def test_the_first_reading_is_an_old_conversion_and_is_repeated():
    it = policy(now=50.0)
    assert step(it, ROOM) == []
    assert it.counters["warm_up"] == 1
    assert it.next_attempt() == pytest.approx(52.1)
    (accepted,) = step(it, ROOM)
    assert accepted.at == pytest.approx(52.1)


def test_in_a_long_interval_the_first_reading_of_each_slot_is_repeated():
    it = warm()
    assert it.next_attempt() == 60.0
    assert step(it, Reading(24.0, 45.0)) == []
    (accepted,) = step(it, Reading(25.0, 45.0))
    assert (accepted.reading.temperature, accepted.at) == (25.0, pytest.approx(62.1))


def test_in_a_short_interval_every_reading_counts():
    it = warm(interval=5.0)
    assert [len(step(it, ROOM)) for _ in range(4)] == [1, 1, 1, 1]


def test_a_sensor_without_spacing_answers_with_the_present():
    it = fake_policy(interval=3600.0)
    assert [len(step(it, ROOM)) for _ in range(3)] == [1, 1, 1]


def test_a_damaged_frame_has_made_the_sensor_measure_and_silence_has_not():
    it = policy()
    step(it, Fault.CHECKSUM)
    assert len(step(it, ROOM)) == 1
    it = policy()
    step(it, Fault.NO_ANSWER)
    assert step(it, ROOM) == []
    assert len(step(it, ROOM)) == 1


# Believable or not


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
        ("dht11", -1.0, 45.0),
        ("dht11", 21.0, 4.0),
        ("dht11", 21.0, 96.0),
        ("dht22", math.nan, 45.0),
        ("dht22", 21.0, math.nan),
        ("dht22", math.inf, 45.0),
        ("dht22", 21.0, -math.inf),
        *(("dht22", *ghost) for ghost in sorted(GHOSTS)),
        ("dht22", -0.0, 0.0),
    ],
)
def test_a_value_that_cannot_be_true_is_a_failed_attempt(model, temperature, humidity):
    it = fake_policy(model=model)
    assert step(it, Reading(temperature, humidity)) == []
    assert it.counters["implausible"] == 1
    assert it.last is None


@pytest.mark.parametrize(
    ("model", "temperature", "humidity"),
    [
        ("dht22", -40.0, 0.1),
        ("dht22", 80.0, 100.0),
        ("dht22", 0.0, 45.0),
        ("dht22", 21.0, 0.0),
        ("dht11", 0.0, 5.0),
        ("dht11", 60.0, 95.0),
    ],
)
def test_the_ends_of_the_data_sheets_range_are_believed(model, temperature, humidity):
    (accepted,) = step(fake_policy(model=model), Reading(temperature, humidity))
    assert accepted.reading == Reading(temperature, humidity)


def test_minus_zero_is_zero():
    (accepted,) = step(fake_policy(), Reading(-0.0, 45.0))
    assert math.copysign(1.0, accepted.reading.temperature) == 1.0


def test_offsets_are_added_after_the_check_and_humidity_stays_within_0_and_100():
    it = fake_policy(temperature_offset=5.0, humidity_offset=7.0)
    (accepted,) = step(it, Reading(80.0, 97.0))
    assert accepted.reading == Reading(85.0, 100.0)
    it = fake_policy(temperature_offset=-0.3, humidity_offset=-7.0)
    (accepted,) = step(it, Reading(21.0, 5.0))
    assert accepted.reading == Reading(20.7, 0.0)


def test_offsets_leave_no_dust_of_binary_arithmetic():
    (accepted,) = step(fake_policy(temperature_offset=0.1), Reading(0.2, 45.0))
    assert accepted.reading.temperature == 0.3


@given(
    st.sampled_from(sorted(MODELS)), ATTEMPTS, st.sampled_from([0.0, 2.1]), st.floats(5.0, 100.0)
)
def test_no_value_outside_the_range_is_ever_accepted(model, attempts, spacing, interval):
    it = policy(model=model, spacing=spacing, interval=interval)
    coldest, hottest, driest, wettest = MODELS[model]
    times = [-1.0]
    for outcome, late, takes in attempts:
        for accepted in step(it, outcome, late=late, takes=takes):
            assert coldest <= accepted.reading.temperature <= hottest
            assert driest <= accepted.reading.humidity <= wettest
            assert (accepted.reading.temperature, accepted.reading.humidity) not in GHOSTS
            times.append(accepted.at)
    assert times == sorted(times)
    assert it.counters["accepted"] == len(times) - 1


# Steps


def test_a_step_is_held_and_both_count_when_the_next_reading_agrees():
    it = warm()
    step(it, ROOM)  # Warm-up.
    assert step(it, Reading(40.0, 45.0)) == []
    assert it.counters["suspect"] == 1
    assert it.next_attempt() == pytest.approx(64.2)
    held, confirming = step(it, Reading(40.3, 44.0))
    assert (held.reading, held.at) == (Reading(40.0, 45.0), pytest.approx(62.1))
    assert (confirming.reading, confirming.at) == (Reading(40.3, 44.0), pytest.approx(64.2))
    assert it.next_attempt() == 120.0


def test_a_step_of_humidity_is_held_too():
    it = warm(interval=5.0)
    assert step(it, Reading(21.0, 80.0)) == []
    assert len(step(it, Reading(21.0, 81.0))) == 2


def test_a_wild_value_between_good_ones_is_dropped_and_counted():
    it = warm(interval=5.0)
    assert step(it, Reading(40.0, 45.0)) == []
    (accepted,) = step(it, Reading(21.1, 45.0))
    assert accepted.reading == Reading(21.1, 45.0)
    assert it.counters["implausible"] == 1
    assert it.status is SensorStatus.OK


def test_a_fake_room_set_from_21_to_30_degrees_arrives_at_once():
    it = fake_policy()
    assert len(step(it, ROOM, takes=0.0)) == 1
    assert step(it, Reading(30.0, 45.0), takes=0.0) == []
    assert it.next_attempt() == 5.0
    assert len(step(it, Reading(30.1, 45.0), takes=0.0)) == 2


def test_a_reading_that_could_be_either_sides_with_the_nearer():
    it = warm(interval=5.0)
    assert step(it, Reading(24.6, 45.0)) == []
    assert len(step(it, Reading(22.1, 45.0))) == 1  # Nearer to 21.
    assert step(it, Reading(25.6, 45.0)) == []
    assert len(step(it, Reading(24.4, 45.0))) == 2  # Nearer to 25.6.


def test_a_suspect_waits_through_failed_attempts():
    it = warm()
    step(it, ROOM)
    assert step(it, Reading(30.0, 45.0)) == []
    for _ in range(3):
        step(it, Fault.CHECKSUM)
    assert step(it, Reading(30.0, 45.0)) == []  # Warm-up of the next slot.
    assert [accepted.at for accepted in step(it, Reading(30.2, 45.0))] == pytest.approx(
        [62.1, 122.1]
    )


def test_the_longer_ago_the_larger_a_step_may_be_up_to_a_limit():
    def accepted_after(seconds, temperature):
        it = fake_policy(interval=seconds)
        step(it, ROOM)
        return len(step(it, Reading(temperature, 45.0)))

    assert [accepted_after(5.0, 21.0 + d) for d in (3.0, 3.5)] == [1, 0]
    assert [accepted_after(60.0, 21.0 + d) for d in (5.0, 5.5)] == [1, 0]
    assert [accepted_after(86400.0, 21.0 + d) for d in (10.0, 10.5)] == [1, 0]


def test_the_discarded_old_conversion_guards_the_first_reading():
    it = policy()
    step(it, ROOM)
    assert step(it, Reading(60.0, 45.0)) == []
    (accepted,) = step(it, ROOM)
    assert accepted.reading == ROOM


def test_noise_that_never_agrees_is_told_as_implausible():
    it = warm(interval=5.0)
    for n in range(7):
        assert step(it, Reading([-30.0, 70.0][n % 2], 45.0)) == []
    assert it.status is SensorStatus.IMPLAUSIBLE


@given(
    st.builds(Reading, st.floats(-40.0, 80.0), st.floats(3.0, 100.0)),
    st.builds(Reading, st.floats(-40.0, 80.0), st.floats(3.0, 100.0)),
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
        min(80.0, max(-40.0, after.temperature + apart * STEP_CELSIUS / 2)),
        min(100.0, max(3.0, after.humidity + apart * STEP_HUMIDITY / 2)),
    )
    # Discarded old conversions are no readings of the present.
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


# Status


def test_it_is_starting_until_the_first_verdict():
    it = policy(now=7.0)
    assert (it.status, it.status_since) == (SensorStatus.STARTING, 7.0)
    step(it, Fault.CHECKSUM)
    step(it, ROOM)
    assert it.status is SensorStatus.OK


def test_silence_is_told_after_five_failed_attempts_in_a_row():
    it = warm()
    since = it.status_since
    for _ in range(4):
        step(it, Fault.NO_ANSWER)
        assert (it.status, it.status_since) == (SensorStatus.OK, since)
    step(it, Fault.NO_ANSWER)
    assert (it.status, it.status_since) == (SensorStatus.NO_ANSWER, pytest.approx(68.7))


@pytest.mark.parametrize("fault", [Fault.NO_PERMISSION, Fault.BUSY, Fault.FAILED])
def test_what_no_retry_cures_is_told_at_once(fault):
    it = policy()
    step(it, fault)
    assert it.status == fault


def test_an_accepted_reading_ends_a_fault():
    it = warm()
    for _ in range(5):
        step(it, Fault.NO_ANSWER)
    step(it, ROOM)
    assert it.status is SensorStatus.NO_ANSWER  # It answers, but with the past.
    step(it, ROOM)
    assert it.status is SensorStatus.OK
    assert it.status_since == pytest.approx(122.4)
    for _ in range(4):
        step(it, Fault.NO_ANSWER)
    assert it.status is SensorStatus.OK


def test_a_mix_of_faults_is_told_as_the_commonest_and_does_not_flicker():
    it = policy()
    for fault in [Fault.NO_ANSWER, Fault.CHECKSUM, Fault.CHECKSUM, Fault.NO_ANSWER]:
        step(it, fault)
    step(it, Fault.CHECKSUM)
    assert it.status is SensorStatus.CHECKSUM
    since = it.status_since
    step(it, Fault.NO_ANSWER)
    assert (it.status, it.status_since) == (SensorStatus.CHECKSUM, since)


def test_values_that_cannot_be_true_are_told_like_a_fault():
    it = fake_policy()
    for _ in range(5):
        step(it, Reading(3276.7, 45.0))
    assert it.status is SensorStatus.IMPLAUSIBLE


def test_every_attempt_is_counted_by_what_came_of_it():
    it = policy()
    for outcome in [Fault.NO_ANSWER, ROOM, ROOM, Reading(0.0, 0.0), ROOM]:
        step(it, outcome)
    assert it.counters == {
        "attempts": 5,
        "accepted": 2,
        "suspect": 0,
        "warm_up": 1,
        "no_answer": 1,
        "checksum": 0,
        "implausible": 1,
        "no_permission": 0,
        "busy": 0,
        "failed": 0,
    }


def test_the_last_reading_stays_known_with_its_time():
    it = warm()
    for _ in range(5):
        step(it, Fault.NO_ANSWER)
    assert (it.last.reading, it.last.at) == (ROOM, pytest.approx(2.1))


def test_each_fault_is_a_status_of_the_same_name():
    assert {status.value for status in SensorStatus} == {
        "starting",
        "ok",
        *(fault.value for fault in Fault),
    }
