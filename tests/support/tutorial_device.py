"""The device that Microsoft's 2020 tutorial for IoT Central builds, step by step.

Its calls of the SDK are the tutorial's own; the values come from the environment:
ID_SCOPE, DEVICE_ID, PRIMARY_KEY, PROVISIONING_HOST, and DELAY (seconds between two readings).
"""

import asyncio
import json
import os
import random
from datetime import UTC, datetime

from azure.iot.device import Message, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient

PROVISIONING_HOST = os.environ.get("PROVISIONING_HOST", "global.azure-devices-provisioning.net")
DELAY = float(os.environ.get("DELAY", "2"))


async def register_device():
    client = ProvisioningDeviceClient.create_from_symmetric_key(
        provisioning_host=PROVISIONING_HOST,
        registration_id=os.environ["DEVICE_ID"],
        id_scope=os.environ["ID_SCOPE"],
        symmetric_key=os.environ["PRIMARY_KEY"],
    )
    result = await client.register()
    print(f"Registration result: {result.status}")
    return result


async def connect_device():
    result = await register_device()
    if result.status != "assigned":
        return None
    client = IoTHubDeviceClient.create_from_symmetric_key(
        symmetric_key=os.environ["PRIMARY_KEY"],
        hostname=result.registration_state.assigned_hub,
        device_id=result.registration_state.device_id,
    )
    await client.connect()
    print("Device connected")
    return client


async def send_telemetry(client):
    while True:
        temperature, humidity = random.randrange(1, 75), random.randrange(30, 99)  # noqa: S311 - weather
        reading = {"temp": temperature, "humid": humidity}
        await client.send_message(Message(json.dumps(reading)))
        await asyncio.sleep(DELAY)


async def respond(client, request, status, payload=None):
    response = MethodResponse.create_from_method_request(request, status=status, payload=payload)
    await client.send_method_response(response)


async def blink(client, request):
    payload = {"description": f"Blinking LED every {request.payload} seconds"}
    await respond(client, request, 200, payload)


async def run_diagnostics(client, request):
    await respond(client, request, 202)
    await asyncio.sleep(3 * DELAY)
    done = f"Diagnostics run complete at {datetime.now(UTC)}."
    await client.patch_twin_reported_properties({"rundiagnostics": {"value": done}})


async def turn_on(client, request):
    await respond(client, request, 200)


async def turn_off(client, request):
    await respond(client, request, 200)


COMMANDS = {
    "blink": blink,
    "rundiagnostics": run_diagnostics,
    "turnon": turn_on,
    "turnoff": turn_off,
}


async def command_listener(client):
    while True:
        request = await client.receive_method_request()
        await COMMANDS[request.name](client, request)


async def name_setting(client, value, version):
    await asyncio.sleep(DELAY / 2)
    done = {"value": value["value"], "status": "completed", "desiredVersion": version}
    await client.patch_twin_reported_properties({"name": done})


async def brightness_setting(client, value, version):
    await asyncio.sleep(DELAY)
    done = {"value": value["value"], "status": "completed", "desiredVersion": version}
    await client.patch_twin_reported_properties({"brightness": done})


SETTINGS = {"name": name_setting, "brightness": brightness_setting}


async def twin_patch_listener(client):
    while True:
        patch = await client.receive_twin_desired_properties_patch()
        to_update = patch.keys() & SETTINGS.keys()
        await asyncio.gather(
            *[SETTINGS[name](client, patch[name], patch["$version"]) for name in to_update]
        )


def stdin_listener():
    while input("Press Q to quit\n") not in {"Q", "q"}:
        pass
    print("Quitting")


async def main():
    client = await connect_device()
    if client is None or not client.connected:
        print("Device could not connect")
        return
    await client.patch_twin_reported_properties({"state": "true"})
    tasks = asyncio.gather(
        send_telemetry(client), command_listener(client), twin_patch_listener(client)
    )
    await asyncio.get_running_loop().run_in_executor(None, stdin_listener)
    tasks.add_done_callback(lambda done: done.exception())
    tasks.cancel()
    await client.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
