"""Many connected devices that acknowledge the properties that they are asked to set."""

import asyncio
import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

from centrals import Reachable
from mqtt_client import DESIRED, TWIN, TWIN_REPORT, MqttClient

WHY = "telemetryInterval must be a whole number from 5 to 86400."
AT_ONCE = 8  # Devices that connect at the same time.


@contextlib.asynccontextmanager
async def answering_devices(central, ids, *, refusing=()):
    """Connect these devices inside the `with` block. Those that refuse do so with WHY."""
    place = Reachable()
    place.info = central.info()
    clients = []

    def connect(device_id):
        client = MqttClient(place)
        clients.append(client)
        assert client.connect_as(place, device_id)[1] == 0
        client.subscribe(DESIRED, TWIN)
        answering = threading.Thread(target=_answer, args=(client, device_id in refusing))
        answering.start()
        return answering

    with ThreadPoolExecutor(AT_ONCE) as pool:
        loop = asyncio.get_running_loop()
        threads = await asyncio.gather(*[loop.run_in_executor(pool, connect, i) for i in ids])
    try:
        yield
    finally:
        for client in clients:
            client.disconnect()
        for thread in threads:
            await asyncio.to_thread(thread.join, 20)
        for client in clients:
            client.close()


def _answer(client, refuses):
    """Acknowledge each desired property until the connection ends."""
    with contextlib.suppress(OSError, EOFError):
        while True:
            received = client.receive()
            if received.kind != 3 or "/desired/" not in received.topic:
                continue
            version = int(parse_qs(received.topic.partition("?")[2])["$version"][0])
            ack = {"ac": 400, "ad": WHY} if refuses else {"ac": 200}
            reported = {
                name: {"value": value.get("value", value), "av": version, **ack}
                if isinstance(value, dict)  # As central sends it to a device without a model.
                else {"value": value, "av": version, **ack}
                for name, value in json.loads(received.body).items()
                if name != "$version"
            }
            client.publish(TWIN_REPORT, json.dumps(reported).encode(), flags=0)
