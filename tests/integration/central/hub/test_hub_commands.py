"""Commands and saved sessions as a device sees them."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from centrals import running_central
from mqtt_client import METHODS, TWIN, TWIN_REPORT, MqttClient, messages_to, packet, string

from central.errors import InvalidCommand, NoAnswer, NotConnected, UnknownDevice
from central.storage import history

# Commands


def in_background(function):
    """Start a call in a thread; return a function that waits for its result."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function)
    pool.shutdown(wait=False)
    return future.result


def called(central, client, device, name="run"):
    """Call a command. Return its request id, and a function that waits for the result."""
    answer = in_background(lambda: central.call(lambda c: c.hub.call(device, name, None)))
    return client.receive(3).topic.partition("/?$rid=")[2], answer


def test_a_command_is_called_and_answered(central, connect, device):
    client = connect(METHODS)
    answer = in_background(
        lambda: central.call(lambda c: c.hub.call(device, "blink", {"interval": 2}))
    )
    request = client.receive(3)
    path, _, rid = request.topic.partition("/?$rid=")
    assert path == "$iothub/methods/POST/blink"
    assert json.loads(request.body) == {"interval": 2}
    assert not request.flags
    client.publish(f"$iothub/methods/res/200/?$rid={rid}", b'{"ok": true}', flags=0)
    command = answer()
    assert (command.status, command.response) == (200, {"ok": True})
    assert command.answered >= command.asked
    assert central.read(history.commands, device) == [command]


@pytest.mark.parametrize(
    ("body", "response"), [(b"", None), (b"null", None), (b"not json", "not json"), (b"[1]", [1])]
)
def test_any_answer_ends_a_command(central, connect, device, body, response):
    client = connect(METHODS)
    answer = in_background(lambda: central.call(lambda c: c.hub.call(device, "run", None)))
    request = client.receive(3)
    assert request.body == b""
    rid = request.topic.partition("/?$rid=")[2]
    client.publish(f"$iothub/methods/res/404/?$rid={rid}", body)
    command = answer()
    assert (command.status, command.response) == (404, response)


def test_a_command_may_be_answered_over_a_new_connection(central, connect, device):
    client = connect(METHODS)
    rid, answer = called(central, client, device)
    client.disconnect()
    connect().publish(f"$iothub/methods/res/200/?$rid={rid}", b"1")
    assert answer().response == 1


def test_a_client_may_keep_request_ids_in_an_integer(central, connect, device):
    """As clients in C do: strtoul(rid, NULL, 16), and "%x" in the answer."""
    client = connect(METHODS)
    seen = set()
    for value in range(200):
        rid, answer = called(central, client, device)
        number = int(rid, 16)
        assert 0 < number < 2**32
        seen.add(number)
        client.publish(f"$iothub/methods/res/200/?$rid={number:x}", b"%d" % value, flags=0)
        assert answer().response == value
    assert len(seen) == 200


def test_another_device_cannot_answer_a_command(central, connect, device):
    client = connect(METHODS)
    rid, answer = called(central, client, device)
    central.call(lambda c: c.registry.add_device(f"not-{device}"))
    with MqttClient(central) as other:
        other.connect_as(central, f"not-{device}")
        other.publish(f"$iothub/methods/res/200/?$rid={rid}", b'"forged"')
        other.receive(4)
    client.publish(f"$iothub/methods/res/200/?$rid={rid}", b'"its own"')
    assert answer().response == "its own"


def test_a_late_answer_from_before_a_restart_does_not_answer_a_later_call(tmp_path):
    with running_central(tmp_path, mqtt_port=0) as central, MqttClient(central) as client:
        central.call(lambda c: c.registry.add_device("pi"))
        client.connect_as(central, "pi")
        client.subscribe(METHODS)
        old, answer = called(central, client, "pi")
        client.publish(f"$iothub/methods/res/200/?$rid={old}")
        answer()
    with running_central(tmp_path, mqtt_port=0) as central, MqttClient(central) as client:
        client.connect_as(central, "pi")
        new, answer = called(central, client, "pi")
        client.publish(f"$iothub/methods/res/200/?$rid={old}", b'"old"')
        client.publish(f"$iothub/methods/res/200/?$rid={new}", b'"new"')
        assert answer().response == "new"


def test_a_completion_right_after_the_answer_completes_the_command(central, connect, device):
    client = connect(METHODS, TWIN)
    for value in range(20):
        rid, answer = called(central, client, device)
        client.send(
            publication(f"$iothub/methods/res/202/?$rid={rid}", b"")
            + publication(TWIN_REPORT, json.dumps({"run": {"value": value}}).encode())
        )
        assert client.receive(3).topic.startswith("$iothub/twin/res/204/")
        answer()
        [newest] = central.read(history.commands, device, limit=1)
        assert (newest.status, newest.completion) == (202, {"value": value})
        assert newest.completed


def publication(topic, body):
    return packet(0x30, string(topic) + body)


def test_a_command_to_a_disconnected_device_is_not_found(central, device):
    with pytest.raises(NotConnected):
        central.call(lambda c: c.hub.call(device, "blink", 5))
    (command,) = central.read(history.commands, device)
    assert (command.status, command.answered) == (404, None)


def test_a_command_to_a_device_without_the_subscription_is_not_found(central, connect, device):
    connect()
    with pytest.raises(NotConnected):
        central.call(lambda c: c.hub.call(device, "blink", 5))


def test_a_call_can_wait_for_the_device_to_connect(central, connect, device):
    answer = in_background(
        lambda: central.call(lambda c: c.hub.call(device, "run", None, connect_timeout=20))
    )
    client = connect(METHODS)
    rid = client.receive(3).topic.partition("/?$rid=")[2]
    client.publish(f"$iothub/methods/res/200/?$rid={rid}", b"", flags=0)
    assert answer().status == 200


def test_a_command_without_an_answer_times_out(central, connect, device):
    client = connect(METHODS)
    with pytest.raises(NoAnswer, match=r"in 0\.1 s"):
        central.call(lambda c: c.hub.call(device, "run", None, response_timeout=0.1))
    (command,) = central.read(history.commands, device)
    assert (command.status, command.answered) == (504, None)
    rid = client.receive(3).topic.partition("/?$rid=")[2]
    client.publish(f"$iothub/methods/res/200/?$rid={rid}", b"late")
    assert client.receive(4)
    assert central.read(history.commands, device) == [command]


@pytest.mark.parametrize("name", ["", "a/b", "a b", "#", "a?b", "é", "x" * 300])
def test_invalid_names_of_commands_are_refused(central, device, name):
    with pytest.raises(InvalidCommand):
        central.call(lambda c: c.hub.call(device, name, None))
    with pytest.raises(InvalidCommand):
        central.call(lambda c: c.hub.queue_command(device, name, None))


def test_a_request_that_is_too_large_is_refused(central, device):
    with pytest.raises(InvalidCommand, match="at most 131072"):
        central.call(lambda c: c.hub.call(device, "run", "x" * 128 * 1024))
    with pytest.raises(InvalidCommand, match="at most 65536"):
        central.call(lambda c: c.hub.queue_command(device, "run", "x" * 64 * 1024))


def test_commands_to_an_unknown_device_raise(central):
    for ask in (
        lambda c: c.hub.call("no", "run", None),
        lambda c: c.hub.queue_command("no", "run", None),
        lambda c: c.hub.set_desired("no", {}),
    ):
        with pytest.raises(UnknownDevice):
            central.call(ask)


# Queued commands


def test_a_queued_command_waits_for_the_device(central, connect, device):
    queued = central.call(lambda c: c.hub.queue_command(device, "turnon", None))
    central.call(lambda c: c.hub.queue_command(device, "led*set", {"a": 1}))
    assert queued.queued
    client = connect(messages_to(device))
    first, second = client.receive(3), client.receive(3)
    path, _, bag = first.topic.rpartition("/")
    assert path == f"devices/{device}/messages/devicebound"
    assert f"%24.mid={queued.id}" in bag
    assert "method-name=turnon" in bag.split("&")
    assert (first.body, second.body) == (b"@", b'{"a":1}')
    assert "method-name=led%2Aset" in second.topic
    assert not first.duplicate
    client.acknowledge(first.packet_id)
    client.acknowledge(second.packet_id)
    delivered = central.wait_for(
        lambda c: all(command.answered for command in c.store.read(history.commands, device))
    )
    assert delivered
    client.disconnect()
    assert connect(messages_to(device)).is_silent()


def test_unacknowledged_messages_are_sent_again_as_duplicates(central, connect, device):
    client = connect(messages_to(device))
    central.call(lambda c: c.hub.queue_command(device, "turnon", None))
    first = client.receive(3)
    client.close()
    again = connect().receive(3)
    assert again.duplicate
    assert (again.packet_id, again.topic) == (first.packet_id, first.topic)


def test_a_queued_command_has_the_subscribed_quality_of_service(central, connect, device):
    client = connect()
    client.subscribe(messages_to(device), qos=0)
    central.call(lambda c: c.hub.queue_command(device, "turnon", None))
    assert client.receive(3).flags == 0
    assert central.wait_for(lambda c: c.store.read(history.commands, device)[0].answered)


def test_an_unknown_acknowledgement_is_ignored(connect, device):
    client = connect(messages_to(device))
    client.acknowledge(77)
    assert client.is_silent()


# Sessions


def test_a_saved_session_is_continued_and_announced(central, connect, device):
    client = connect(METHODS)
    client.disconnect()
    client = MqttClient(central)
    assert client.connect_as(central, device) == (True, 0)
    rid, answer = called(central, client, device)
    client.publish(f"$iothub/methods/res/200/?$rid={rid}")
    assert answer().status == 200
    client.close()


def test_a_clean_session_is_not_saved(central, connect, device):
    connect(METHODS).disconnect()
    with MqttClient(central) as client:
        assert client.connect_as(central, device, clean_session=True) == (False, 0)
        client.subscribe(METHODS)
    with MqttClient(central) as client:
        assert client.connect_as(central, device) == (False, 0)
        with pytest.raises(NotConnected):
            central.call(lambda c: c.hub.call(device, "run", None))


def test_an_unsubscribed_filter_is_not_restored(central, connect, device):
    client = connect(METHODS)
    client.send(packet(0xA2, b"\0\7" + string(METHODS)))
    assert client.receive(11).content == b"\0\7"
    client.disconnect()
    connect()
    with pytest.raises(NotConnected):
        central.call(lambda c: c.hub.call(device, "run", None))
