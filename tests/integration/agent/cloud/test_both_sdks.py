"""What the adapter needs of the SDK and of its MQTT client beyond what is public.

`make test-sdk` runs these tests with the other version.
"""

import re
import socket
import sys
from importlib.metadata import version

import paho.mqtt.client
import pytest
from azure.iot.device.common.mqtt_transport import MQTTTransport
from daemons import Daemon, until
from places import ROOT
from ways import PROVISIONING

from agent.cloud.paho_client import MAX_IN_FLIGHT, NOT_PUBLIC, PahoClient
from central.storage import telemetry

PRIVATE = {
    **{name: f"paho.mqtt.client.Client.{name}" for name in NOT_PUBLIC},
    "_create_http_adapter": "HTTPTransport._create_http_adapter",
    "_pipeline": "ProvisioningDeviceClient._pipeline",
    "_mqtt_pipeline": "IoTHubDeviceClient._mqtt_pipeline",
    "_handler_manager": "IoTHubDeviceClient._handler_manager",
}


def test_the_mqtt_client_of_the_sdk_is_ours():
    client = MQTTTransport("pi-1", "hub.test", "")._mqtt_client
    assert isinstance(client, PahoClient)
    assert client._max_inflight_messages == MAX_IN_FLIGHT
    assert client._reconnect_on_failure is False


def test_a_silent_connection_wakes_the_mqtt_client_only_as_often_as_pings_need(monkeypatch):
    waits = []

    def select(_readers, _writers, _errors, seconds):
        waits.append(seconds)
        raise ValueError("The connection has ended.")

    monkeypatch.setattr(paho.mqtt.client.select, "select", select)
    monkeypatch.setattr(paho.mqtt.client.Client.__base__, "connect", lambda *_, **__: 0)
    client = PahoClient()
    client.connect("hub.test", 8883, 60)
    here, there = socket.socketpair()
    with here, there:
        client._sock = here
        client.loop_forever()
    assert waits == [10.0]


def test_the_installed_versions_belong_together():
    pahos = {"2.14": "1.6", "2.15": "2."}
    sdk = version("azure-iot-device")
    assert version("paho-mqtt").startswith(pahos[sdk[:4]])


@pytest.mark.parametrize("name", PRIVATE)
def test_without_a_private_name_the_daemon_connects_sends_and_stops(central, tmp_path, way, name):
    device = f"pi{name.replace('_', '-')}-{way}"
    with Renamed(tmp_path, central, way, name=name, device_id=device) as daemon:
        daemon.until_connected()
        until(lambda: central.read(telemetry.messages, device), what=daemon.tail)
        assert daemon.stop() == 0, daemon.tail()
    # Said once, at debug level.
    lines = re.findall(rf".*The SDK has no .*\b{name}\b.*", daemon.log)
    is_used = way == PROVISIONING or not PRIVATE[name].startswith("ProvisioningDeviceClient")
    assert [PRIVATE[name] in line for line in lines] == [True] * is_used


def test_no_private_name_is_missing_in_the_installed_version(central, tmp_path, way):
    with Daemon(tmp_path, central, way, device_id="pi-as-installed") as daemon:
        daemon.until_connected()
        daemon.stop()
    assert "The SDK has no" not in daemon.log


class Renamed(Daemon):
    """The daemon, with an SDK in which `name` has another name."""

    def __init__(self, home, central, way, *, name, **options):
        self.name = name
        super().__init__(home, central, way, **options)

    def program(self):
        return [sys.executable, ROOT / "tests" / "support" / "renamed_sdk.py", self.name]
