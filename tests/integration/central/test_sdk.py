"""Azure's SDK for Python against central."""

import asyncio
import itertools
import queue
import threading
from typing import Any

import pytest
from azure.iot.device import (
    IoTHubDeviceClient,
    Message,
    MethodResponse,
    ProvisioningDeviceClient,
    exceptions,
)
from azure.iot.device.aio import IoTHubDeviceClient as AsyncIoTHubDeviceClient
from azure.iot.device.aio import ProvisioningDeviceClient as AsyncProvisioningDeviceClient

from central.storage import devices, telemetry

MODEL = "dtmi:test:Model;1"
PATIENCE = 30.0

ids = itertools.count(1)


@pytest.fixture
def device():
    return f"sdk-{next(ids)}"


def provisioning(central, device, *, kind=ProvisioningDeviceClient, id_scope=None):
    return kind.create_from_symmetric_key(
        provisioning_host=central.info["mqtt_host"],
        registration_id=device,
        id_scope=id_scope or central.info["id_scope"],
        symmetric_key=central.key(device),
        server_verification_cert=central.ca,
    )


def hub_client(central, device, hub, *, kind=IoTHubDeviceClient, **options):
    return kind.create_from_symmetric_key(
        central.key(device),
        hostname=hub,
        device_id=device,
        server_verification_cert=central.ca,
        **options,
    )


async def asked(central, function):
    """Call a function of the central without blocking the test's event loop."""
    return await asyncio.wait_for(asyncio.to_thread(central.call, function), PATIENCE)


class Heard:
    """What the SDK passes to its handlers, which run in its own threads."""

    def __init__(self, client):
        self._client = client
        self.messages: queue.Queue[Message] = queue.Queue()
        self.patches: queue.Queue[dict[str, Any]] = queue.Queue()

    async def install(self):
        # The setters block until the hub answers.
        await asyncio.to_thread(self._install)

    def _install(self):
        self._client.on_method_request_received = self.on_method
        self._client.on_message_received = self.messages.put
        self._client.on_twin_desired_properties_patch_received = self.patches.put

    async def on_method(self, request):
        known = request.name == "echo"
        response = MethodResponse.create_from_method_request(
            request, 200 if known else 404, {"payload": request.payload} if known else None
        )
        await self._client.send_method_response(response)


async def test_everything_works_with_the_async_client(central, device):
    registering = provisioning(central, device, kind=AsyncProvisioningDeviceClient)
    registering.provisioning_payload = {"modelId": MODEL}
    result = await registering.register()
    assert result.status == "assigned"
    hub = result.registration_state.assigned_hub
    client = hub_client(
        central, device, hub, kind=AsyncIoTHubDeviceClient, product_info=MODEL, keep_alive=5
    )
    heard = Heard(client)
    await client.connect()
    await heard.install()
    assert await asked(central, lambda c: c.store.read(devices.get, device).template) == MODEL

    message = Message('{"temp": 21.5}', message_id="a:1", content_encoding="utf-8")
    message.content_type = "application/json"
    time = "2026-11-22T10:00:00.123Z"
    message.custom_properties = {"iothub-creation-time-utc": time, "ä b": "&="}
    await client.send_message(message)
    (received,) = await asked(central, lambda c: c.store.read(telemetry.messages, device))
    assert received.body == b'{"temp": 21.5}'
    assert received.created == 1795341600.123
    assert received.properties["ä b"] == "&="
    assert received.system == {
        "message_id": "a:1",
        "content_type": "application/json",
        "content_encoding": "utf-8",
    }

    assert await client.get_twin() == {"desired": {"$version": 1}, "reported": {"$version": 1}}
    await client.patch_twin_reported_properties({"state": True, "part": {"__t": "c", "x": 1}})
    await client.patch_twin_reported_properties({"state": None, "part": {"y": 2}})
    reported = {"part": {"__t": "c", "x": 1, "y": 2}}
    assert (await client.get_twin())["reported"] == {**reported, "$version": 3}
    with pytest.raises(exceptions.ClientError) as refused:
        await client.patch_twin_reported_properties({"a.b": 1})
    assert "400" in str(refused.value.__cause__)

    await asked(central, lambda c: c.hub.set_desired(device, {"brightness": 2}))
    patch = await asyncio.to_thread(heard.patches.get, timeout=PATIENCE)
    assert patch == {"brightness": 2, "$version": 2}

    for request in (None, 5, {"a": [1]}, "text"):
        command = await asked(central, lambda c, r=request: c.hub.call(device, "echo", r))
        assert (command.status, command.response) == (200, {"payload": request})
    command = await asked(central, lambda c: c.hub.call(device, "unknown", None))
    assert (command.status, command.response) == (404, None)

    await asked(central, lambda c: c.hub.queue_command(device, "turnon", None))
    queued = await asyncio.to_thread(heard.messages.get, timeout=PATIENCE)
    assert queued.data == b"@"
    assert queued.custom_properties["method-name"] == "turnon"

    # It reconnects by itself, without subscribing again, and its session is continued.
    await asked(central, lambda c: c.hub.presence.disconnect(device, "cut by the operator"))
    await asyncio.to_thread(central.wait_for, lambda c: c.hub.presence.session(device))
    command = await asked(
        central, lambda c: c.hub.call(device, "echo", "again", connect_timeout=20)
    )
    assert command.response == {"payload": "again"}
    await client.send_message("after")
    await client.shutdown()
    assert await asyncio.to_thread(central.end_of_connection, device) == "it sent DISCONNECT"


async def test_a_device_comes_with_the_connection_string_of_the_page(central, device):
    await asked(central, lambda c: c.registry.add_device(device))
    primary, _ = await asked(central, lambda c: c.registry.keys(device))
    client = AsyncIoTHubDeviceClient.create_from_connection_string(
        f"HostName={central.info['mqtt_host']};DeviceId={device};SharedAccessKey={primary}",
        server_verification_cert=central.ca,
    )
    await client.connect()
    await client.send_message(Message('{"temp": 21.5}', message_id="a:1"))
    await client.shutdown()
    [message] = await asked(central, lambda c: c.store.read(telemetry.messages, device))
    assert message.system["message_id"] == "a:1"
    assert not (await asked(central, lambda c: c.store.read(devices.get, device))).provisioned


def test_everything_works_with_the_blocking_client(central, device):
    result = provisioning(central, device).register()
    assert result.status == "assigned"
    client = hub_client(central, device, result.registration_state.assigned_hub)
    patches: queue.Queue[dict[str, Any]] = queue.Queue()

    def answer(request):
        payload = {"payload": request.payload}
        client.send_method_response(
            MethodResponse.create_from_method_request(request, 200, payload)
        )

    client.connect()
    client.on_method_request_received = answer
    client.on_twin_desired_properties_patch_received = patches.put
    client.send_message("plain text")
    assert central.read(telemetry.messages, device)[0].body == b"plain text"
    client.patch_twin_reported_properties({"state": True})
    assert client.get_twin()["reported"]["state"] is True
    assert central.call(lambda c: c.hub.call(device, "echo", 1)).response == {"payload": 1}
    # It announced no model: properties arrive in the form of 2020.
    central.call(lambda c: c.hub.set_desired(device, {"brightness": 2}))
    assert patches.get(timeout=PATIENCE)["brightness"] == {"value": 2}
    client.shutdown()


def test_a_wrong_id_scope_is_a_failed_connection(central, device):
    client = provisioning(central, device, id_scope="0ne00000000")
    with pytest.raises(exceptions.ConnectionFailedError):
        client.register()
    done = threading.Event()  # The SDK has no public method for the end of a failed client.
    client._pipeline.shutdown(callback=lambda **_: done.set())
    assert done.wait(PATIENCE)
