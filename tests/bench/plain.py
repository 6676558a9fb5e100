"""A plain program on azure-iot-device, written in the simplest way: what the bench compares with.

It registers, connects, answers every command with 200, and sends readings. It keeps nothing.
"""

import argparse
import asyncio
import json
import random
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from azure.iot.device import Message, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient


def reading():
    body = {"temp": round(random.uniform(19, 22), 1), "humid": round(random.uniform(40, 50), 1)}  # noqa: S311 - weather, not secrets.
    message = Message(
        json.dumps(body),
        message_id=str(uuid.uuid4()),
        content_encoding="utf-8",
        content_type="application/json",
    )
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message.custom_properties["iothub-creation-time-utc"] = now
    return message


async def connect(options, key, ca):
    provisioning = ProvisioningDeviceClient.create_from_symmetric_key(
        options.host, options.device_id, options.id_scope, key, server_verification_cert=ca
    )
    registration = await provisioning.register()
    assert registration.registration_state is not None, registration.status
    client = IoTHubDeviceClient.create_from_symmetric_key(
        key,
        registration.registration_state.assigned_hub,
        options.device_id,
        server_verification_cert=ca,
    )
    await client.connect()

    async def obey(request):
        response = MethodResponse.create_from_method_request(request, 200, None)
        await client.send_method_response(response)

    client.on_method_request_received = obey
    return client


async def send_one_by_one(client, count, interval):
    due = time.monotonic()
    for _ in range(count):
        await client.send_message(reading())
        due += interval
        await asyncio.sleep(due - time.monotonic() if interval else 0)


async def send_in_flight(client, count, most):
    window = asyncio.Semaphore(most)

    async def one():
        await client.send_message(reading())
        window.release()

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            await window.acquire()
            group.create_task(one())


async def main(options, key, ca):
    client = await connect(options, key, ca)
    if options.in_flight == 1:
        await send_one_by_one(client, options.count, options.interval)
    else:
        await send_in_flight(client, options.count, options.in_flight)
    await asyncio.Event().wait()  # Connected, and open to commands, until it is ended.


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("host", "id_scope", "device_id", "key_file", "ca_file"):
        parser.add_argument(name)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--interval", type=float, default=0.0, help="seconds between two readings")
    arguments = parser.parse_args()
    secrets = Path(arguments.key_file).read_text(), Path(arguments.ca_file).read_text()
    asyncio.run(main(arguments, *secrets))
