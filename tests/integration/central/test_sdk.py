"""Azure's SDK for Python against central."""

import asyncio
import itertools
import json
import os
import queue
import subprocess
import sys
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
from centrals import running_central
from optional import several_loopbacks

from central.storage import devices, telemetry

MODEL = "dtmi:test:Model;1"
PATIENCE = 30.0

ids = itertools.count(1)


@pytest.fixture
def device():
    return f"sdk-{next(ids)}"


def provisioning(central, device, *, kind=ProvisioningDeviceClient, key=None, id_scope=None):
    return kind.create_from_symmetric_key(
        provisioning_host=central.info["mqtt_host"],
        registration_id=device,
        id_scope=id_scope or central.info["id_scope"],
        symmetric_key=key or central.key(device),
        server_verification_cert=central.ca,
    )


def hub_client(central, device, hub, *, kind=IoTHubDeviceClient, key=None, **options):
    return kind.create_from_symmetric_key(
        key or central.key(device),
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


def test_many_simultaneous_messages_arrive_unchanged(central, device):
    result = provisioning(central, device).register()

    async def send():
        client = hub_client(
            central,
            device,
            result.registration_state.assigned_hub,
            kind=AsyncIoTHubDeviceClient,
        )
        await client.connect()
        await asyncio.gather(*[client.send_message(json.dumps({"n": n})) for n in range(500)])
        await client.shutdown()

    asyncio.run(send())
    received = central.read(telemetry.messages, device, limit=1000)
    assert sorted(json.loads(m.body)["n"] for m in received) == list(range(500))


def shut_down(client):
    """Shut down a failed provisioning client, for which the SDK has no public method."""
    done = threading.Event()
    client._pipeline.shutdown(callback=lambda **_: done.set())
    assert done.wait(PATIENCE)


@pytest.mark.parametrize(
    ("case", "status"), [("wrong key", "401"), ("blocked", "disabled"), ("name", "failed")]
)
def test_a_refused_registration_is_an_error_of_the_service(central, device, case, status):
    key = None
    if case == "wrong key":
        key = central.key("another")
    elif case == "blocked":
        central.call(lambda c: c.registry.add_device(device))
        central.call(lambda c: c.registry.update_device(device, enabled=False))
    else:
        device += "_x"
    client = provisioning(central, device, key=key)
    with pytest.raises(exceptions.ClientError) as refused:
        client.register()
    cause = refused.value.__cause__
    assert isinstance(cause, exceptions.ServiceError)
    assert status in str(cause)
    shut_down(client)


def test_a_wrong_id_scope_is_a_failed_connection(central, device):
    client = provisioning(central, device, id_scope="0ne00000000")
    with pytest.raises(exceptions.ConnectionFailedError):
        client.register()
    shut_down(client)


def test_a_wrong_key_at_the_hub_is_a_credential_error(central, device):
    central.call(lambda c: c.registry.add_device(device))
    hub, wrong = central.info["mqtt_host"], central.key("another")
    client = hub_client(central, device, hub, key=wrong, connection_retry=False)
    with pytest.raises(exceptions.CredentialError):
        client.connect()
    client.shutdown()


PROXIED = """
import os
from azure.iot.device import IoTHubDeviceClient, ProvisioningDeviceClient
key = os.environ["KEY"]
result = ProvisioningDeviceClient.create_from_symmetric_key(
    "global.azure-devices-provisioning.net", "proxied-1", os.environ["ID_SCOPE"], key
).register()
print(result.registration_state.assigned_hub)
client = IoTHubDeviceClient.create_from_symmetric_key(
    key, result.registration_state.assigned_hub, result.registration_state.device_id
)
client.connect()
client.send_message("through the proxy")
client.shutdown()
"""


@pytest.mark.parametrize("mqtt_port", [pytest.param(8883, marks=several_loopbacks), 0])
def test_an_unmodified_program_works_through_the_proxy(tmp_path, mqtt_port):
    with running_central(tmp_path, mqtt_port=mqtt_port) as central:
        environment = {
            **os.environ,
            "mqtt_proxy": central.info["proxy"],
            "no_proxy": "",
            "SSL_CERT_FILE": central.info["ca_file"],
            "ID_SCOPE": central.info["id_scope"],
            "KEY": central.key("proxied-1"),
        }
        program = subprocess.run(
            [sys.executable, "-c", PROXIED],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert program.returncode == 0, program.stderr
        assert program.stdout.strip() == "central.azure-devices.net"
        (message,) = central.read(telemetry.messages, "proxied-1")
        assert message.body == b"through the proxy"
