import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policies import ATTEMPTS, ROOM, policy, policy_without_spacing, step, warm

from hw import Reading
from hw.errors import Fault
from hw.sensors.policy import ATTEMPTS_PER_SLOT, TIMER_SLACK, SensorStatus

# The schedule


def test_the_first_attempt_is_immediate():
    assert policy(now=1000.0).next_attempt() == 1000.0


@pytest.mark.parametrize(("late", "takes"), [(0.0, 0.0), (-0.01, 0.0), (13.0, 0.0), (0.0, 47.0)])
def test_a_reading_ends_its_slot_without_shifting_the_schedule(late, takes):
    it = policy_without_spacing(interval=60.0)
    step(it, ROOM)
    step(it, ROOM, late=late, takes=takes)
    assert it.next_attempt() == 120.0


def test_an_attempt_longer_than_its_slot_is_followed_at_once_on_the_same_schedule():
    it = policy_without_spacing(interval=5.0)
    step(it, ROOM, takes=7.0)
    assert it.next_attempt() == 7.0
    step(it, ROOM)
    assert it.next_attempt() == 10.0


def test_missed_slots_are_skipped():
    it = policy_without_spacing(interval=60.0)
    step(it, ROOM)
    step(it, ROOM, late=1000.0)  # At 1060, in the slot from 1020.
    assert it.next_attempt() == 1080.0


def test_an_attempt_outside_the_schedule_does_not_use_up_the_next_slot():
    it = policy_without_spacing(interval=60.0)
    step(it, ROOM)
    it.began(30.0)
    assert len(it.succeeded(ROOM, 30.0)) == 1
    assert it.next_attempt() == 60.0


@pytest.mark.parametrize("takes", [0.3, 1.5, 4.0])
def test_a_retry_follows_the_spacing_after_the_end_of_the_failed_attempt(takes):
    it = policy(now=100.0)
    step(it, Fault.CHECKSUM, takes=takes)
    assert it.next_attempt() == pytest.approx(100.0 + takes + 2.1)


def test_the_spacing_counts_from_the_end_of_a_long_attempt():
    """A driver that starts a child process asks the sensor at the end of the attempt."""
    it = policy()
    assert step(it, Reading(5.0, 45.0), takes=9.0) == []  # A conversion of unknown age.
    assert it.earliest == it.next_attempt() == pytest.approx(11.1)


def test_a_slot_has_at_most_five_attempts():
    it = policy()
    for _ in range(ATTEMPTS_PER_SLOT):
        assert it.next_attempt() < 60.0
        step(it, Fault.NO_ANSWER)
    assert it.next_attempt() == 60.0


def test_a_retry_that_would_delay_the_next_slot_is_left_out():
    it = policy(interval=5.0)
    began = []
    for _ in range(5):
        began.append(it.next_attempt())
        step(it, Fault.NO_ANSWER)
    assert began == pytest.approx([0.0, 2.1, 5.0, 7.1, 10.0])


def test_a_shorter_interval_counts_from_the_start_of_the_current_slot():
    it = policy_without_spacing(interval=3600.0)
    step(it, ROOM)
    it.interval = 60.0
    assert it.next_attempt() == 60.0
    step(it, ROOM)
    assert it.next_attempt() == 120.0


def test_a_shorter_interval_that_has_passed_means_now_without_backlog():
    it = policy_without_spacing(interval=3600.0)
    step(it, ROOM)
    it.interval = 60.0
    step(it, ROOM, late=1000.0 - 60.0)  # The interval was set at 1000 seconds.
    assert it.next_attempt() == 1020.0


def test_a_longer_interval_postpones_the_next_attempt():
    it = policy_without_spacing(interval=60.0)
    for _ in range(3):
        step(it, ROOM)
    it.interval = 600.0
    assert it.next_attempt() == 120.0 + 600.0


@pytest.mark.parametrize("interval", [0.0, -1.0, math.nan, math.inf])
def test_an_invalid_interval_is_refused_and_changes_nothing(interval):
    it = policy_without_spacing()
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
def test_invalid_arguments_are_refused(options):
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own sentence
        policy(**options)


def test_changed_offsets_apply_to_the_next_reading():
    it = policy(spacing=0.0)
    it.set_offsets(-1.5, 3.0)
    it.began(0.0)
    (accepted,) = it.succeeded(Reading(21.5, 45.0), 0.1)
    assert accepted.reading == Reading(20.0, 48.0)
    with pytest.raises(ValueError, match="finite"):
        it.set_offsets(math.nan, 0.0)
    it.began(60.0)
    (accepted,) = it.succeeded(Reading(21.5, 45.0), 60.1)
    assert accepted.reading == Reading(20.0, 48.0)


@given(ATTEMPTS, st.sampled_from([2.1, 1.1, 0.0]), st.floats(5.0, 200.0))
def test_spacing_is_kept_and_the_schedule_never_drifts(attempts, spacing, interval):
    it = policy(spacing=spacing, interval=interval, now=1000.0)
    previous = -math.inf
    per_slot: Counter[int] = Counter()
    for outcome, late, takes in attempts:
        wanted = it.next_attempt()
        began = max(wanted + late, previous)
        assert began >= previous + spacing - 1e-9  # From the end of the previous one.
        slot = math.floor((began + TIMER_SLACK - 1000.0) / interval)
        per_slot[slot] += 1
        assert per_slot[slot] <= ATTEMPTS_PER_SLOT
        it.began(began)
        if isinstance(outcome, Fault):
            it.failed(outcome, began + takes)
        else:
            it.succeeded(outcome, began + takes)
        previous = began + takes
        # The next slot's first attempt is due at its start, or as soon after as the previous
        # attempt allows.
        following = it.next_attempt()
        free = began + takes + spacing
        assert following >= free - 1e-9
        next_slot = 1000.0 + (slot + 1) * interval
        assert following <= max(next_slot, free) + 1e-6


@given(st.floats(0.05, 86400.0), st.integers(1, 5000), st.floats(0.0, 1e9))
def test_the_schedule_is_exact_after_thousands_of_slots(interval, slots, start):
    it = policy_without_spacing(interval=interval, now=start)
    step(it, ROOM, takes=0.0)
    late = start + slots * interval - it.next_attempt()
    step(it, ROOM, late=late, takes=0.0)
    assert it.next_attempt() == pytest.approx(start + (slots + 1) * interval, rel=1e-12)


# Warm-up: a DHT answers with its previous conversion


def test_the_first_reading_is_a_discarded_warm_up():
    it = policy(now=50.0)
    assert step(it, ROOM) == []
    assert it.counters["warm_up"] == 1
    assert it.next_attempt() == pytest.approx(52.1)
    (accepted,) = step(it, ROOM)
    assert accepted.at == pytest.approx(52.1)


def test_with_a_long_interval_each_slot_has_a_warm_up():
    it = warm()
    assert it.next_attempt() == 60.0
    assert step(it, Reading(24.0, 45.0)) == []
    (accepted,) = step(it, Reading(25.0, 45.0))
    assert (accepted.reading.temperature, accepted.at) == (25.0, pytest.approx(62.1))


def test_with_a_short_interval_every_reading_counts():
    it = warm(interval=5.0)
    assert [len(step(it, ROOM)) for _ in range(4)] == [1, 1, 1, 1]


def test_a_sensor_without_spacing_needs_no_warm_up():
    it = policy_without_spacing(interval=3600.0)
    assert [len(step(it, ROOM)) for _ in range(3)] == [1, 1, 1]


def test_a_damaged_frame_started_a_conversion_and_no_answer_did_not():
    it = warm()
    step(it, Fault.CHECKSUM)
    assert len(step(it, ROOM)) == 1
    it = warm()
    step(it, Fault.NO_ANSWER)
    assert step(it, ROOM) == []
    assert len(step(it, ROOM)) == 1


# Status


def test_the_status_is_starting_until_the_first_verdict():
    it = policy(now=7.0)
    assert (it.status, it.status_since) == (SensorStatus.STARTING, 7.0)
    step(it, Fault.CHECKSUM)
    step(it, ROOM)
    assert it.status == "starting"
    step(it, ROOM)
    assert it.status is SensorStatus.OK


def test_no_answer_becomes_the_status_after_five_failed_attempts():
    it = warm()
    since = it.status_since
    for _ in range(4):
        step(it, Fault.NO_ANSWER)
        assert (it.status, it.status_since) == (SensorStatus.OK, since)
    step(it, Fault.NO_ANSWER)
    assert (it.status, it.status_since) == (SensorStatus.NO_ANSWER, pytest.approx(68.4))


@pytest.mark.parametrize("fault", [Fault.NO_PERMISSION, Fault.BUSY, Fault.FAILED])
def test_faults_that_no_retry_cures_become_the_status_at_once(fault):
    it = policy()
    step(it, fault)
    assert it.status == fault


def test_an_accepted_reading_ends_a_fault():
    it = warm()
    for _ in range(5):
        step(it, Fault.NO_ANSWER)
    step(it, ROOM)
    assert it.status == "no_answer"  # The sensor answers, but with an old conversion.
    step(it, ROOM)
    assert it.status is SensorStatus.OK
    assert it.status_since == pytest.approx(122.1)
    for _ in range(4):
        step(it, Fault.NO_ANSWER)
    assert it.status is SensorStatus.OK


def test_of_mixed_faults_the_most_common_is_the_status():
    it = policy()
    for fault in [Fault.NO_ANSWER, Fault.CHECKSUM, Fault.CHECKSUM, Fault.NO_ANSWER]:
        step(it, fault)
    step(it, Fault.CHECKSUM)
    assert it.status is SensorStatus.CHECKSUM
    since = it.status_since
    step(it, Fault.NO_ANSWER)
    assert (it.status, it.status_since) == (SensorStatus.CHECKSUM, since)


def test_implausible_values_become_the_status():
    it = policy_without_spacing()
    for _ in range(5):
        step(it, Reading(3276.7, 45.0))
    assert it.status is SensorStatus.IMPLAUSIBLE


def test_attempts_are_counted_by_result():
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


def test_the_last_reading_is_kept_with_its_time():
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
