"""A model, a device that implements it, and requests, for tests of the console."""

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

from azure.iot.device import Message, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient
from azure.iot.device.exceptions import NoConnectionError

MODEL_ID = "dtmi:test:Climate;1"
INFORMATION_ID = "dtmi:test:Information;1"

MODEL: dict[str, Any] = {
    "@context": "dtmi:dtdl:context;2",
    "@id": MODEL_ID,
    "@type": "Interface",
    "displayName": "Climate",
    "contents": [
        {
            "@type": ["Telemetry", "Temperature"],
            "name": "temp",
            "displayName": {"en": "Temperature", "sv": "Temperatur"},
            "schema": "double",
            "unit": "degreeCelsius",
        },
        {
            "@type": "Telemetry",
            "name": "humid",
            "displayName": "Humidity",
            "schema": "double",
            "unit": "percent",
        },
        {"@type": "Property", "name": "state", "displayName": "State", "schema": "boolean"},
        {
            "@type": "Property",
            "name": "ledState",
            "displayName": "LED state",
            "schema": {
                "@type": "Enum",
                "valueSchema": "string",
                "enumValues": [
                    {"name": "off", "displayName": "Off", "enumValue": "off"},
                    {"name": "blinking", "displayName": "Blinking", "enumValue": "blinking"},
                ],
            },
        },
        {
            "@type": "Property",
            "name": "brightness",
            "displayName": "Brightness level",
            "schema": "long",
            "writable": True,
        },
        {
            "@type": "Property",
            "name": "name",
            "displayName": "Customer name",
            "schema": "string",
            "writable": True,
        },
        {
            "@type": "Command",
            "name": "blink",
            "displayName": "Blink",
            "request": {"name": "interval", "displayName": "Interval", "schema": "long"},
            "response": {"name": "answer", "schema": {"@type": "Object", "fields": []}},
        },
        {"@type": "Command", "name": "turnoff", "displayName": "Turn off"},
        {"@type": "Command", "name": "rundiagnostics", "displayName": "Run diagnostics"},
        {
            "@type": "Component",
            "name": "information",
            "displayName": "Information",
            "schema": INFORMATION_ID,
        },
    ],
}

INFORMATION = {
    "@context": "dtmi:dtdl:context;2",
    "@id": INFORMATION_ID,
    "@type": "Interface",
    "displayName": "Information",
    "contents": [
        {"@type": "Property", "name": "maker", "displayName": "Maker", "schema": "string"},
        {"@type": "Property", "name": "limit", "schema": "double", "writable": True},
        {"@type": "Command", "name": "reset"},
    ],
}


class ClimateDevice:
    """A device with MODEL, using the unchanged SDK."""

    def __init__(self, client):
        self._client = client
        self.calls = []
        self.diagnosis = "All is well."

    async def send(self, body, **properties):
        text = body if isinstance(body, str) else json.dumps(body)
        message = Message(text, content_encoding="utf-8", content_type="application/json")
        message.custom_properties.update(properties)
        await self._client.send_message(message)

    async def report(self, patch):
        await self._client.patch_twin_reported_properties(patch)

    async def obey(self, request):
        self.calls.append((request.name, request.payload))
        status = 200
        payload: dict[str, Any] | None = None
        match request.name:
            case "blink" if isinstance(request.payload, int):
                payload = {"description": f"Blinking every {request.payload} s"}
                await self.report({"ledState": "blinking"})
            case "blink":
                status, payload = 400, {"description": "The interval must be a number."}
            case "turnoff" | "information*reset":
                pass
            case "rundiagnostics":
                status = 202
            case "hang":
                return
            case _:
                status = 404
        response = MethodResponse.create_from_method_request(request, status, payload)
        await self._client.send_method_response(response)
        if request.name == "rundiagnostics":
            await self.report({"rundiagnostics": {"value": self.diagnosis}})

    async def take(self, patch):
        version = patch["$version"]
        for name, value in patch.items():
            if name == "brightness":
                good = value in (1, 2, 3)
                ack = {"value": value if good else 1, "ac": 200 if good else 400, "av": version}
                ack["ad"] = "completed" if good else f"Brightness is 1, 2 or 3, not {value}."
                await self.report({name: ack})
            elif name == "name":
                await self.report({name: {"value": value, "ac": 200, "av": version}})


@asynccontextmanager
async def climate_device(central):
    """Connect the device pi-1, which central knows, with its primary key."""
    primary, _ = central.registry.keys("pi-1")
    client = IoTHubDeviceClient.create_from_symmetric_key(
        primary,
        central.mqtt_host,
        "pi-1",
        server_verification_cert=central.ca_file.read_text(),
        product_info=MODEL_ID,
        connection_retry=False,
    )
    device = ClimateDevice(client)
    try:
        async with asyncio.timeout(30):
            await client.connect()
            # Setting a handler waits for the hub, which runs in this loop.
            await asyncio.to_thread(setattr, client, "on_method_request_received", device.obey)
            await asyncio.to_thread(
                setattr, client, "on_twin_desired_properties_patch_received", device.take
            )
        yield device
    finally:
        async with asyncio.timeout(30):
            try:
                await client.shutdown()
            except NoConnectionError:
                # The connection was lost while it was being closed: the SDK stopped half-way.
                await client.shutdown()


async def record(central, body, *, device="pi-1", created=None, properties=None, **system):
    """Record a message, as if the device had sent it, and return it."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await central.registry.record_message(
        device, created=created, body=data, properties=properties or {}, system=system
    )


async def eventually(check, *, patience=20):
    """Wait until `check()`, which may be async, returns something true, and return that."""
    async with asyncio.timeout(patience):
        while True:
            found = check()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)


async def ask(http, method, path, body=None, *, expect=200, **kwargs):
    if body is not None:
        kwargs["json"] = body
    async with http.request(method, path, **kwargs) as response:
        text = await response.text()
        assert response.status == expect, text
        return json.loads(text) if text else None


async def refused(http, method, path, body=None, *, expect, **kwargs):
    answer = await ask(http, method, path, body, expect=expect, **kwargs)
    assert answer["error"].keys() == {"code", "message", "requestId", "time"}
    assert " " in answer["error"]["message"]  # A sentence.
    return answer["error"]
