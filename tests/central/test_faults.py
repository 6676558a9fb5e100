"""The faults that can be asked for, and that each ends when it is no longer asked for."""

import itertools
import socket
import ssl

import pytest
from mqtt_client import MqttClient, Registering

from central.errors import NotConnected
from central.mqtt import ConnAck, ConnectCode, PingResp, PubAck, SubAck

ids = itertools.count(1)


@pytest.fixture(autouse=True)
def _no_faults_at_the_end(central):
    yield
    ask_for(central, registration=None, connack=None, withheld=set(), silent_twin=False, hang=None)


def ask_for(central, **faults):
    def change(c):
        for name, value in faults.items():
            assert hasattr(c.faults, name)
            setattr(c.faults, name, value)

    central.call(change)


def is_quiet(client):
    """Tell whether nothing comes for a short while."""
    client._socket.settimeout(0.2)
    try:
        client._socket.recv(1)
    except TimeoutError:
        return True
    else:
        return False
    finally:
        client._socket.settimeout(20)


@pytest.mark.parametrize("status", ["failed", "disabled"])
def test_registrations_can_fail(central, device, status):
    ask_for(central, registration=status)
    with Registering(central, device) as client:
        assert client.register()["status"] == status
    ask_for(central, registration=None)
    with Registering(central, device) as client:
        assert client.register()["status"] == "assigned"


def test_registrations_can_be_unauthorized(central, device):
    ask_for(central, registration="unauthorized")
    with Registering(central, device) as client:
        assert client.put()[0] == 401


def test_registrations_can_stay_unanswered(central, device):
    ask_for(central, registration="silent")
    with Registering(central, device) as client:
        client.mqtt.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", b"{}")
        assert client.mqtt.receive(4)
        assert client.mqtt.is_silent()


@pytest.mark.parametrize("code", [ConnectCode.UNAVAILABLE, ConnectCode.NOT_AUTHORIZED])
def test_the_hub_can_refuse(central, device, code):
    ask_for(central, connack=code)
    with MqttClient(central) as client:
        assert client.connect_as(central, device) == (False, code)
    ask_for(central, connack=None)
    with MqttClient(central) as client:
        assert client.connect_as(central, device) == (False, 0)


def test_acknowledgements_can_be_withheld(central, device):
    ask_for(central, withheld={PubAck})
    with MqttClient(central) as client:
        client.connect_as(central, device)
        client.publish(f"devices/{device}/messages/events/", b"x")
        assert client.is_silent()
    assert central.wait_for(lambda c: c.registry.messages(device))


@pytest.mark.parametrize("kind", [ConnAck, SubAck, PingResp])
def test_any_kind_of_packet_can_be_withheld(central, device, kind):
    ask_for(central, withheld={kind})
    with MqttClient(central) as client:
        if kind is ConnAck:
            client.send(b"\x10\x0d\0\4MQTT\4\2\0\0\0\1x")
        else:
            client.connect_as(central, device)
            client.send(b"\xc0\0" if kind is PingResp else b"\x82\6\0\1\0\1#\1")
        assert is_quiet(client) or kind is ConnAck


def test_twins_can_be_silent(central, device):
    with MqttClient(central) as client:
        client.connect_as(central, device)
        client.subscribe("$iothub/twin/res/#")
        ask_for(central, silent_twin=True)
        client.publish("$iothub/twin/GET/?$rid=1", b"", flags=0)
        client.publish("$iothub/twin/PATCH/properties/reported/?$rid=2", b"{}", flags=0)
        assert client.is_silent()
        ask_for(central, silent_twin=False)
        client.publish("$iothub/twin/GET/?$rid=3", b"", flags=0)
        assert client.receive(3).topic.endswith("$rid=3")


def test_every_connection_can_be_cut(central, device):
    with MqttClient(central) as client, MqttClient(central) as silent:
        client.connect_as(central, device)
        central.wait_for(lambda c: len(c.faults._connections) == 2)
        central.call(lambda c: c.faults.drop_connections())
        assert client.is_closed_by_server()
        assert silent.is_closed_by_server()
    assert central.end_of_connection(device) == "cut on request"


def test_a_hanging_central_accepts_and_never_answers(central, device):
    address = (central.info["mqtt_host"], central.info["mqtt_port"])
    context = ssl.create_default_context(cadata=central.ca)
    ask_for(central, hang="tcp")
    with socket.create_connection(address, timeout=0.2) as plain, pytest.raises(TimeoutError):
        context.wrap_socket(plain, server_hostname=address[0])
    ask_for(central, hang="tls")
    with MqttClient(central) as client:
        client.send(b"\x10\x0d\0\4MQTT\4\2\0\0\0\1x")
        assert is_quiet(client)
    ask_for(central, hang=None)
    with MqttClient(central) as client:
        assert client.connect_as(central, device) == (False, 0)


def test_connections_hang_with_their_central_and_go_on(central, device):
    with MqttClient(central) as client:
        client.connect_as(central, device)
        client.subscribe("$iothub/methods/POST/#")
        ask_for(central, hang="tcp")
        client.publish(f"devices/{device}/messages/events/", b"x")
        assert is_quiet(client)
        assert central.call(lambda c: c.registry.messages(device)) == []
        ask_for(central, hang=None)
        assert client.receive(4).packet_id == 1


def test_a_cut_connection_takes_no_commands(central, device):
    with MqttClient(central) as client:
        client.connect_as(central, device)
        client.subscribe("$iothub/methods/POST/#")
        central.call(lambda c: c.faults.drop_connections())
        assert central.wait_for(lambda c: not c.hub.connected(device))
        with pytest.raises(NotConnected):
            central.call(lambda c: c.hub.call(device, "run", None))
