"""Commands for the page: the history of all commands of a device, and queued commands."""

from typing import Any

from aiohttp import web

from central.console.responses import CENTRAL, answer, find_device, look_up, maybe_iso, read_object
from central.console.rest.commands import command_body, command_name
from central.console.rest.properties import unwrap
from central.console.routes import Routes
from central.console.sign_in.roles import Permission
from central.hub.hub import TIME_TO_LIVE
from central.records import Command, iso
from central.storage import history

routes = Routes()


@routes.on("GET", "/console/api/devices/{device}/commands", needs=Permission.VIEW)
async def list_commands(request: web.Request) -> web.Response:
    commands = await look_up(request, history.commands, request.match_info["device"])
    return answer({"value": [history_body(command) for command in commands]})


@routes.on("POST", "/console/api/devices/{device}/queue/{command}", needs=Permission.OPERATE)
@routes.on(
    "POST",
    "/console/api/devices/{device}/components/{component}/queue/{command}",
    needs=Permission.OPERATE,
)
async def queue_command(request: web.Request) -> web.Response:
    """Queue a command for up to 24 hours, until the device connects."""
    central, device = request.app[CENTRAL], await find_device(request)
    body = await read_object(request) if request.body_exists else {}
    name = command_name(request)
    command = await central.hub.queue_command(device.id, name, body.get("request"))
    return answer(history_body(command))


def history_body(command: Command) -> dict[str, Any]:
    """Return a command with its times, and the result of a long-running one."""
    return {
        **command_body(command),
        "name": command.name,
        "asked": iso(command.asked),
        "answered": maybe_iso(command.answered),
        "queued": command.queued,
        "expires": iso(command.asked + TIME_TO_LIVE) if command.queued else None,
        "completion": unwrap(command.completion)[0],
        "completed": maybe_iso(command.completed),
    }
