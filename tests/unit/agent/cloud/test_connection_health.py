import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import HandClock

from agent.cloud.connection_health import (
    CLOSED_WITHIN,
    FAILING_BEFORE_REGISTERING,
    REASONS_REMEMBERED,
    ConnectionHealth,
)
from agent.cloud.traffic import Traffic
from agent.config.loader import CloudConfig
from agent.errors import (
    EndedHereError,
    HubClosedError,
    IdleConnectionError,
    NoAnswerError,
    QuotaUsedUpError,
    RateExceededError,
    RefusedError,
    RegistrationError,
    SessionLostError,
    TakenOverError,
    TlsError,
    UnreachableError,
)

AWAY = UnreachableError("hub.test", "no route")
CLOSED = HubClosedError("hub.test", "pi-1")
CLOUD = CloudConfig(id_scope="0ne00000000", key_file=Path("device.key"))


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def health(clock):
    return ConnectionHealth(clock, CLOUD)


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.DEBUG)

    def lines(level):
        return [r.message for r in caplog.records if r.levelname == level]

    return lines


def test_only_the_first_of_equal_failures_is_a_warning(health, logged):
    for error in (AWAY, AWAY, NoAnswerError("the twin", 4), AWAY, NoAnswerError("the twin", 4)):
        health.failed(error)
    assert logged("WARNING") == [str(AWAY), str(NoAnswerError("the twin", 4))]
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


def test_a_reason_that_returns_after_another_is_a_warning_again(health, logged):
    other = UnreachableError("hub.test", "no name server answers")
    for error in (AWAY, *[other] * REASONS_REMEMBERED, AWAY):
        health.failed(error)
    assert logged("WARNING") == [str(AWAY), str(other), str(AWAY)]


def traffic(*, sent=0, acknowledged=0, idle=0.0):
    """Return the traffic of a connection that was idle for so many seconds before it ended."""
    now = [0.0]
    result = Traffic(lambda: now[0])
    with result.request():
        pass  # The twin.
    for _ in range(acknowledged):
        with result.request(is_message=True):
            pass
    now[0] = idle
    for _ in range(sent - acknowledged):
        with suppress(OSError), result.request(is_message=True):
            raise OSError
    return result


def end(health, error, *connections):
    """Let connections with this traffic end with an error, and return the last sentence."""
    for connection in connections:
        health.connected("hub.test", "pi-1")
        health.failed(error, connection)
    return health.last_error


SILENT = NoAnswerError("a message", 120)
KEEP_ALIVE_EXPIRED = SessionLostError("The connection to hub.test ended: it stopped answering.")
ENDED_HERE = EndedHereError("The connection to hub.test was lost during the renewal.")
QUIET = traffic(sent=1, acknowledged=1, idle=10)
IDLE = traffic(sent=1, acknowledged=1, idle=50)
REFUSED_MESSAGE = traffic(sent=1)
BUSY = traffic(sent=30, acknowledged=10)
TAKEN_OVER = str(TakenOverError("hub.test", "pi-1", times=3, minutes=10))
ROUTER = str(IdleConnectionError("hub.test", 60, advised=30))
QUOTA = str(QuotaUsedUpError("hub.test"))
RATE = str(RateExceededError("hub.test", "pi-1", max_rate=10))


@pytest.mark.parametrize(
    ("error", "connections", "sentence"),
    [
        (CLOSED, [QUIET] * 2, str(CLOSED)),
        (CLOSED, [QUIET] * 3, TAKEN_OVER),
        (CLOSED, [QUIET, IDLE, QUIET], TAKEN_OVER),
        (CLOSED, [REFUSED_MESSAGE], str(CLOSED)),
        (CLOSED, [REFUSED_MESSAGE] * 2, QUOTA),
        (SILENT, [REFUSED_MESSAGE], str(SILENT)),
        (SILENT, [REFUSED_MESSAGE] * 2, QUOTA),
        (CLOSED, [IDLE], str(CLOSED)),
        (CLOSED, [IDLE] * 2, ROUTER),
        (CLOSED, [IDLE] * 3, ROUTER),
        (KEEP_ALIVE_EXPIRED, [IDLE], ROUTER),
        (ENDED_HERE, [IDLE] * 3, str(ENDED_HERE)),
        (KEEP_ALIVE_EXPIRED, [QUIET] * 3, str(KEEP_ALIVE_EXPIRED)),
        (CLOSED, [BUSY] * 3, RATE),
        (CLOSED, [BUSY, QUIET, BUSY], TAKEN_OVER),
    ],
)
def test_the_way_in_which_connections_end_tells_the_reason(health, error, connections, sentence):
    assert end(health, error, *connections) == sentence


def test_rarely_closed_connections_suggest_nothing(health, clock, logged):
    for _ in range(9):
        end(health, CLOSED, QUIET)
        clock.move(CLOSED_WITHIN / 2 + 1)
    assert logged("WARNING") == [str(CLOSED)]


def test_a_reason_that_becomes_known_is_a_warning(health, logged):
    end(health, CLOSED, REFUSED_MESSAGE, REFUSED_MESSAGE, REFUSED_MESSAGE)
    assert logged("WARNING") == [str(CLOSED), QUOTA]


def test_no_shorter_keep_alive_is_advised_if_it_is_short_already(clock):
    health = ConnectionHealth(clock, replace(CLOUD, keep_alive=10))
    assert "keep_alive" not in end(health, KEEP_ALIVE_EXPIRED, IDLE)


def test_a_device_that_was_accepted_before_is_blocked_or_deleted(health):
    refused = RefusedError("hub.test", "pi-1")
    health.failed(refused)
    assert "the key or certificate belongs to another device" in health.last_error
    end(health, CLOSED, QUIET)
    health.failed(refused)
    assert "Most likely the device was disabled or deleted" in health.last_error


def test_a_hub_of_the_configuration_leads_to_iot_hub_only(health):
    health.failed(RefusedError("hub.test", "pi-1", is_assigned=False))
    assert "disabled, deleted or not on this hub" in health.last_error
    assert "IoT Central" not in health.last_error


@pytest.mark.parametrize(
    ("error", "depends_on_clock"),
    [
        (RefusedError("hub.test", "pi-1"), True),
        (TlsError("hub.test", "It expired.", "Renew it.", depends_on_clock=True), True),
        (TlsError("hub.test", "It is for another.", "Renew it.", depends_on_clock=False), False),
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
