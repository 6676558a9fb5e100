"""What the page asks beyond IoT Central's own paths."""

import json
import math
import time
from typing import TYPE_CHECKING, Any, TypeGuard

from aiohttp import web

from central.console import models
from central.console.answers import (
    CENTRAL,
    answer,
    bad_request,
    iso,
    maybe_iso,
    query_number,
    read_object,
)
from central.console.commands import command_body, command_name
from central.console.devices import device_body
from central.console.live import message_body
from central.console.properties import unwrap
from central.records import Command, Device
from central.registry import Registry

if TYPE_CHECKING:
    from central.server import Central

routes = web.RouteTableDef()

MOST_MESSAGES = 500
MOST_NAMES = 8
MOST_POINTS = 2000  # Of one series: more than a chart has pixels.
DAY = 86400.0
SHOWN = 2  # Telemetry values that the list shows of each device.

Point = tuple[float, float]


@routes.get("/console/api/central")
async def about_central(request: web.Request) -> web.Response:
    """Answer with what a device needs to connect, and whether there is a room to play with."""
    central = request.app[CENTRAL]
    return answer(
        {
            "idScope": central.id_scope,
            "provisioningHost": central.mqtt_host,
            "port": central.mqtt_port,
            "caFile": str(central.ca_file.absolute()),
            "room": central.settings.room_socket is not None,
            "now": iso(time.time()),
        }
    )


@routes.get("/console/api/devices")
async def list_devices(request: web.Request) -> web.Response:
    central = request.app[CENTRAL]
    devices = sorted(central.registry.devices(), key=lambda device: device.id)
    return answer({"value": [overview(central, device) for device in devices]})


@routes.get("/console/api/devices/{device}")
async def get_device(request: web.Request) -> web.Response:
    central = request.app[CENTRAL]
    return answer(overview(central, central.registry.device(request.match_info["device"])))


@routes.get("/console/api/devices/{device}/messages")
async def list_messages(request: web.Request) -> web.Response:
    registry = request.app[CENTRAL].registry
    device = registry.device(request.match_info["device"])
    limit = query_number(request, "limit", 100, least=1, most=MOST_MESSAGES)
    before = query_number(request, "before", 2.0**53, least=1, most=2.0**53)
    messages = registry.messages(device.id, limit=int(limit), before=int(before))
    return answer({"value": [message_body(message) for message in messages]})


@routes.get("/console/api/devices/{device}/series")
async def get_series(request: web.Request) -> web.Response:
    """Answer with `times` (unix seconds) and `values` of each name asked, and its last value."""
    registry = request.app[CENTRAL].registry
    device = registry.device(request.match_info["device"])
    names = request.query.getall("name", [])
    if len(names) > MOST_NAMES:
        raise bad_request(f"At most {MOST_NAMES} names.", code="InvalidQuery")
    until = query_number(request, "until", time.time() + DAY, least=0, most=1e11)
    since = query_number(request, "since", until - DAY, least=0, most=1e11)
    series = {}
    for name in names:
        found = registry.telemetry_series(device.id, name, since=since, until=until)
        points = thin([(at, float(value)) for at, value in found if _is_number(value)])
        series[name] = {
            "times": [at for at, _ in points],
            "values": [value for _, value in points],
            "last": _last(registry, device, name),
        }
    return answer(series)


@routes.get("/console/api/devices/{device}/commands")
async def list_commands(request: web.Request) -> web.Response:
    registry = request.app[CENTRAL].registry
    device = registry.device(request.match_info["device"])
    return answer({"value": [history_body(command) for command in registry.commands(device.id)]})


@routes.get("/console/api/devices/{device}/connections")
async def list_connections(request: web.Request) -> web.Response:
    registry = request.app[CENTRAL].registry
    device = registry.device(request.match_info["device"])
    log = [
        {"at": iso(entry.at), "event": entry.event, "detail": entry.detail}
        for entry in registry.connections(device.id)
    ]
    return answer({"value": log})


@routes.post("/console/api/devices/{device}/queue/{command}")
async def queue_command(request: web.Request) -> web.Response:
    """Queue a command for a device that may be offline: sent once it connects, for 24 hours."""
    central = request.app[CENTRAL]
    device = central.registry.device(request.match_info["device"])
    body = await read_object(request) if request.can_read_body else {}
    name = command_name(request)
    command = await central.hub.queue_command(device.id, name, body.get("request"))
    return answer(history_body(command))


def overview(central: "Central", device: Device) -> dict[str, Any]:
    """Write a device with what the list shows of it."""
    connected = central.hub.connected(device.id)
    seen = central.hub.last_seen(device.id)
    names = models.numeric_telemetry(models.interface_of(central.registry, device) or {})
    names = names or sent_numbers(central.registry, device)
    return {
        **device_body(device),
        "created": iso(device.created),
        "connected": connected,
        "connectedSince": maybe_iso(central.hub.connected_since(device.id) if connected else None),
        "lastSeen": maybe_iso(seen),
        "telemetry": {name: _last(central.registry, device, name) for name in names[:SHOWN]},
    }


def history_body(command: Command) -> dict[str, Any]:
    """Write a command with its times, and the later completion of a long-running one."""
    return {
        **command_body(command),
        "name": command.name,
        "asked": iso(command.asked),
        "answered": maybe_iso(command.answered),
        "queued": command.queued,
        "completion": unwrap(command.completion)[0],
        "completed": maybe_iso(command.completed),
    }


def sent_numbers(registry: Registry, device: Device) -> list[str]:
    """Return the names of the numbers in the newest message: there is no model to tell them."""
    for message in registry.messages(device.id, limit=1):
        try:
            body = json.loads(message.body)
        except (ValueError, RecursionError):
            return []
        if isinstance(body, dict):
            return [name for name, value in body.items() if _is_number(value)]
    return []


def thin(points: list[Point]) -> list[Point]:
    """Keep, of more points than a chart can show, the lowest and highest of each short time."""
    if len(points) <= MOST_POINTS:
        return points
    width = math.ceil(len(points) / (MOST_POINTS // 2))
    kept: list[Point] = []
    for start in range(0, len(points), width):
        some = points[start : start + width]
        extremes = {min(some, key=lambda point: point[1]), max(some, key=lambda point: point[1])}
        kept += sorted(extremes)
    return kept


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _last(registry: Registry, device: Device, name: str) -> dict[str, Any] | None:
    last = registry.last_telemetry(device.id, name)
    return None if last is None else {"timestamp": iso(last[0]), "value": last[1]}
