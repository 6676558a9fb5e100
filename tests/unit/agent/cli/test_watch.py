"""`read --watch`: what it makes of the daemon's status, and what it prints without a terminal."""

import json
from dataclasses import replace
from itertools import islice

import pytest
from statuses import COUNTERS, STATUS, status_with

from agent.cli import watch
from agent.cli.watch_view import Sample, View
from agent.config.loader import default
from agent.errors import NoDaemonError
from agent.status import LastReading, LimitsPart


def reading(second, temperature=21.5):
    taken = f"2026-11-22T10:01:{second:02}.000Z"
    return LastReading(temperature=temperature, humidity=45.0, taken=taken)


def views(*statuses):
    left = iter(statuses[1:])
    made = watch.views_of_daemon(statuses[0], lambda: next(left), sleep=lambda _seconds: None)
    return list(islice(made, len(statuses)))


def test_each_reading_of_the_daemon_is_one_sample():
    first = STATUS
    second = status_with(sensor={"last": reading(30, 22.0)})
    last = views(first, first, second, second)[-1]
    assert last.samples == (
        Sample("2026-11-22T10:01:00.000Z", 21.5, 45.0),
        Sample("2026-11-22T10:01:30.000Z", 22.0, 45.0),
    )
    assert last.title == "dht22 of pi-1, read by the daemon"
    assert last.counters == COUNTERS
    by_kernel = status_with(sensor={"driver": "kernel", "model": "sht3x"})
    assert views(by_kernel)[-1].title == "sht3x of pi-1, read by the daemon"


def test_a_new_fault_of_the_daemon_is_one_sample():
    failed = status_with(sensor={"counters": COUNTERS | {"checksum": 3}, "error": "Damaged."})
    samples = views(STATUS, failed, failed)[-1].samples
    assert samples[1:] == (Sample(STATUS.time, fault="checksum", error="Damaged."),)


def test_faults_before_the_command_are_not_drawn():
    assert views(status_with(sensor={"last": None}))[-1].samples == ()


@pytest.mark.parametrize("fault", ["no_answer", "checksum", "implausible", "failed"])
def test_the_last_reading_of_a_sensor_that_has_failed_is_not_shown_as_the_current_one(fault):
    failed = status_with(sensor={"status": fault, "error": "It did not answer."})
    assert failed.sensor.last is not None
    samples = views(failed, failed)[-1].samples
    assert samples == (Sample(STATUS.time, fault=fault, error="It did not answer."),)
    again = status_with(sensor={"last": reading(30, 22.0)})
    assert views(failed, again)[-1].samples[1:] == (Sample("2026-11-22T10:01:30.000Z", 22.0, 45.0),)


def test_the_limits_of_the_daemon_are_shown():
    limits = LimitsPart(status="within", in_force={"humidityLow": 30.0}, outside={})
    assert views(replace(STATUS, limits=limits))[-1].limits == {"humidityLow": 30.0}


@pytest.fixture
def daemon(monkeypatch):
    """Let a daemon give two readings and one fault, and end."""
    failed = {"counters": COUNTERS | {"checksum": 3}, "error": "Damaged.", "last": reading(30)}
    answers = [
        STATUS,
        status_with(sensor={"last": reading(30)}),
        replace(status_with(sensor=failed), time="2026-11-22T10:01:40.000Z"),
    ]

    def status(_path):
        if not answers:
            raise NoDaemonError("The daemon has ended.")
        return answers.pop(0)

    monkeypatch.setattr(watch, "_status", status)
    monkeypatch.setattr(watch, "POLL", 0.0)


def test_without_a_terminal_each_reading_is_a_line(daemon, capsys, tmp_path):
    config = default(host_name="pi-1")
    with pytest.raises(NoDaemonError):
        watch.watch(config, tmp_path, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ", 1)[1].strip() for line in lines] == [
        "21.5 °C   45.0 %",
        "21.5 °C   45.0 %",
        "No reading (checksum): Damaged.",
    ]


def test_readings_are_printed_after_the_clock_was_set_back(capsys):
    shown: list[Sample] = []
    with watch._listing("celsius", as_json=False) as show:
        for clock, value in (("18:00:00", 1.0), ("17:00:02", 5.0), ("17:00:02", 5.0)):
            shown.append(Sample(f"2026-11-26T{clock}.000Z", value, 45.0))
            for _ in range(2):  # It is polled more often than the sensor is read.
                show(View(title="", now="", unit="celsius", samples=tuple(shown)))
    values = [line.split("  ", 1)[1].split()[0] for line in capsys.readouterr().out.splitlines()]
    assert values == ["1.0", "5.0", "5.0"]


def test_json_has_an_object_for_each_reading(daemon, capsys, tmp_path):
    config = default(host_name="pi-1")
    with pytest.raises(NoDaemonError):
        watch.watch(config, tmp_path, as_json=True)
    first, _, fault = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {
        "time": "2026-11-22T10:01:00.000Z",
        "temperature": 21.5,
        "humidity": 45.0,
        "unit": "celsius",
        "error": None,
    }
    assert (fault["temperature"], fault["error"]) == (None, "Damaged.")
