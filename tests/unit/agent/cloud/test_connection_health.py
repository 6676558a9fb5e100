import logging

import pytest

from agent.cloud.connection_health import CLOSED_WITHIN, FAILING_BEFORE_REGISTERING, Troubles
from agent.errors import (
    HubClosedError,
    NoAnswerError,
    RefusedError,
    TakenOverError,
    UnreachableError,
)

AWAY = UnreachableError("hub.test", "no route")
CLOSED = HubClosedError("The connection to hub.test was closed.")


class Rig(Troubles):
    def __init__(self, doubt=None):
        self.time = 0.0
        super().__init__(now=lambda: self.time, doubt=lambda: doubt)


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.DEBUG)

    def lines(level):
        return [r.message for r in caplog.records if r.levelname == level]

    return lines


def test_of_each_kind_of_failure_the_first_is_a_warning(told):
    troubles = Rig()
    for error in (AWAY, AWAY, NoAnswerError("the twin", 4), AWAY, NoAnswerError("the twin", 4)):
        troubles.failed(error)
    assert told("WARNING") == [str(AWAY), "the twin was not answered within 4 s."]
    assert len(told("DEBUG")) == 3


def test_that_it_is_over_is_one_line_and_the_next_trouble_is_news(told):
    troubles = Rig()
    for _ in range(2):
        troubles.failed(AWAY)
        troubles.connected("hub.test", "pi-1")
        troubles.over()
    assert told("WARNING") == [str(AWAY)] * 2
    assert told("INFO") == ["Connected again to hub.test as pi-1."] * 2


def test_a_connection_that_comes_and_goes_is_not_told_each_time(told):
    troubles = Rig()
    troubles.connected("hub.test", "pi-1")
    for _ in range(2):
        troubles.failed(CLOSED)
        troubles.connected("hub.test", "pi-1")
    assert len(told("INFO")) == len(told("WARNING")) == 1
    assert troubles.last == str(CLOSED)
    troubles.over()
    assert told("INFO")[1:] == ["The connection to hub.test holds again."]
    assert troubles.last is None


def test_three_closed_in_a_row_are_another_device(told):
    troubles = Rig()
    troubles.connected("hub.test", "pi-1")
    for _ in range(3):
        troubles.failed(CLOSED)
    hint = str(TakenOverError("hub.test", "pi-1", times=3, minutes=10))
    assert told("WARNING") == [str(CLOSED), hint]
    assert "Give each its own device id" in hint


def test_connections_that_are_closed_now_and_then_are_not(told):
    troubles = Rig()
    for _ in range(9):
        troubles.failed(CLOSED)
        troubles.time += CLOSED_WITHIN / 2 + 1
    assert told("WARNING") == [str(CLOSED)]


@pytest.mark.parametrize(
    ("error", "doubtful"),
    [
        (RefusedError("hub.test", "pi-1"), True),
        (
            UnreachableError("hub.test", "certificate verify failed: certificate is not yet valid"),
            True,
        ),
        (AWAY, False),
        (CLOSED, False),
    ],
)
def test_a_clock_that_may_be_wrong_is_named_where_it_matters(told, error, doubtful):
    troubles = Rig(doubt="The clock says 1970.")
    troubles.failed(error)
    assert ("The clock says 1970." in told("WARNING")[0]) == doubtful
    assert ("The clock says 1970." in troubles.last) == doubtful


def test_two_refusals_or_five_minutes_are_reason_to_ask_for_the_hub_again():
    troubles = Rig()
    troubles.failed(RefusedError("hub.test", "pi-1"))
    assert not troubles.hub_may_be_another
    troubles.failed(RefusedError("hub.test", "pi-1"))
    assert troubles.hub_may_be_another
    troubles.registered()
    assert not troubles.hub_may_be_another
    troubles.failed(AWAY)
    troubles.time += FAILING_BEFORE_REGISTERING
    assert troubles.hub_may_be_another
    troubles.connected("hub.test", "pi-1")
    assert troubles.hub_may_be_another  # It may take us in and drop us again.
    troubles.over()
    assert not troubles.hub_may_be_another
