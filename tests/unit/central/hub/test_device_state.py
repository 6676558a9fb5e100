import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.hub.device_state import (
    LONGEST_INTERVAL,
    USUAL_INTERVAL,
    DeviceState,
    Signs,
    device_state,
    message_interval,
)

NOW = 1_796_000_000.0


def state_of(*, connected=None, message=None, connection=None, interval=60.0):
    return device_state(Signs(True, connected, message, connection, interval), NOW)


@pytest.mark.parametrize(
    ("age", "interval", "state"),
    [
        (0, 60, "reporting"),
        (120, 60, "reporting"),
        (121, 60, "late"),
        (300, 60, "late"),
        (301, 60, "silent"),
        (30, 5, "reporting"),  # A short interval leaves time to connect again.
        (31, 5, "late"),
        (300, 5, "late"),
        (301, 5, "silent"),
        (7200, 3600, "reporting"),
        (7201, 3600, "late"),
        (18_001, 3600, "silent"),
        (-121, 60, "late"),  # The clock was set back.
    ],
)
def test_a_connected_device_is_judged_by_its_newest_message(age, interval, state):
    assert state_of(connected=NOW - 1e6, message=NOW - age, interval=interval) == state


@pytest.mark.parametrize(("age", "state"), [(0, "late"), (300, "late"), (301, "silent")])
def test_a_device_that_is_away_is_late_and_then_silent(age, state):
    assert state_of(message=NOW - age, connection=NOW) == state


@pytest.mark.parametrize(("age", "state"), [(0, "late"), (300, "late"), (301, "silent")])
def test_a_device_that_connects_after_an_outage_has_time_to_send(age, state):
    assert state_of(connected=NOW - age, message=NOW - 9000, connection=NOW - age) == state


@pytest.mark.parametrize(("age", "state"), [(0, "late"), (300, "late"), (301, "silent")])
@pytest.mark.parametrize("connected", [True, False])
def test_a_device_without_messages_is_never_reporting(connected, age, state):
    since = NOW - age if connected else None
    assert state_of(connected=since, connection=NOW - age) == state


def test_a_device_that_never_connected_is_never_seen():
    assert state_of() is DeviceState.NEVER_SEEN


times = st.none() | st.floats(0, 2 * NOW)


@given(times, times, times, st.floats(1, LONGEST_INTERVAL))
def test_a_blocked_device_is_only_blocked(connected, message, connection, interval):
    signs = Signs(False, connected, message, connection, interval)
    assert device_state(signs, NOW) is DeviceState.BLOCKED


ORDER = [DeviceState.REPORTING, DeviceState.LATE, DeviceState.SILENT]


@given(
    st.none() | st.floats(0, NOW),
    st.floats(0, NOW),
    st.floats(1, LONGEST_INTERVAL),
    st.lists(st.floats(0, 1e7), min_size=2, max_size=2).map(sorted),
)
def test_a_device_that_sends_nothing_only_gets_worse(connected, message, interval, ages):
    signs = Signs(True, connected, message, connected, interval)
    before, after = (ORDER.index(device_state(signs, NOW + age)) for age in ages)
    assert before <= after


@pytest.mark.parametrize(
    ("reported", "received", "interval"),
    [
        (60, (), 60.0),
        (86_400, (), 86_400.0),
        (2.5, (0.0, 9.0, 18.0), 2.5),
        (None, (), USUAL_INTERVAL),
        (None, (5.0,), USUAL_INTERVAL),
        (None, (5.0, 1000.0), USUAL_INTERVAL),
        (None, (2700.0, 1800.0, 900.0), 900.0),
        (None, (9000.0, 1800.0, 900.0, 0.0), 900.0),  # One outage.
        (None, (1.0, 1.0, 1.0), 1.0),
        (None, (0.0, 1e6, 2e6), LONGEST_INTERVAL),
    ],
)
def test_the_interval_is_the_reported_one_or_the_usual_pause(reported, received, interval):
    assert message_interval(reported, received) == interval


@pytest.mark.parametrize("reported", [True, 0, -5, 86_401, 1e99, float("nan"), "60", [60], {}])
def test_an_interval_that_cannot_be_one_is_ignored(reported):
    assert message_interval(reported, ()) == USUAL_INTERVAL
