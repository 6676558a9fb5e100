"""Provisioning as a device sees it."""

import itertools

import pytest
from mqtt_client import RESPONSES, MqttClient, Registering, packet, string

from central.protocol.sas import new_key
from central.storage import devices

ids = itertools.count(1)


@pytest.fixture
def device():
    return f"new-{next(ids)}"


def test_a_new_device_with_the_groups_key_is_assigned(central, device):
    with Registering(central, device) as client:
        assert client.connack == (False, 0)
        body = client.register()
    state = body["registrationState"]
    assert (body["status"], state["status"]) == ("assigned", "assigned")
    assert (state["deviceId"], state["registrationId"]) == (device, device)
    assert state["assignedHub"] == central.info["mqtt_host"]
    known = central.read(devices.get, device)
    assert known.provisioned
    assert known.template is None
    assert central.log_of(device) == [("registered", f"assigned {central.info['mqtt_host']}")]


def test_the_assigned_hub_accepts_the_device(central, device):
    with Registering(central, device) as client:
        client.register()
    with MqttClient(central) as client:
        assert client.connect_as(central, device) == (False, 0)


@pytest.mark.parametrize("name", ["modelId", "iotcModelId"])
def test_the_announced_model_becomes_the_template(central, device, name):
    with Registering(central, device) as client:
        client.register({name: "dtmi:test:Model;1"})
    known = central.read(devices.get, device)
    assert (known.template, known.announced) == ("dtmi:test:Model;1", "dtmi:test:Model;1")


@pytest.mark.parametrize("payload", [{}, [], "text", {"modelId": 5}, {"modelId": "no dtmi"}])
def test_any_other_payload_announces_nothing(central, device, payload):
    with Registering(central, device) as client:
        assert client.register(payload)["status"] == "assigned"
    assert central.read(devices.get, device).announced is None


def test_a_device_with_its_own_key_must_use_it(central, device):
    key = new_key()
    central.call(lambda c: c.registry.add_device(device))
    central.call(lambda c: c.registry.set_keys(device, primary=key, secondary=new_key()))
    with Registering(central, device) as client:
        assert client.put()[0] == 401
    with Registering(central, device, key=key) as client:
        assert client.register()["status"] == "assigned"


@pytest.mark.parametrize(
    ("wrong", "reason"), [({"key": new_key()}, "key"), ({"ttl": -9}, "expired")]
)
def test_a_bad_token_is_refused_when_the_device_registers(central, device, wrong, reason):
    central.call(lambda c: c.registry.add_device(device))
    with Registering(central, device, **wrong) as client:
        assert client.connack == (False, 0)
        status, _, body = client.put()
    assert status == 401
    assert (body["errorCode"], body["message"]) == (401002, "Unauthorized")
    assert body.keys() == {"errorCode", "trackingId", "message", "timestampUtc"}
    ((event, detail),) = central.log_of(device)
    assert event == "registration refused"
    assert reason in detail
    assert not central.read(devices.get, device).provisioned


def test_a_new_device_with_a_bad_key_is_not_created(central, device):
    with Registering(central, device, key=new_key()) as client:
        assert client.put()[0] == 401
    assert device not in [d.id for d in central.read(devices.get_all)]


def test_another_id_scope_is_refused_as_unavailable(central, device):
    with Registering(central, device, scope="0ne00000000") as client:
        assert client.connack == (False, 3)


def test_the_registration_of_a_blocked_device_is_disabled(central, device):
    central.call(lambda c: c.registry.add_device(device))
    central.call(lambda c: c.registry.update_device(device, enabled=False))
    with Registering(central, device) as client:
        body = client.register({"modelId": "dtmi:test:Model;1"})
    assert body["status"] == body["registrationState"]["status"] == "disabled"
    assert "blocked" in body["registrationState"]["errorMessage"]
    assert central.read(devices.get, device).template is None


def test_a_new_device_with_an_id_that_iot_central_refuses_fails(central, device):
    with Registering(central, device + "_x") as client:
        body = client.register()
    assert body["status"] == "failed"
    assert "letters, digits" in body["registrationState"]["errorMessage"]


@pytest.mark.parametrize(
    "body", [b"not json", b"[]", b'{"registrationId": "other"}', b"[" * 100_000, b"\xff"]
)
def test_an_invalid_request_is_refused(central, device, body):
    with Registering(central, device) as client:
        assert client.put(body=body)[0] == 400


def test_an_unknown_operation_is_not_found(central, device):
    with Registering(central, device) as client:
        assert client.get("5.none")[0] == 404


def test_a_device_may_register_again(central, device):
    for _ in range(2):
        with Registering(central, device) as client:
            assert client.register()["status"] == "assigned"
    assert len(central.log_of(device)) == 2


def test_provisioning_does_not_save_sessions(central, device):
    for _ in range(2):
        with Registering(central, device) as client:
            assert client.connack == (False, 0)


def test_a_second_registration_of_a_device_ends_the_first(central, device):
    with Registering(central, device) as first, Registering(central, device) as second:
        first.put()
        assert second.register()["status"] == "assigned"
        assert first.mqtt.is_closed_by_server()


def test_a_client_without_the_key_does_not_end_a_registration(central, device):
    with Registering(central, device) as client:
        _, _, body = client.put()
        with Registering(central, device, key=new_key()) as stranger:
            assert stranger.put()[0] == 401
            assert client.get(body["operationId"])[0] == 200


@pytest.mark.parametrize(
    "topic", ["$dps/other", "devices/x/messages/events/", "$dps/registrations/PUT/iotdps-register"]
)
def test_another_topic_ends_the_connection(central, device, topic):
    with Registering(central, device) as client:
        client.mqtt.publish(topic)
        assert client.mqtt.is_closed_by_server()


def test_answers_need_the_only_subscription_there_is(central, device):
    with Registering(central, device) as client:
        assert client.mqtt.subscribe("#", "$iothub/twin/res/#") == [0x80, 0x80]
        client.mqtt.send(packet(0xA2, b"\0\1" + string(RESPONSES)))
        assert client.mqtt.receive(11)
        client.mqtt.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", b"{}")
        assert client.mqtt.receive(4)
        assert client.mqtt.is_silent()


def test_the_client_id_must_be_the_registration_id(central, device):
    with MqttClient(central) as client:
        username = f"{central.info['id_scope']}/registrations/{device}/api-version=2019-03-31"
        assert client.connect("other", username, "x") == (False, 2)


@pytest.mark.parametrize(
    ("name", "hub"),
    [
        ("localhost", "localhost"),
        ("global.azure-devices-provisioning.net", "central.azure-devices.net"),
        ("x.azure-devices-provisioning.net", "central.azure-devices.net"),
    ],
)
def test_the_assigned_hub_is_the_name_that_the_device_used(central, device, name, hub):
    with Registering(central, device, server_name=name) as client:
        assert client.register()["registrationState"]["assignedHub"] == hub
