import time
from dataclasses import replace

import pytest
from statuses import PLACE, STATUS, status_with

from agent.diagnostics.status_text import in_units, summary
from agent.status import DroppedReadings, LimitsPart, SetAsideFile


@pytest.fixture(autouse=True)
def _central_european_time(monkeypatch):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("driver", "model", "shown"),
    [
        ("kernel", "sht3x", "sht3x, kernel driver"),
        ("kernel", "dht22", "dht22, kernel driver"),
        ("kernel", "", "kernel"),  # An earlier version of the daemon.
        ("dht22", "dht22", "dht22"),
        ("fake", "dht22", "fake"),
    ],
)
def test_the_sensor_is_named_by_its_model(driver, model, shown):
    text = summary(status_with(sensor={"driver": driver, "model": model}))
    assert text.splitlines()[1] == f"sensor ({shown}): ok since 11:00:00 CET"


def test_a_healthy_device_in_words():
    assert summary(STATUS) == (
        "sensor-agent 1.2.3 on pi-1\n"
        "sensor (dht22): ok since 11:00:00 CET\n"
        "last reading: 21.5 °C, 45.0 %, 30 s ago (11:01:00 CET)\n"
        "attempts: 12, readings: 10, without one: checksum 2\n"
        "LED (gpiozero): blinking, brightness 2\n"
        "session: connected to hub.test, connection 3\n"
        "place: ID scope 0ne000000BB, hub hub.new; since 11:00:00 CET, "
        "by DeviceMove from hub.old\n"
        "backlog: 1 reading waiting, since 2023-11-14 23:13:20 CET\n"
        "outbox: room for 30.0 days without the hub"
    )


def test_a_failing_device_in_words():
    text = summary(
        status_with(
            sensor={"status": "no_answer", "last": None, "error": "Is it wired?"},
            led={"fault": "The line is busy."},
            cloud={
                "hub": None,
                "error": "hub.test cannot be reached: no route.",
                "next_attempt": 95.4,
            },
            outbox={
                "waiting": 1440,
                "in_memory": 3,
                "room_seconds": 5400.0,
                "damaged": 7,
                "dropped": (DroppedReadings("box", 1, 200, "room"),),
                "set_aside": (SetAsideFile(file="a.other-board-x", reason="other-board"),),
                "error": "Cannot use outbox: it is full.",
            },
        )
    )
    assert "last reading" not in text
    assert "last fault: Is it wired?" in text
    assert "LED (gpiozero): blinking, brightness 2; The line is busy." in text
    assert "session: not connected; hub.test cannot be reached: no route." in text
    assert "\nnext attempt to connect: in 2 min\n" in text
    assert "backlog: 1440 readings waiting" in text
    assert "room for 1 h 30 min" in text
    assert "outbox: Cannot use outbox: it is full." in text
    assert "set aside (other-board): a.other-board-x" in text
    assert "the disk fails, 3 readings are in memory only" in text
    assert "dropped (room): box:1 to 200" in text
    assert "7 damaged records or blocks on disk were skipped" in text


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"since": None, "by": None, "hub": None}, "place: ID scope 0ne000000BB; as configured\n"),
        (
            {"moving_to": "0ne000000CC"},
            "place: moving from ID scope 0ne000000BB to 0ne000000CC; since 11:00:00 CET, by",
        ),
        ({"status": "The move was undone: no."}, "\nlast move: The move was undone: no.\n"),
    ],
)
def test_where_a_device_belongs_in_words(changes, line):
    assert line in summary(status_with(cloud={"place": replace(PLACE, **changes)}))


def test_a_device_without_a_provisioning_service_has_no_place():
    text = summary(status_with(cloud={"place": replace(PLACE, id_scope=None)}))
    assert "place:" not in text


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        (
            LimitsPart(
                status="too_warm",
                in_force={"temperatureHigh": 25.0, "humidityLow": 3},
                outside={"temperatureHigh": "TIME", "humidityLow": "9", "later": "TIME"},
            ),
            "too warm since TIME, too dry since 9 (temperatureHigh 25 °C, humidityLow 3 %)",
        ),
        (
            LimitsPart(status="within", in_force={"humidityLow": 30}, outside={}),
            "within (humidityLow 30 %)",
        ),
        (
            LimitsPart(status="unknown", in_force={"humidityLow": 3}, outside={}),
            (
                "unknown, because the sensor gives no readings, or doubtful ones; last known: "
                "within (humidityLow 3 %)"
            ),
        ),
    ],
)
def test_limits_in_words(limits, line):
    assert f"limits: {line}" in summary(status_with(limits=limits)).splitlines()


def test_without_limits_there_is_no_line_about_them():
    off = LimitsPart(status="off", in_force={}, outside={})
    assert summary(status_with(limits=off)) == summary(STATUS)


def test_the_signal_of_a_limit_is_not_taken_for_an_order():
    text = summary(status_with(led={"signals": True}))
    assert "LED (gpiozero): blinking, the signal of a limit, brightness 2" in text


def test_a_device_without_a_cloud_in_words():
    text = summary(status_with(cloud=None, properties=None, outbox=None))
    assert "cloud: not configured" in text
    assert "readings are shown and not sent" in text


def test_a_warning_about_the_readings_is_explained():
    text = summary(status_with(sensor={"warning": "humidity_saturated"}))
    assert "\nwarning (humidity_saturated): Humidity has been at the end" in text
    text = summary(status_with(sensor={"warning": "of a later version"}))
    assert "\nwarning (of a later version): The readings may not be true." in text


def test_temperatures_are_in_the_configured_unit():
    text = summary(status_with(sensor={"unit": "fahrenheit"}))
    assert "\nlast reading: 70.7 °F, 45.0 %, " in text


def test_a_unit_that_only_a_later_version_knows_is_shown_in_celsius():
    assert "last reading: 21.5 °C" in summary(status_with(sensor={"unit": "kelvin"}))


@pytest.mark.parametrize(
    ("now", "age"),
    [
        ("2026-11-22T10:01:00.400Z", "0 s ago (11:01:00 CET)"),
        ("2026-11-22T10:00:00.000Z", "0 s ago (11:01:00 CET)"),  # The clock was set back.
        ("2026-11-22T10:05:10.000Z", "4 min ago (11:01:00 CET)"),
        ("2026-11-22T13:06:00.000Z", "3 h 5 min ago (11:01:00 CET)"),
        ("2026-11-22T23:30:00.000Z", "13 h 29 min ago (2026-11-22 11:01:00 CET)"),
        ("2026-11-25T10:01:00.000Z", "3.0 days ago (2026-11-22 11:01:00 CET)"),
        ("2026-07-01T10:00:00.000Z", "0 s ago (2026-11-22 11:01:00 CET)"),
        ("some day", "taken 2026-11-22T10:01:00.000Z"),
        ("2026-11-22T10:05:10", "taken 11:01:00 CET"),
    ],
)
def test_the_age_of_the_last_reading(now, age):
    assert f"45.0 %, {age}\n" in summary(replace(STATUS, time=now))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "1 h 0 min"), (86_400, "1.0 days")],
)
def test_time_spans_in_words(seconds, text):
    assert in_units(seconds) == text


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"error": "No route.", "next_attempt": 12.3}, "\nnext attempt to connect: in 12 s\n"),
        ({"error": "No route."}, "\nnext attempt to connect: now\n"),
        ({"next_attempt": 2.0}, "; connecting\nnext attempt to connect: in 2 s\n"),
        ({}, "session: not connected; connecting\nplace:"),
    ],
)
def test_the_next_attempt_to_connect(changes, line):
    assert line in summary(status_with(cloud={"hub": None, **changes}))
