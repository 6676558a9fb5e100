"""Twins as a device sees them."""

import json

import pytest
from mqtt_client import DESIRED, TWIN, TWIN_REPORT

from central.errors import TwinTooLarge
from central.storage import devices


def twin_of(client, rid="1"):
    client.publish(f"$iothub/twin/GET/?$rid={rid}", b" ", flags=0)
    answer = client.receive(3)
    assert answer.topic == f"$iothub/twin/res/200/?$rid={rid}"
    return json.loads(answer.body)


def report(client, body):
    client.publish(TWIN_REPORT, body, flags=0)
    return client.receive(3)


def test_a_new_twin_is_empty(connect):
    assert twin_of(connect(TWIN)) == {"desired": {"$version": 1}, "reported": {"$version": 1}}


def test_the_request_id_is_returned_unchanged(connect):
    client = connect(TWIN)
    for rid in ("1", "a8b3c7f2-1d07-4a10-9f59-b6f8c1a4d2e7", "x" * 200):
        twin_of(client, rid)


def test_reported_properties_are_merged_and_versioned(central, connect, device):
    client = connect(TWIN)
    answer = report(client, b'{"a": 1, "part": {"__t": "c", "x": 1}}')
    assert answer.topic == "$iothub/twin/res/204/?$rid=7&$version=2"
    assert answer.body == b""
    report(client, b'{"a": null, "part": {"y": 2}}')
    assert twin_of(client)["reported"] == {"part": {"__t": "c", "x": 1, "y": 2}, "$version": 3}
    assert central.read(devices.get_twin, device).reported_version == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json", 400),
        (b'{"$version": 1}', 400),
        (json.dumps({f"p{n}": "x" * 4000 for n in range(9)}).encode(), 413),
    ],
)
def test_a_refused_report_does_not_change_the_twin(connect, body, status):
    client = connect(TWIN)
    assert report(client, body).topic == f"$iothub/twin/res/{status}/?$rid=7"
    assert twin_of(client)["reported"] == {"$version": 1}


def test_twin_requests_without_a_subscription_are_not_answered(connect):
    client = connect()
    client.publish("$iothub/twin/GET/?$rid=1", b"", flags=0)
    assert client.is_silent()


def test_desired_properties_are_sent_with_their_version(central, connect, device):
    client = connect(TWIN, DESIRED, model="dtmi:test:Model;1")
    twin = central.call(lambda c: c.hub.set_desired(device, {"brightness": 2, "gone": None}))
    assert (twin.desired, twin.desired_version) == ({"brightness": 2}, 2)
    note = client.receive(3)
    assert note.topic == "$iothub/twin/PATCH/properties/desired/?$version=2"
    assert json.loads(note.body) == {"brightness": 2, "gone": None, "$version": 2}
    assert twin_of(client)["desired"] == {"brightness": 2, "$version": 2}


def test_replaced_desired_properties_are_sent_as_a_patch(central, connect, device):
    client = connect(DESIRED, model="dtmi:test:Model;1")
    central.call(lambda c: c.hub.set_desired(device, {"a": 1, "b": 2}))
    client.receive(3)
    central.call(lambda c: c.hub.set_desired(device, {"b": 3}, replace=True))
    assert json.loads(client.receive(3).body) == {"a": None, "b": 3, "$version": 3}


def test_without_a_model_desired_properties_are_wrapped_as_in_2020(central, connect, device):
    client = connect(TWIN, DESIRED)
    central.call(lambda c: c.hub.set_desired(device, {"brightness": 2}))
    assert json.loads(client.receive(3).body) == {"brightness": {"value": 2}, "$version": 2}
    assert twin_of(client)["desired"] == {"brightness": {"value": 2}, "$version": 2}
    assert central.read(devices.get_twin, device).desired == {"brightness": 2}


def test_the_operators_template_does_not_change_the_form_of_properties(central, connect, device):
    central.call(lambda c: c.registry.update_device(device, template="dtmi:test:Model;1"))
    client = connect(TWIN)
    central.call(lambda c: c.hub.set_desired(device, {"brightness": 2}))
    assert twin_of(client)["desired"]["brightness"] == {"value": 2}


def test_oversized_desired_properties_are_refused(central, device):
    large = {f"p{n}": "x" * 4000 for n in range(9)}
    with pytest.raises(TwinTooLarge):
        central.call(lambda c: c.hub.set_desired(device, large))
    assert central.read(devices.get_twin, device).desired == {}


def test_changes_during_a_disconnection_are_in_the_twin_only(central, connect, device):
    connect(TWIN, DESIRED, model="dtmi:test:Model;1").disconnect()
    central.wait_for(lambda c: not c.hub.presence.session(device))
    central.call(lambda c: c.hub.set_desired(device, {"brightness": 2}))
    client = connect()
    assert client.is_silent()
    assert twin_of(client)["desired"] == {"brightness": 2, "$version": 2}
