"""The simulated room, behind the control socket of a daemon with a simulated board."""

import asyncio
import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web

from central.console.responses import CENTRAL, RestError, answer, not_found, read_object
from central.console.routes import Routes
from central.console.sign_in.roles import Permission
from central.protocol.twins import parse_json

routes = Routes()

TIMEOUT = 5.0  # Seconds for the daemon to reply.
LONGEST_LINE = 64 * 1024


@routes.on("GET", "/console/api/room", needs=Permission.VIEW)
async def get_room(request: web.Request) -> web.Response:
    return answer(await ask(_socket(request), {"command": "room"}))


@routes.on("POST", "/console/api/room", needs=Permission.OPERATE)
async def set_room(request: web.Request) -> web.Response:
    wishes = await read_object(request)
    return answer(await ask(_socket(request), {"command": "room", "set": wishes}))


async def ask(socket: Path, request: dict[str, Any]) -> Any:
    """Send a request to the daemon, and return the room it replies, with the id of its `device`.

    Raises `RestError`: 400 with the daemon's reason if it refuses, 503 if it does not reply.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            line = await _exchange(socket, json.dumps(request).encode() + b"\n")
        reply = parse_json(line)
    except (OSError, ValueError) as error:
        raise RestError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The daemon with the simulated room does not reply. Check that it is running.",
        ) from error
    if not isinstance(reply, dict) or reply.get("ok") is not True:
        sentence = reply.get("error") if isinstance(reply, dict) else None
        raise RestError(
            HTTPStatus.BAD_REQUEST,
            str(sentence or "The daemon refused the request without a reason."),
        )
    room, device = reply.get("room"), reply.get("device")
    return {**(room if isinstance(room, dict) else {}), "device": device}


async def _exchange(socket: Path, line: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(socket), limit=LONGEST_LINE)
    try:
        writer.write(line)
        await writer.drain()
        return await reader.readline()
    finally:
        writer.close()


def _socket(request: web.Request) -> Path:
    socket: Path | None = request.app[CENTRAL].settings.room_socket
    if socket is None:
        raise not_found("This central has no simulated room. Start it with sensor-agent demo.")
    return socket
