"""Injected faults: each shows while it is on, and ends when it is cleared."""

import itertools
import socket
import ssl
import sys

import pytest
from mqtt_client import METHODS, TWIN, MqttClient, Registering, sas_token, telemetry_of

from central.errors import NotConnected
from central.protocol.mqtt import ConnAck, ConnectCode, PingResp, PubAck, SubAck
from central.storage import devices, telemetry
from central.transport.faults import CHOICES, Faults
from central.transport.listener import listen

ids = itertools.count(1)


@pytest.fixture(autouse=True)
def _no_faults_at_the_end(central):
    yield
    central.call(lambda c: c.faults.clear())


def ask_for(central, **faults):
    def change(c):
        for name, value in faults.items():
            assert hasattr(c.faults, name)
            setattr(c.faults, name, value)

    central.call(change)


def receive_all(client):
    while True:
        client.receive()


def is_quiet(client):
    """Return whether nothing arrives for a short time."""
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


def test_registrations_can_get_no_answer(central, device):
    ask_for(central, registration="silent")
    with Registering(central, device) as client:
        client.mqtt.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", b"{}")
        assert client.mqtt.receive(4)
        assert client.mqtt.is_silent()


@pytest.mark.parametrize("code", [ConnectCode.UNAVAILABLE, ConnectCode.NOT_AUTHORIZED])
def test_the_hub_can_refuse(central, connect, device, code):
    ask_for(central, connack=code)
    with MqttClient(central) as client:
        assert client.connect_as(central, device) == (False, code)
    ask_for(central, connack=None)
    connect()


def test_acknowledgements_can_be_withheld(central, connect, device):
    ask_for(central, withheld={PubAck})
    client = connect()
    client.publish(telemetry_of(device), b"x")
    assert client.is_silent()
    assert central.wait_for(lambda c: c.store.read(telemetry.messages, device))


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


def test_twins_can_be_silent(central, connect, device):
    client = connect(TWIN)
    ask_for(central, twin="silent")
    client.publish("$iothub/twin/GET/?$rid=1", b"", flags=0)
    client.publish("$iothub/twin/PATCH/properties/reported/?$rid=2", b"{}", flags=0)
    assert client.is_silent()
    ask_for(central, twin=None)
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


def test_a_hanging_central_accepts_and_never_answers(central, connect, device):
    address = central.address
    context = ssl.create_default_context(cadata=central.ca)
    ask_for(central, hang="tcp")
    with socket.create_connection(address, timeout=0.2) as plain, pytest.raises(TimeoutError):
        context.wrap_socket(plain, server_hostname=address[0])
    ask_for(central, hang="tls")
    with MqttClient(central) as client:
        client.send(b"\x10\x0d\0\4MQTT\4\2\0\0\0\1x")
        assert is_quiet(client)
    ask_for(central, hang=None)
    connect()


def test_open_connections_hang_and_continue_afterwards(central, connect, device):
    client = connect(METHODS)
    ask_for(central, hang="tcp")
    client.publish(telemetry_of(device), b"x")
    assert is_quiet(client)
    assert central.read(telemetry.messages, device) == []
    ask_for(central, hang=None)
    assert client.receive(4).packet_id == 1


def test_a_cut_connection_takes_no_commands(central, connect, device):
    connect(METHODS)
    central.call(lambda c: c.faults.drop_connections())
    assert central.wait_for(lambda c: not c.hub.presence.session(device))
    with pytest.raises(NotConnected):
        central.call(lambda c: c.hub.call(device, "run", None))


@pytest.mark.parametrize(("fault", "status"), [("throttled", 429), ("error", 500)])
def test_provisioning_can_be_busy_or_broken(central, device, fault, status):
    ask_for(central, registration=fault)
    with Registering(central, device) as client:
        answered, query, body = client.put()
    assert (answered, body["errorCode"]) == (status, status * 1000 + 1)
    assert ("&retry-after=3" in query) == (fault == "throttled")


def test_provisioning_can_be_slow(central, device):
    ask_for(central, registration_delay=0.4)
    with Registering(central, device) as client:
        client.mqtt.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", b"{}")
        assert is_quiet(client.mqtt)
        assert client.mqtt.receive(3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can refuse and listen again")
def test_connections_can_be_refused_and_reset(central, connect, device):
    ask_for(central, network="refuse")
    with pytest.raises(ConnectionRefusedError):
        MqttClient(central)
    ask_for(central, network="reset")
    with pytest.raises((ConnectionResetError, ssl.SSLError)):
        MqttClient(central)
    ask_for(central, network=None)
    connect()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can refuse and listen again")
def test_while_connections_are_refused_no_other_program_gets_the_address(central, connect, device):
    with MqttClient(central) as client:  # Its connection holds the address, too.
        client.connect_as(central, device)
        ask_for(central, network="refuse")
        with pytest.raises(OSError, match="in use"):
            listen(*central.address).close()
        ask_for(central, network=None)
    connect()


def test_a_frozen_connection_sends_nothing_and_new_ones_work(central, connect, device):
    frozen = connect(keep_alive=1)
    central.call(lambda c: c.faults.half_open())
    frozen.publish(telemetry_of(device), b"x")
    assert is_quiet(frozen)
    assert central.call(lambda c: c.hub.presence.session(device))
    connect()
    assert central.read(telemetry.messages, device) == []


def test_a_frozen_connection_ends_after_three_times_the_usual_wait(central, device):
    with MqttClient(central) as frozen:
        token = sas_token(f"a.hub/devices/{device}", central.key(device), ttl=2)
        username = f"a.hub/{device}/?api-version=2019-10-01"
        frozen.connect(device, username, token, keep_alive=1)
        central.call(lambda c: c.faults.half_open())
    # Also after its token has expired, central waits without polling.
    assert central.end_of_connection(device) == "it sent nothing for 4.5 s"
    assert not central.call(lambda c: c.hub.presence.session(device))


def test_packets_can_be_delayed_and_stay_in_order(central, connect, device):
    client = connect()
    ask_for(central, latency=0.4)
    for number in range(1, 6):
        client.publish(telemetry_of(device), b"x", packet_id=number)
    assert is_quiet(client)
    ask_for(central, latency=0.0)
    client.publish(telemetry_of(device), b"x", packet_id=6)
    assert [client.receive(4).packet_id for _ in range(6)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("recorded", [False, True])
def test_a_connection_can_be_cut_in_the_middle_of_a_message(central, connect, device, recorded):
    central.call(lambda c: c.faults.cut_at_publish(recorded=recorded))
    client = connect()
    client.publish(telemetry_of(device), b"x")
    assert client.is_closed_by_server()
    assert len(central.read(telemetry.messages, device)) == recorded
    client = connect()
    client.publish(telemetry_of(device), b"x")
    assert client.receive(4)


def test_twins_can_be_throttled(central, connect, device):
    ask_for(central, twin="throttled")
    client = connect(TWIN)
    client.publish("$iothub/twin/GET/?$rid=1", b"", flags=0)
    assert client.receive(3).topic == "$iothub/twin/res/429/?$rid=1"
    client.publish("$iothub/twin/PATCH/properties/reported/?$rid=2", b'{"a": 1}', flags=0)
    assert client.receive(3).topic == "$iothub/twin/res/429/?$rid=2"
    assert central.read(devices.get_twin, device).reported == {}


def test_sessions_can_be_lost(central, connect, device):
    connect(METHODS)
    with MqttClient(central) as client:
        assert client.connect_as(central, device) == (True, 0)
    ask_for(central, sessions_lost=True)
    with MqttClient(central) as client:
        assert client.connect_as(central, device) == (False, 0)
        assert central.wait_for(lambda c: c.hub.presence.session(device))
        with pytest.raises(NotConnected):
            central.call(lambda c: c.hub.call(device, "run", None))


@pytest.mark.parametrize(("offset", "code"), [(7200, 5), (-7200, 0)])
def test_the_clocks_can_disagree(central, device, offset, code):
    ask_for(central, clock_offset=offset)
    with MqttClient(central) as client:
        assert client.connect_as(central, device)[1] == code
    with Registering(central, device) as client:
        assert client.put()[0] == (401 if code else 202)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("expired", "certificate has expired"),
        ("not-yet-valid", "certificate is not yet valid"),
        ("another-authority", "unable to get local issuer|self-signed|signature"),
        ("another-host", "mismatch"),
        ("no-names", "mismatch|Empty Subject Alternative Name"),  # Python 3.13 is stricter.
    ],
)
def test_the_certificate_can_be_wrong(central, connect, device, fault, message):
    ask_for(central, certificate=fault)
    with pytest.raises(ssl.SSLCertVerificationError, match=message):
        MqttClient(central)
    ask_for(central, certificate=None)
    connect()


def test_a_device_can_be_moved_to_another_hub(central, connect, device):
    ask_for(central, moved_to="b.hub")
    with Registering(central, device) as client:
        assert client.register()["registrationState"]["assignedHub"] == "b.hub"
    with MqttClient(central) as client:
        assert client.connect_as(central, device)[1] == 5
    ask_for(central, moved_to="a.hub")
    connect()


def test_a_device_that_sends_too_much_is_disconnected(central, connect, device):
    ask_for(central, throttle=10)
    client = connect()
    for number in range(1, 12):
        client.publish(telemetry_of(device), b"x", packet_id=number)
    with pytest.raises((EOFError, OSError)):
        receive_all(client)
    assert central.end_of_connection(device) == "it sent more than 10 messages a second"


def test_all_faults_can_be_cleared(central):
    fresh = vars(central.call(lambda _: Faults()))
    ask_for(
        central,
        connack=ConnectCode.UNAVAILABLE,
        withheld={PubAck},
        latency=1.0,
        clock_offset=1.0,
        moved_to="x",
        throttle=1.0,
        sessions_lost=True,
        **{name: choices[0] for name, choices in CHOICES.items()},
    )
    central.call(lambda c: c.faults.clear())
    after = central.call(lambda c: dict(vars(c.faults)))
    different = {name for name in fresh if after[name] != fresh[name]}
    assert different <= {"_not_hanging", "_not_refusing", "_listening", "_connections"}
