"""What the page asks beyond IoT Central's own paths."""

import json
import math
import time
from typing import TYPE_CHECKING, Any, TypeGuard

from aiohttp import web

from central.console import dtdl
from central.console.responses import (
    CENTRAL,
    answer,
    find_device,
    iso,
    look_up,
    maybe_iso,
    read_object,
)
from central.console.rest.commands import command_body, command_name
from central.console.rest.devices import device_body
from central.console.rest.properties import unwrap
from central.hub.hub import TIME_TO_LIVE
from central.records import Command, Connection, Device
from central.storage import devices, history, telemetry
from central.storage.store import Store

if TYPE_CHECKING:
    from central.application import Central

routes = web.RouteTableDef()

SHOWN = 2  # Telemetry values that the list shows of each device.


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
            "local": central.is_local,
            "room": central.settings.room_socket is not None,
            "now": iso(time.time()),
        }
    )


@routes.get("/console/api/ca.pem")
async def get_authority(request: web.Request) -> web.Response:
    """Answer with the certificate that devices must trust. It is no secret."""
    text = await look_up(request.app[CENTRAL].ca_file.read_text)
    return web.Response(text=text, content_type="application/x-pem-file")


@routes.get("/console/api/devices")
async def list_devices(request: web.Request) -> web.Response:
    """Answer with all devices, the last values of each, and whether any fault is on."""
    central = request.app[CENTRAL]

    def overviews() -> list[dict[str, Any]]:
        names: dict[str | None, list[str]] = {}  # By template: reading one takes a while.
        return [overview(central, device, names) for device in central.store.read(devices.get_all)]

    return answer({"value": await look_up(overviews)})


@routes.get("/console/api/devices/{device}")
async def get_device(request: web.Request) -> web.Response:
    central, device = request.app[CENTRAL], await find_device(request)
    return answer(await look_up(lambda: overview(central, device, {})))


@routes.get("/console/api/devices/{device}/commands")
async def list_commands(request: web.Request) -> web.Response:
    store, device_id = request.app[CENTRAL].store, request.match_info["device"]
    commands = await look_up(lambda: store.read(history.commands, device_id))
    return answer({"value": [history_body(command) for command in commands]})


@routes.get("/console/api/devices/{device}/connections")
async def list_connections(request: web.Request) -> web.Response:
    store, device_id = request.app[CENTRAL].store, request.match_info["device"]
    entries = await look_up(lambda: store.read(history.connections, device_id))
    log = [{"at": iso(e.at), "event": e.event, "detail": e.detail} for e in entries]
    return answer({"value": log})


@routes.post("/console/api/devices/{device}/queue/{command}")
@routes.post("/console/api/devices/{device}/components/{component}/queue/{command}")
async def queue_command(request: web.Request) -> web.Response:
    """Queue a command for a device that may be offline: sent once it connects, for 24 hours."""
    central, device = request.app[CENTRAL], await find_device(request)
    body = await read_object(request) if request.can_read_body else {}
    name = command_name(request)
    command = await central.hub.queue_command(device.id, name, body.get("request"))
    return answer(history_body(command))


def overview(
    central: "Central", device: Device, names: dict[str | None, list[str]]
) -> dict[str, Any]:
    """Write a device with what the list shows of it.

    `names` keeps which telemetry a template names, from one device to the next.
    """
    connected_since = central.hub.presence.connected_since(device.id)
    last = central.store.read(history.last_connection, device.id)
    left = last.at if last and last.event == "disconnected" else None
    if device.template not in names:
        interface = dtdl.interface_of(central.store, device) or {}
        names[device.template] = dtdl.numeric_telemetry(central.store, interface)
    shown = names[device.template] or sent_numbers(central.store, device)
    return {
        **device_body(device),
        "created": iso(device.created),
        "connected": connected_since is not None,
        "connectedSince": maybe_iso(connected_since),
        "disconnectedSince": maybe_iso(left if connected_since is None else None),
        "lastSeen": maybe_iso(
            central.hub.presence.last_seen(device.id) or _heard(central, device, last)
        ),
        "telemetry": {name: last_value(central.store, device, name) for name in shown[:SHOWN]},
    }


def _heard(central: "Central", device: Device, last: Connection | None) -> float | None:
    """Return when something was last heard of a device before this central was started."""
    heard = [
        message.received for message in central.store.read(telemetry.messages, device.id, limit=1)
    ]
    return max(heard + ([] if last is None else [last.at]), default=None)


def history_body(command: Command) -> dict[str, Any]:
    """Write a command with its times, and the later completion of a long-running one."""
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


def sent_numbers(store: Store, device: Device) -> list[str]:
    """Return the names of the numbers in the newest message: there is no model to tell them."""
    for message in store.read(telemetry.messages, device.id, limit=1):
        try:
            body = json.loads(message.body)
        except (ValueError, RecursionError):
            return []
        if isinstance(body, dict):
            return [name for name, value in body.items() if _is_number(value)]
    return []


def last_value(store: Store, device: Device, name: str) -> dict[str, Any] | None:
    """Write the newest value of `name`, or of `component*name`; None if there is none."""
    component, _, plain = name.rpartition("*")
    last = store.read(telemetry.last_value, device.id, plain, component or None)
    return None if last is None else {"timestamp": iso(last[0]), "value": last[1]}


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
