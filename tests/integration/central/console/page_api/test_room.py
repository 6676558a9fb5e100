"""The simulated room, as the page sets it."""

import asyncio
import json

import aiohttp
import pytest
from consoles import ask, refused

from central.application import Settings
from central.console.run import open_central


@pytest.fixture
async def daemon(settings):
    """Serve the control socket. Yield the requests and the replies to send."""
    asked = []
    replies: list[bytes] = []

    async def serve(reader, writer):
        asked.append(json.loads(await reader.readline()))
        writer.write(replies.pop(0))
        writer.close()

    server = await asyncio.start_unix_server(serve, settings.room_socket)
    yield asked, replies
    server.close()


async def test_the_room_is_read_and_changed(http, daemon):
    asked, replies = daemon
    room = {"temperature": None, "climate": {"temperature": 21.5}}
    reply = {"ok": True, "room": room, "device": "pi-1"}
    replies += [json.dumps(reply).encode() + b"\n"] * 2
    shown = {**room, "device": "pi-1"}
    assert await ask(http, "GET", "/console/api/room") == shown
    assert await ask(http, "POST", "/console/api/room", {"temperature": 30}) == shown
    assert asked == [{"command": "room"}, {"command": "room", "set": {"temperature": 30}}]


async def test_the_reason_of_the_daemon_is_returned(http, daemon):
    _, replies = daemon
    replies.append(b'{"ok": false, "error": "A room has no fault."}\n')
    answer = await ask(http, "POST", "/console/api/room", {"fault": "?"}, expect=400)
    assert answer["error"]["message"] == "A room has no fault."


@pytest.mark.parametrize("reply", [b"", b"{}", b"[]\n", b"\xff\n", b"x" * 100_000 + b"\n"])
async def test_an_invalid_reply_of_the_daemon_is_an_error(http, daemon, reply):
    _, replies = daemon
    replies.append(reply)
    async with http.post("/console/api/room", json={}) as response:
        assert response.status in (400, 503)
        assert "daemon" in (await response.json())["error"]["message"]


async def test_a_missing_daemon_is_503(http):
    answer = await ask(http, "POST", "/console/api/room", {}, expect=503)
    assert "Check that it is running" in answer["error"]["message"]


async def test_without_a_room_its_path_is_404(tmp_path):
    bare = Settings(data_dir=tmp_path / "bare", mqtt_port=0, http_port=0)
    async with open_central(bare) as central, aiohttp.ClientSession(central.http) as http:
        assert (await ask(http, "GET", "/console/api/central"))["room"] is False
        await refused(http, "POST", "/console/api/room", {}, expect=404)
