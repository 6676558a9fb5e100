"""The tutorial, step by step: its unchanged program, and its operator's actions."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from centrals import running_central
from places import SUPPORT

from central.storage import devices, history, telemetry

PROGRAM = SUPPORT / "tutorial_device.py"
DESIRED = "$iothub/twin/PATCH/properties/desired/#"
DEVICE = "environmental-sensor-1"


@pytest.fixture
def mqtt_port():
    return 8883


@pytest.fixture
def central(tmp_path, mqtt_port):
    with running_central(tmp_path, mqtt_port=mqtt_port) as central:
        yield central


@contextmanager
def tutorial(central, **variables):
    """Run the program with the values of the Connect dialog."""
    environment = {
        **os.environ,
        "ID_SCOPE": central.info["id_scope"],
        "DEVICE_ID": DEVICE,
        "PRIMARY_KEY": central.call(lambda c: c.registry.keys(DEVICE)[0]),
        "SSL_CERT_FILE": central.info["ca_file"],
        "DELAY": "0.2",
        **variables,
    }
    program = subprocess.Popen(
        [sys.executable, "-u", str(PROGRAM)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield program
    finally:
        program.kill()
        program.communicate(timeout=30)


@pytest.mark.parametrize(
    ("route", "mqtt_port"),
    [("direct", 8883), ("through the proxy", 8883), ("through the proxy", 0)],
)
def test_the_tutorial_step_by_step(central, route, mqtt_port):
    central.call(lambda c: c.registry.add_device(DEVICE, display_name="Environmental sensor"))
    # Directly, or with Azure's host names as in the tutorial.
    variables = (
        {"PROVISIONING_HOST": central.info["mqtt_host"]}
        if route == "direct"
        else {"mqtt_proxy": central.info["proxy"], "no_proxy": ""}
    )
    with tutorial(central, **variables) as program:
        # It registers, connects, and reports its state.
        central.wait_for(lambda c: c.store.read(devices.get, DEVICE).provisioned)
        central.wait_for(
            lambda c: c.store.read(devices.get_twin, DEVICE).reported.get("state") == "true"
        )

        # Its readings arrive.
        central.wait_for(lambda c: len(c.store.read(telemetry.messages, DEVICE)) >= 3)
        _, temperature = central.read(telemetry.last_value, DEVICE, "temp")
        _, humidity = central.read(telemetry.last_value, DEVICE, "humid")
        assert 1 <= temperature < 75
        assert 30 <= humidity < 99

        # It answers commands; the diagnostics are completed later.
        def call(name, request=None):
            return central.call(lambda c: c.hub.call(DEVICE, name, request, connect_timeout=20))

        blink = call("blink", 5)
        assert blink.status == 200
        assert blink.response == {"description": "Blinking LED every 5 seconds"}
        assert [call(name).status for name in ("turnon", "turnoff")] == [200, 200]
        assert call("rundiagnostics").status == 202
        (diagnostics,) = central.wait_for(
            lambda c: [
                command
                for command in c.store.read(history.commands, DEVICE, "rundiagnostics")
                if command.completed
            ]
        )
        assert diagnostics.completion["value"].startswith("Diagnostics run complete at ")

        # It must have subscribed: it never asks for changes that it missed.
        central.wait_for(lambda c: DESIRED in c.hub.presence.session(DEVICE)._filters)

        # It acknowledges properties in the form of 2020.
        for name, value in (("name", "Contoso"), ("brightness", 2)):
            version = central.call(
                lambda c, name=name, value=value: c.hub.set_desired(DEVICE, {name: value})
            ).desired_version
            acknowledged = central.wait_for(
                lambda c, name=name: c.store.read(devices.get_twin, DEVICE).reported.get(name)
            )
            expected = {"value": value, "status": "completed", "desiredVersion": version}
            assert acknowledged == expected

        # It quits on `q`.
        output, _ = program.communicate("q\n", timeout=30)
        assert program.returncode == 0
        assert "Registration result: assigned" in output
        assert "Quitting" in output
    assert central.end_of_connection(DEVICE) == "it sent DISCONNECT"


def test_the_tutorial_with_a_wrong_key_cannot_register(central):
    central.call(lambda c: c.registry.add_device(DEVICE))
    wrong = central.key("another")
    with tutorial(central, PRIMARY_KEY=wrong, PROVISIONING_HOST=central.info["mqtt_host"]):
        log = central.wait_for(lambda c: c.store.read(history.connections, DEVICE))
    assert log[0].event == "registration refused"
    assert not central.read(devices.get, DEVICE).provisioned
