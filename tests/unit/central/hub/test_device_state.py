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
    assert device_state(Signs(True, True, NOW - age, interval), NOW) == state


@pytest.mark.parametrize(("age", "state"), [(0, "late"), (300, "late"), (301, "silent")])
def test_a_device_that_is_away_is_late_and_then_silent(age, state):
    assert device_state(Signs(True, False, NOW - age, 60), NOW) == state


def test_a_device_that_never_connected_is_never_seen():
    assert device_state(Signs(True, False, None, 60), NOW) is DeviceState.NEVER_SEEN


@given(st.booleans(), st.none() | st.floats(0, 2 * NOW), st.floats(1, LONGEST_INTERVAL))
def test_a_blocked_device_is_only_blocked(connected, heard, interval):
    assert device_state(Signs(False, connected, heard, interval), NOW) is DeviceState.BLOCKED


ORDER = [DeviceState.REPORTING, DeviceState.LATE, DeviceState.SILENT]


@given(st.booleans(), st.floats(1, LONGEST_INTERVAL), st.floats(0, 1e7), st.floats(0, 1e7))
def test_a_device_that_sends_nothing_only_gets_worse(connected, interval, one, other):
    earlier, later = sorted([one, other])
    before, after = (
        ORDER.index(device_state(Signs(True, connected, NOW, interval), NOW + age))
        for age in (earlier, later)
    )
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
