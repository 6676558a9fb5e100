"""Connections to the hub, how they end, and telemetry."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mqtt_client import (
    DESIRED,
    METHODS,
    TWIN,
    MqttClient,
    messages_to,
    packet,
    sas_token,
    string,
    telemetry_of,
)

from central.errors import DeviceExists
from central.storage import devices, history, telemetry

# Who may connect


def refusal(central, device, username=None, password=None):
    with MqttClient(central) as client:
        username = username or f"a.hub/{device}/?api-version=2019-10-01"
        password = password or sas_token(f"a.hub/devices/{device}", central.key(device))
        answer = client.connect(device, username, password)
        assert answer[1] == 0 or client.is_closed_by_server()
        return answer


def test_a_device_with_the_right_key_may_connect(central, device):
    assert refusal(central, device) == (False, 0)


def test_a_device_may_connect_with_its_secondary_key(central, device):
    secondary = central.call(lambda c: c.registry.keys(device))[1]
    token = sas_token(f"a.hub/devices/{device}", secondary)
    assert refusal(central, device, password=token) == (False, 0)


def test_a_wrong_key_is_refused_and_logged(central, device):
    token = sas_token(f"a.hub/devices/{device}", central.key("other"))
    assert refusal(central, device, password=token) == (False, 5)
    assert central.log_of(device)[0] == ("refused", "the key is wrong")


def test_an_unknown_device_is_refused(central):
    assert refusal(central, "never-heard-of") == (False, 5)


def test_a_blocked_device_is_refused(central, device):
    central.call(lambda c: c.registry.update_device(device, enabled=False))
    assert refusal(central, device) == (False, 5)
    assert "blocked" in central.log_of(device)[0][1]


@pytest.mark.parametrize("username", ["", "a.hub", "a.hub//", "a.hub/other/?api-version=1", "/"])
def test_a_user_name_of_another_client_id_is_refused(central, device, username):
    with MqttClient(central) as client:
        token = sas_token(f"a.hub/devices/{device}", central.key(device))
        assert client.connect(device, username, token) == (False, 2)


def test_the_older_form_of_the_user_name_is_accepted(central, device):
    assert refusal(central, device, username=f"a.hub/{device}/api-version=2016-11-14") == (False, 0)


def test_another_version_of_mqtt_is_refused_with_its_code(central):
    with MqttClient(central) as client:
        client.send(packet(0x10, string("MQTT") + b"\x05\xc2\0\x3c" + string("x")))
        assert client.receive(2).content == b"\0\1"
        assert client.is_closed_by_server()


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", b"\xc0\x00", b"\x10\xff\xff\xff\x7f", b"\x00\x00", b"\xff" * 50],
)
def test_a_first_packet_other_than_connect_ends_the_connection(central, data):
    with MqttClient(central) as client:
        client.send(data)
        assert client.is_closed_by_server()


def test_a_model_announced_at_the_hub_is_recorded(central, connect, device):
    connect(model="dtmi:test:Model;1")
    known = central.read(devices.get, device)
    assert (known.template, known.announced) == ("dtmi:test:Model;1", "dtmi:test:Model;1")
    connect(model="dtmi:test:Model;1")
    assert central.read(devices.get, device) == known


# Connections


def test_a_second_connection_ends_the_first(central, connect, device):
    first = connect()
    second = connect()
    assert first.is_closed_by_server()
    assert second.is_silent()
    central.wait_for(lambda c: len(c.store.read(history.connections, device)) == 3)
    log = central.log_of(device)
    assert [event for event, _ in log] == ["connected", "disconnected", "connected"]
    assert log[1][1] == "another connection with its device id took over"


def test_of_many_simultaneous_connections_one_remains(central, connect, device):
    def is_alive(client):
        try:
            return client.is_silent()
        except (EOFError, OSError):
            return False

    with ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(lambda _: MqttClient(central), range(8)))
        list(pool.map(lambda c: _try_connect(c, central, device), clients))
        assert sum(pool.map(is_alive, clients)) == 1
    for client in clients:
        client.close()


def _try_connect(client, central, device):
    with contextlib.suppress(EOFError, OSError):  # Another one may take over meanwhile.
        client.connect_as(central, device)


def test_the_hub_knows_which_devices_are_connected(central, connect, device):
    assert not central.call(lambda c: c.hub.presence.session(device))
    assert central.call(lambda c: c.hub.presence.last_seen(device)) is None
    client = connect()
    assert central.wait_for(lambda c: c.hub.presence.session(device))
    assert central.call(lambda c: c.hub.presence.connected_since(device))
    client.disconnect()
    assert central.wait_for(lambda c: not c.hub.presence.session(device))
    assert central.call(lambda c: c.hub.presence.connected_since(device)) is None
    assert central.call(lambda c: c.hub.presence.last_seen(device))
    assert central.end_of_connection(device) == "it sent DISCONNECT"


def test_the_operator_can_disconnect_a_device(central, connect, device):
    client = connect()
    assert central.call(lambda c: c.hub.presence.disconnect(device, "cut by the operator"))
    assert client.is_closed_by_server()
    assert not central.call(lambda c: c.hub.presence.disconnect(device, "cut by the operator"))


@pytest.mark.parametrize("end", ["block", "delete"])
def test_a_blocked_or_deleted_device_is_disconnected(central, connect, device, end):
    client = connect()
    if end == "block":
        central.call(lambda c: c.registry.update_device(device, enabled=False))
    else:
        central.call(lambda c: c.registry.delete_device(device))
    assert client.is_closed_by_server()
    assert central.wait_for(lambda c: not c.hub.presence.session(device))


def test_a_silent_device_is_disconnected_after_one_and_a_half_keep_alives(central, connect, device):
    client = connect(keep_alive=1)
    assert client.is_closed_by_server()
    assert central.end_of_connection(device) == "it sent nothing for 1.5 s"


def test_half_a_packet_does_not_keep_a_connection_alive(central, connect, device):
    client = connect(keep_alive=1)
    stop = threading.Event()

    def dribble():
        client.send(b"\x30\x7f")
        try:
            while not stop.wait(0.2):
                client.send(b"x")
        except OSError:
            pass  # Cut off, as it should be.

    thread = threading.Thread(target=dribble)
    thread.start()
    assert client.is_closed_by_server()
    stop.set()
    thread.join()


def test_a_connection_ends_with_its_token(central, device):
    with MqttClient(central) as client:
        token = sas_token(f"a.hub/devices/{device}", central.key(device), ttl=2)
        assert client.connect(device, f"a.hub/{device}/?api-version=2019-10-01", token)[1] == 0
        assert client.is_closed_by_server()
    assert central.end_of_connection(device) == "its token expired"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (packet(0x34, string("a") + b"\0\1"), "quality of service 2"),
        (packet(0x30, string("a/b")), "the hub does not have a topic"),
        (packet(0x30, string("devices/other/messages/events/")), "the hub does not have a topic"),
        (packet(0x30, string("$iothub/methods/res/ok/?$rid=1")), "the status 'ok'"),
        (packet(0x30, string("$iothub/twin/GET/?$rid=%ff")), "not UTF-8"),
        (b"\x30\xff\xff\xff\x7f", "at most"),
        (packet(0x10, string("MQTT") + b"\4\2\0\0" + string("x")), "a second CONNECT"),
    ],
)
def test_a_device_that_violates_the_protocol_is_disconnected(
    central, connect, device, data, reason
):
    client = connect()
    client.send(data)
    assert client.is_closed_by_server()
    assert reason in central.end_of_connection(device)


def test_a_message_of_more_than_256_kb_is_refused(central, connect, device):
    client = connect()
    client.publish(telemetry_of(device), bytes(256 * 1024))
    assert client.receive(4).packet_id == 1
    client.publish(telemetry_of(device), bytes(256 * 1024 + 1))
    assert client.is_closed_by_server()


def test_unknown_topic_filters_are_refused(connect, device):
    client = connect()
    filters = ["#", "$SYS/#", "devices/other/messages/devicebound/#", METHODS]
    assert client.subscribe(*filters) == [0x80, 0x80, 0x80, 1]
    assert client.subscribe(messages_to(device), qos=2) == [1]
    assert client.subscribe(TWIN, qos=0) == [0]


# Telemetry


def test_telemetry_is_stored_with_its_properties(central, connect, device):
    client = connect()
    bag = (
        "%24.mid=a%3A7&%24.ct=application%2Fjson&%24.ce=utf-8&%24.sub=dht22"
        "&iothub-creation-time-utc=2026-11-22T10%3A00%3A00.123Z&a%20b=c%26d"
    )
    client.publish(telemetry_of(device) + bag, b'{"temp": 21.5}', packet_id=9)
    assert client.receive(4).packet_id == 9
    (message,) = central.read(telemetry.messages, device)
    assert message.body == b'{"temp": 21.5}'
    assert message.created == 1795341600.123
    assert message.properties == {
        "iothub-creation-time-utc": "2026-11-22T10:00:00.123Z",
        "a b": "c&d",
    }
    assert message.system == {
        "message_id": "a:7",
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "component": "dht22",
    }


def test_the_system_property_ctime_is_the_creation_time(central, connect, device):
    client = connect()
    client.publish(
        telemetry_of(device) + "%24.ctime=2026-11-22T10%3A00%3A00.123Z", b"x", packet_id=9
    )
    assert client.receive(4).packet_id == 9
    (message,) = central.read(telemetry.messages, device)
    assert message.created == 1795341600.123


def test_telemetry_of_quality_of_service_0_is_stored(central, connect, device):
    client = connect()
    client.publish(f"devices/{device}/messages/events", b"x", flags=0x00)
    assert central.wait_for(lambda c: c.store.read(telemetry.messages, device))[0].body == b"x"


def test_a_message_sent_twice_is_received_twice(central, connect, device):
    client = connect()
    for flags in (0x02, 0x0A):
        client.publish(telemetry_of(device) + "%24.mid=1", b"x", packet_id=3, flags=flags)
        client.receive(4)
    received = central.read(telemetry.messages, device)
    assert [m.system["message_id"] for m in received] == ["1", "1"]


def test_messages_sent_together_are_acknowledged_in_order(central, connect, device):
    client = connect()
    topic = string(telemetry_of(device))
    numbers = range(1, 301)
    client.send(b"".join(packet(0x32, topic + n.to_bytes(2) + b"%d" % n) for n in numbers))
    assert [client.receive(4).packet_id for _ in numbers] == list(numbers)
    kept = central.read(telemetry.messages, device, limit=1000)
    assert [int(m.body) for m in reversed(kept)] == list(numbers)


def test_messages_before_an_invalid_packet_are_stored_and_acknowledged(central, connect, device):
    client = connect()
    good = packet(0x32, string(telemetry_of(device)) + b"\0\1" + b"x")
    client.send(good + packet(0x34, string("a") + b"\0\2"))
    assert client.receive(4).packet_id == 1
    assert client.is_closed_by_server()
    assert len(central.read(telemetry.messages, device)) == 1


def test_the_last_will_of_a_lost_device_is_stored(central, connect, device):
    will = (telemetry_of(device) + "a=b", b"farewell")
    client = connect(will=will)
    client.disconnect()
    client = connect(will=will)
    client.close()
    (message,) = central.wait_for(lambda c: c.store.read(telemetry.messages, device))
    assert (message.body, message.properties) == (
        b"farewell",
        {"a": "b", "iothub-MessageType": "Will"},
    )


def test_a_message_that_cannot_be_stored_is_not_acknowledged(central, connect, device):
    def limit(pages):
        central.call(
            lambda c: c.store.call(lambda db: db.execute(f"PRAGMA max_page_count = {pages}"))
        )

    client = connect()
    limit(1)  # As if the disk were full: it stays at its present size.
    client.publish(telemetry_of(device), bytes(250_000))
    assert client.is_closed_by_server()
    limit(1_000_000)
    client = connect()
    client.publish(telemetry_of(device), bytes(250_000))
    assert client.receive(4).packet_id == 1
    assert len(central.read(telemetry.messages, device)) == 1


def test_a_device_that_does_not_read_is_disconnected(central, connect, device, monkeypatch):
    monkeypatch.setattr("central.transport.connection.MAX_UNSENT", 64 * 1024)
    connect(DESIRED)

    def flood(c):
        for _ in range(10_000):
            session = c.hub.presence.session(device)
            if session is None or session._connection._writer.is_closing():
                return True
            session.notify_desired({"a": "x" * 30_000}, 1)
        return False

    assert central.call(flood)
    assert central.end_of_connection(device) == "it does not read its packets"


topics = st.sampled_from(
    [
        "$iothub/twin/GET/?$rid=1",
        "$iothub/twin/PATCH/properties/reported/?$rid=1",
        "$iothub/twin/PATCH/properties/reported/?",
        "$iothub/methods/res/200/?$rid=1",
        "$iothub/methods/res/",
        "devices/any/messages/events/",
        "devices/any/messages/events",
        "devices/any/messages/events/%24.ct=x&&==",
        "$dps/registrations/PUT/iotdps-register/?$rid=1",
    ]
)
bodies = st.binary(max_size=100) | st.sampled_from([b"{}", b"null", b'{"a": {}}', b"[" * 5000])
publishes = st.builds(
    lambda topic, tail, body, flags: packet(
        0x30 | flags, string(topic + tail) + (b"\0\1" if flags & 6 else b"") + body
    ),
    topics,
    st.text(max_size=10),
    bodies,
    st.integers(0, 15),
)
others = st.sampled_from([b"\xc0\0", b"\x40\2\0\1", b"\x82\6\0\1\0\1#\1", b"\xa2\5\0\1\0\1#"])


@given(st.lists(publishes | others | st.binary(max_size=20), max_size=10))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_packets_leave_the_hub_working(central, caplog, packets):
    caplog.clear()
    with contextlib.suppress(DeviceExists):
        central.call(lambda c: c.registry.add_device("any"))
    with MqttClient(central) as client, contextlib.suppress(OSError):
        assert client.connect_as(central, "any")[1] == 0
        client.send(b"".join(packets))
        client.finish()
    assert central.wait_for(lambda c: not c.hub.presence.session("any"))
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
