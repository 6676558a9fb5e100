import logging

import pytest
from fakes import HandClock

from agent.cloud.connection_health import (
    CLOSED_WITHIN,
    FAILING_BEFORE_REGISTERING,
    ConnectionHealth,
)
from agent.errors import (
    HubClosedError,
    NoAnswerError,
    RefusedError,
    RegistrationError,
    TakenOverError,
    UnreachableError,
)

AWAY = UnreachableError("hub.test", "no route")
CLOSED = HubClosedError("The connection to hub.test was closed.")


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def health(clock):
    return ConnectionHealth(clock)


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.DEBUG)

    def lines(level):
        return [r.message for r in caplog.records if r.levelname == level]

    return lines


def test_only_the_first_of_equal_failures_is_a_warning(health, logged):
    for error in (AWAY, AWAY, NoAnswerError("the twin", 4), AWAY, NoAnswerError("the twin", 4)):
        health.failed(error)
    assert logged("WARNING") == [str(AWAY), "The twin was not answered within 4 s."]
    assert len(logged("DEBUG")) == 3


def test_a_reason_that_changes_is_a_warning(health, logged):
    disabled = RegistrationError("pi-1", said="the device is disabled", hint="Check it.")
    unauthorized = RegistrationError("pi-1", said="401 Unauthorized", hint="Check it.")
    for error in (disabled, disabled, unauthorized, unauthorized):
        health.failed(error)
    assert logged("WARNING") == [str(disabled), str(unauthorized)]


def test_after_a_connection_that_lasted_the_next_failure_is_a_warning(health, logged):
    for _ in range(2):
        health.failed(AWAY)
        health.connected("hub.test", "pi-1")
        health.lasted()
    assert logged("WARNING") == [str(AWAY)] * 2
    assert logged("INFO") == ["Connected again to hub.test as pi-1."] * 2


def test_connections_that_do_not_last_are_logged_once(health, logged):
    health.connected("hub.test", "pi-1")
    for _ in range(2):
        health.failed(CLOSED)
        health.connected("hub.test", "pi-1")
    assert len(logged("INFO")) == len(logged("WARNING")) == 1
    assert health.last_error == str(CLOSED)
    health.lasted()
    assert logged("INFO")[1:] == ["The connection to hub.test is stable again."]
    assert health.last_error is None


def test_three_closed_connections_in_a_row_suggest_another_device(health, logged):
    health.connected("hub.test", "pi-1")
    for _ in range(3):
        health.failed(CLOSED)
    hint = str(TakenOverError("hub.test", "pi-1", times=3, minutes=10))
    assert logged("WARNING") == [str(CLOSED), hint]
    assert "Give each its own device id" in hint


def test_rarely_closed_connections_suggest_nothing(health, clock, logged):
    for _ in range(9):
        health.failed(CLOSED)
        clock.move(CLOSED_WITHIN / 2 + 1)
    assert logged("WARNING") == [str(CLOSED)]


@pytest.mark.parametrize(
    ("error", "depends_on_clock"),
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
def test_an_unsynchronised_clock_is_named_only_if_it_may_be_the_cause(
    health, clock, logged, error, depends_on_clock
):
    clock.known = False
    health.failed(error)
    assert ("This machine's clock" in logged("WARNING")[0]) == depends_on_clock
    assert health.last_error == logged("WARNING")[0]


def test_two_refusals_or_five_minutes_of_failures_lead_to_a_registration(health, clock):
    health.failed(RefusedError("hub.test", "pi-1"))
    assert not health.should_register
    health.failed(RefusedError("hub.test", "pi-1"))
    assert health.should_register
    health.registered()
    assert not health.should_register
    health.failed(AWAY)
    clock.move(FAILING_BEFORE_REGISTERING)
    assert health.should_register
    health.connected("hub.test", "pi-1")
    assert health.should_register  # The connection may not last.
    health.lasted()
    assert not health.should_register
