"""Commands by IoT Central's REST paths: call one and wait for its response; their history."""

import re
from http import HTTPStatus
from typing import Any

from aiohttp import web

from central.console.responses import (
    CENTRAL,
    answer,
    bad_request,
    checked_number,
    find_device,
    look_up,
)
from central.console.rest.paths import Body, Paths
from central.console.sign_in.roles import Permission
from central.records import Command
from central.storage import history

routes = Paths()

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


def command_body(command: Command) -> dict[str, Any]:
    """Return a command in IoT Central's form, without absent fields."""
    body = {
        "id": command.id,
        "request": command.request,
        "response": command.response,
        "responseCode": command.status,
    }
    return {key: value for key, value in body.items() if value is not None}


PATHS = (
    "/api/devices/{device}/commands/{command}",
    "/api/devices/{device}/components/{component}/commands/{command}",
)


@routes.on_body(
    "POST",
    *PATHS,
    fields=("request", "connectionTimeout", "responseTimeout"),
    needs=Permission.OPERATE,
)
async def call_command(request: web.Request, body: Body) -> web.Response:
    central, device = request.app[CENTRAL], await find_device(request)
    name = command_name(request)
    command = await central.hub.call(
        device.id,
        name,
        body.get("request"),
        connect_timeout=checked_number(
            body.get("connectionTimeout", 0), "connectionTimeout", least=0, most=30
        ),
        response_timeout=checked_number(
            body.get("responseTimeout", 30), "responseTimeout", least=5, most=30
        ),
    )
    return answer(command_body(command), status=HTTPStatus.CREATED)


@routes.on("GET", *PATHS, needs=Permission.VIEW)
async def command_history(request: web.Request) -> web.Response:
    device_id, name = request.match_info["device"], command_name(request)
    commands = await look_up(request, history.commands, device_id, name)
    return answer({"value": [command_body(command) for command in commands]})


def command_name(request: web.Request) -> str:
    """Return the command's name on the wire: `component*command` in a component."""
    parts = [request.match_info.get("component"), request.match_info["command"]]
    names = [part for part in parts if part is not None]
    for name in names:
        if not NAME.fullmatch(name):
            raise bad_request(f"{name[:80]!r} is not a valid name of a command or component.")
    return "*".join(names)
