"""The room of a fake daemon: a way from the page to the daemon's control socket."""

import asyncio
import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web

from central.console.responses import CENTRAL, RestError, answer, not_found, read_object
from central.protocol.twins import parse_json

routes = web.RouteTableDef()

PATIENCE = 5.0  # Seconds for the daemon to answer.
LONGEST_LINE = 64 * 1024


@routes.get("/console/api/room")
async def get_room(request: web.Request) -> web.Response:
    return answer(await ask(_socket(request), {"command": "room"}))


@routes.post("/console/api/room")
async def set_room(request: web.Request) -> web.Response:
    wishes = await read_object(request)
    return answer(await ask(_socket(request), {"command": "room", "set": wishes}))


async def ask(socket: Path, request: dict[str, Any]) -> Any:
    """Ask the daemon: one JSON object a line each way. Return its room.

    Raises `RestError`: 400 with the daemon's own sentence if it refuses, 503 if it is not there.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            line = await _exchange(socket, json.dumps(request).encode() + b"\n")
        reply = parse_json(line)
    except (OSError, ValueError) as error:
        raise RestError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The daemon with the simulated room does not answer; is it running?",
        ) from error
    if not isinstance(reply, dict) or reply.get("ok") is not True:
        sentence = reply.get("error") if isinstance(reply, dict) else None
        raise RestError(HTTPStatus.BAD_REQUEST, str(sentence or "The daemon refused."))
    return reply.get("room")


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
        raise not_found("This central was started without a room to play with.")
    return socket
