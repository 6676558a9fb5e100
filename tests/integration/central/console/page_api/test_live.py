"""Server-sent events."""

import asyncio
import contextlib
import json

import aiohttp
import pytest
from consoles import eventually

from central.console.page_api.live import MOST_STREAMS
from central.console.run import open_central

PATIENCE = 20  # Seconds.


class Stream:
    """Server-sent events, read one by one."""

    def __init__(self, response):
        self._content = response.content

    async def next(self):
        kind = None
        async with asyncio.timeout(PATIENCE):
            async for raw in self._content:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    return kind, json.loads(line.removeprefix("data: "))
        return None

    async def find(self, kind):
        while (event := await self.next()) is not None:
            if event[0] == kind:
                return event[1]
        return pytest.fail(f"The stream ended before {kind}.")


async def ended(stream):
    """Wait until central ends a stream, cleanly or not."""
    with contextlib.suppress(aiohttp.ClientError):
        await stream.read()


async def test_messages_of_the_watched_device_are_complete(http, device):
    async with http.get("/console/api/events?device=pi-1") as response:
        assert response.content_type == "text/event-stream"
        stream = Stream(response)
        assert "now" in await stream.find("hello")
        await device.send({"temp": 21.5})
        event = await stream.find("telemetry")
    assert json.loads(event["message"]["body"]) == {"temp": 21.5}


async def test_events_of_all_devices_are_gathered(http, device):
    async with http.get("/console/api/events") as response:
        stream = Stream(response)
        await stream.find("hello")
        for _ in range(3):
            await device.send({"temp": 21.5})
        assert await stream.find("telemetry") == {"device": "pi-1"}


async def test_a_stream_of_one_device_has_no_other_events(http, central):
    async with http.get("/console/api/events?device=pi-1") as response:
        stream = Stream(response)
        await stream.find("hello")
        central.registry.add_device("pi-2")
        await central.hub.set_desired("pi-2", {"a": 1})
        await central.hub.set_desired("pi-1", {"a": 1})
        assert (await stream.next())[1]["device"] == "pi-1"


async def test_changes_are_events(http, central):
    async with http.get("/console/api/events") as response:
        stream = Stream(response)
        await stream.find("hello")
        central.registry.add_device("pi-2")
        assert await stream.find("device") == {"device": "pi-2"}
        await central.hub.set_desired("pi-2", {"a": 1})
        assert await stream.find("twin") == {"device": "pi-2"}


async def test_streams_are_bounded_and_end_with_central(settings):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        async with open_central(settings) as central:
            url = f"{central.http}console/api/events"
            streams = [await http.get(url) for _ in range(MOST_STREAMS)]
            for stream in streams:
                await Stream(stream).find("hello")
            async with http.get(url) as one_more:
                assert one_more.status == 503
        async with asyncio.timeout(PATIENCE):
            for stream in streams:
                await ended(stream)


async def test_a_closed_page_frees_its_stream(http, central):
    for _ in range(MOST_STREAMS):
        async with http.get("/console/api/events") as response:
            await Stream(response).find("hello")
        central.registry.update_device("pi-1", display_name="Wakes the stream")

    async def served():
        async with http.get("/console/api/events") as response:
            return response.status == 200

    await eventually(served)
