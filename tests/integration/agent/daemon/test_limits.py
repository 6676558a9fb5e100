"""Limits in the whole daemon, with the real SDK and central: offline, over a restart, by hand."""

import re

import pytest
from daemons import Daemon, until


@pytest.fixture
def daemon(central, tmp_path, device_id, way):
    with Daemon(tmp_path / "pi", central, way, device_id=device_id) as daemon:
        daemon.until_connected()
        warm(daemon, 20)
        yield daemon


def warm(daemon, temperature):
    """Set the temperature of the simulated room."""
    daemon.ask(command="room", set={"temperature": temperature, "humidity": 50})


def limits(daemon):
    return daemon.status()["limits"]


def lit(daemon):
    return daemon.status()["led"]["state"]


def test_a_desired_limit_is_crossed_and_signalled_until_the_readings_return(daemon, hub):
    assert hub.call("turnon").status == 200
    hub.set(temperatureHigh=25, temperatureLow=10)
    until(lambda: hub.reported().get("temperatureHigh", {}).get("ac") == 200, what=daemon.tail)
    until(lambda: hub.reported().get("limitStatus") == "within", what=daemon.tail)
    warm(daemon, 30)
    until(lambda: hub.reported().get("limitStatus") == "too_warm", what=daemon.tail)
    until(lambda: hub.reported().get("ledState") == "blinking", what=daemon.tail)
    [line] = re.findall(r"Too warm since .+", daemon.log)
    assert limits(daemon)["outside"]["temperatureHigh"] in line
    warm(daemon, 20)
    until(lambda: hub.reported().get("limitStatus") == "within", what=daemon.tail)
    until(lambda: hub.reported().get("ledState") == "on", what=daemon.tail)
    assert daemon.log.count("No longer too warm: ") == 1


def test_limits_are_refused_together_with_the_reason(daemon, hub):
    hub.set(humidityLow=60, humidityHigh=63)
    until(lambda: hub.reported().get("humidityLow", {}).get("ac") == 400, what=daemon.tail)
    assert "must be more than 4 % below humidityHigh (63)" in hub.reported()["humidityHigh"]["ad"]
    assert limits(daemon)["in_force"] == {}
    hub.set(humidityLow=None, humidityHigh=None)
    until(lambda: hub.reported()["humidityLow"]["ac"] == 203, what=daemon.tail)


def test_a_command_wins_until_the_next_crossing(daemon, hub):
    hub.set(temperatureHigh=25)
    until(lambda: limits(daemon)["in_force"], what=daemon.tail)
    warm(daemon, 30)
    until(lambda: lit(daemon) == "blinking", what=daemon.tail)
    assert hub.call("turnoff").status == 200
    seen = daemon.status()["sensor"]["counters"]["accepted"]
    until(lambda: daemon.status()["sensor"]["counters"]["accepted"] > seen + 5)
    assert (lit(daemon), limits(daemon)["status"]) == ("off", "too_warm")
    warm(daemon, 20)
    until(lambda: limits(daemon)["status"] == "within", what=daemon.tail)
    assert lit(daemon) == "off"
    warm(daemon, 30)
    until(lambda: lit(daemon) == "blinking", what=daemon.tail)


def test_a_crossing_while_offline_is_signalled_and_reported_after_reconnecting(daemon, hub):
    hub.set(temperatureHigh=25)
    until(lambda: hub.reported().get("limitStatus") == "within", what=daemon.tail)
    hub.fault("hang", "tcp")
    try:
        hub.central.call(lambda central: central.faults.drop_connections())
        until(lambda: daemon.status()["cloud"]["hub"] is None, what=daemon.tail)
        warm(daemon, 30)
        until(lambda: lit(daemon) == "blinking", what=daemon.tail)
        assert hub.reported().get("limitStatus") == "within"
    finally:
        hub.fault("hang", None)
    until(lambda: hub.reported().get("limitStatus") == "too_warm", what=daemon.tail)
    assert hub.reported().get("ledState") == "blinking"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_outside_goes_on_signalling_without_another_line(daemon, hub, end):
    hub.set(temperatureHigh=20)  # The average of the simulated room is above it.
    until(lambda: limits(daemon)["in_force"], what=daemon.tail)
    daemon.ask(command="led", do="on")
    warm(daemon, 30)
    until(lambda: lit(daemon) == "blinking", what=daemon.tail)
    outside = limits(daemon)["outside"]
    settings = daemon.home / "state" / "settings.json"
    until(lambda: "outside" in settings.read_text(), what=daemon.tail)
    getattr(daemon, end)()
    daemon.start()
    until(daemon.status_if_any, what=daemon.tail)
    warm(daemon, 30)
    assert lit(daemon) == "blinking"
    assert limits(daemon)["outside"] == outside
    daemon.until_connected()
    until(lambda: hub.reported().get("limitStatus") == "too_warm", what=daemon.tail)
    assert daemon.log.count("Too warm since ") == 1
    warm(daemon, 10)
    until(lambda: lit(daemon) == "on", what=daemon.tail)
    until(lambda: "outside" not in settings.read_text(), what=daemon.tail)


def test_a_limit_removed_while_outside_ends_the_signal(daemon, hub):
    hub.set(temperatureHigh=25)
    until(lambda: limits(daemon)["in_force"], what=daemon.tail)
    warm(daemon, 30)
    until(lambda: lit(daemon) == "blinking", what=daemon.tail)
    hub.set(temperatureHigh=None)
    until(lambda: hub.reported().get("limitStatus") == "off", what=daemon.tail)
    until(lambda: lit(daemon) == "off", what=daemon.tail)
    until(lambda: hub.reported()["temperatureHigh"]["value"] == 125, what=daemon.tail)


def test_a_failed_sensor_outside_makes_the_status_unknown(daemon, hub):
    hub.set(temperatureHigh=25)
    until(lambda: limits(daemon)["in_force"], what=daemon.tail)
    warm(daemon, 30)
    until(lambda: hub.reported().get("limitStatus") == "too_warm", what=daemon.tail)
    daemon.ask(command="room", set={"fault": "no_answer"})
    until(lambda: hub.reported().get("limitStatus") == "unknown", what=daemon.tail)
    assert lit(daemon) == "blinking"
    assert "temperatureHigh" in limits(daemon)["outside"]
    daemon.ask(command="room", set={"fault": None})
    until(lambda: hub.reported().get("limitStatus") == "too_warm", what=daemon.tail)
