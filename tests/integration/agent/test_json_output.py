"""The output of --json is as documented, the same beside a daemon and without one."""

import json
import re
import sys
from datetime import UTC, datetime, timedelta

import pytest
from centrals import running_central
from daemons import Daemon, agent, places, until

LINE = ["time", "temperature", "humidity", "unit", "error"]
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    place = tmp_path_factory.mktemp("json")
    with (
        running_central(place / "central") as central,
        Daemon(place / "pi", central, interval=1) as daemon,
    ):
        daemon.until_connected()
        until(lambda: daemon.status()["sensor"]["last"], what=daemon.tail)
        yield daemon


@pytest.fixture(params=["beside a daemon", "alone"])
def place(request, tmp_path):
    """A directory with a running daemon, or without."""
    if request.param == "alone":
        (tmp_path / "config.toml").write_text('[sensor]\ndriver = "fake"\n[led]\ndriver = "fake"\n')
        return tmp_path
    return request.getfixturevalue("daemon").home


def run(place, *arguments, **options):
    config = place / "config.toml"
    return agent(*arguments, "--json", "--config", config, env=places(place), **options)


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def is_recent(text):
    assert UTC_TIME.fullmatch(text)
    return abs(datetime.fromisoformat(text) - datetime.now(UTC)) < timedelta(minutes=1)


def is_reading(line):
    assert list(line) == LINE
    assert -40 <= line["temperature"] <= 80
    assert 0 <= line["humidity"] <= 100
    assert (line["unit"], line["error"]) == ("celsius", None)
    return is_recent(line["time"])


def test_a_reading_is_one_line_with_time_and_unit(place):
    done = run(place, "read")
    (line,) = lines(done)
    assert is_reading(line)
    assert done.stderr == ""


def test_several_readings_have_the_same_keys_and_no_summary(place):
    done = run(place, "read", "--count", "2")
    assert done.returncode == 0
    assert [is_reading(line) for line in lines(done)] == [True, True]
    assert re.search(r"^2 readings; \d of \d attempts answered", done.stderr)


FAILING = """
import sys
from agent.cli import hardware, parser
from hw.sensors.fake import SimulatedSensor, Room

def failing(*_, **__):
    sensor = SimulatedSensor(Room(seed=1))
    sensor.spacing = 0.01
    sensor.room.play({"fault": "no_answer"})
    return sensor

hardware.open_sensor = failing
sys.exit(parser.main(sys.argv[1:]))
"""


def test_a_failure_has_the_shape_of_a_reading(place, request):
    beside = place != request.node.funcargs.get("tmp_path")
    if beside:
        daemon = request.getfixturevalue("daemon")
        daemon.ask(command="room", set={"fault": "no_answer"})
    try:
        done = run(place, "read", program=[sys.executable, "-c", FAILING])
    finally:
        if beside:
            daemon.ask(command="room", set={"fault": None})
    assert done.returncode == 1
    (line,) = lines(done)
    assert list(line) == LINE
    assert is_recent(line["time"])
    assert line["temperature"] is line["humidity"] is None
    assert line["unit"] == "celsius"
    assert "did not answer" in line["error"]


def test_the_led_is_one_line_with_state_and_brightness(place):
    (line,) = lines(run(place, "led", "off"))
    assert list(line) == ["time", "state", "brightness"]
    assert is_recent(line["time"])
    assert (line["state"], line["brightness"]) == ("off", 1)


def test_the_checks_are_one_document(place):
    document = json.loads(run(place, "check", "--only", "sensor,led").stdout)
    assert list(document) == ["time", "version", "asked_daemon", "ok", "checks"]
    assert is_recent(document["time"])
    assert [one["id"] for one in document["checks"]] == ["sensor", "led"]
    for one in document["checks"]:
        assert list(one) == ["id", "outcome", "line", "advice", "details"]


def test_the_status_is_one_document_with_times_in_utc(daemon):
    document = json.loads(run(daemon.home, "status").stdout)
    assert is_recent(document["time"])
    last = document["sensor"]["last"]
    assert list(last) == ["temperature", "humidity", "unit", "taken"]
    assert is_recent(last["taken"])
    assert UTC_TIME.fullmatch(document["sensor"]["status_since"])


def test_without_a_daemon_there_is_no_status(tmp_path):
    (tmp_path / "config.toml").touch()
    done = run(tmp_path, "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("No daemon answers at ")
