"""Devices for the page: connection state, last values, and the connection log."""

import json
import math
import sqlite3
from typing import Any, TypeGuard

from aiohttp import web

from central.console import dtdl
from central.console.responses import CENTRAL, answer, find_device, look_up, maybe_iso
from central.console.rest.devices import device_body
from central.console.routes import Routes
from central.console.sign_in.roles import Permission
from central.hub.presence import Presence
from central.records import Connection, Device, iso
from central.storage import devices, history, telemetry

routes = Routes()

SHOWN = 2  # Telemetry values of each device.


@routes.on("GET", "/console/api/devices", needs=Permission.VIEW)
async def list_devices(request: web.Request) -> web.Response:
    """Return all devices, each with its last values."""
    presence = request.app[CENTRAL].hub.presence
    return answer({"value": await look_up(request, _overviews, presence)})


@routes.on("GET", "/console/api/devices/{device}", needs=Permission.VIEW)
async def get_device(request: web.Request) -> web.Response:
    presence, device = request.app[CENTRAL].hub.presence, await find_device(request)
    return answer(await look_up(request, overview, presence, device, {}))


@routes.on("GET", "/console/api/devices/{device}/connections", needs=Permission.VIEW)
async def list_connections(request: web.Request) -> web.Response:
    entries = await look_up(request, history.connections, request.match_info["device"])
    log = [{"at": iso(e.at), "event": e.event, "detail": e.detail} for e in entries]
    return answer({"value": log})


def _overviews(db: sqlite3.Connection, presence: Presence[Any]) -> list[dict[str, Any]]:
    models: dict[str | None, dtdl.Model | None] = {}
    return [overview(db, presence, device, models) for device in devices.get_all(db)]


def overview(
    db: sqlite3.Connection,
    presence: Presence[Any],
    device: Device,
    models: dict[str | None, dtdl.Model | None],
) -> dict[str, Any]:
    """Return a device with its connection and its first telemetry values.

    `models` caches the model of each template from one device to the next.
    """
    connected_since = presence.connected_since(device.id)
    last = history.last_connection(db, device.id)
    left = last.at if last and last.event == "disconnected" else None
    if device.template not in models:
        models[device.template] = dtdl.resolve_if_possible(db, device.template)
    return {
        **device_body(device),
        "idScope": device.id_scope,
        "created": iso(device.created),
        "connected": connected_since is not None,
        "connectedSince": maybe_iso(connected_since),
        "disconnectedSince": maybe_iso(left if connected_since is None else None),
        "lastSeen": maybe_iso(presence.last_seen(device.id) or _seen(db, device, last)),
        "telemetry": _telemetry(db, device, models[device.template]),
    }


def _telemetry(
    db: sqlite3.Connection, device: Device, model: dtdl.Model | None
) -> list[dict[str, Any]]:
    """Return the newest value of the first numbers of a device, without those never sent."""
    numbers = [] if model is None else model.numbers()
    shown = [
        {"key": each.key, "title": each.title, "unit": each.unit, "kind": each.schema.kind}
        for each in numbers
    ] or [
        {"key": name, "title": name, "unit": "", "kind": "number"}
        for name in sent_numbers(db, device)
    ]
    values = [(each, last_value(db, device, each["key"])) for each in shown[:SHOWN]]
    return [{**each, **last} for each, last in values if last is not None]


def _seen(db: sqlite3.Connection, device: Device, last: Connection | None) -> float | None:
    """Return when a device last sent something before this central was started."""
    seen = [message.received for message in telemetry.messages(db, device.id, limit=1)]
    return max(seen + ([] if last is None else [last.at]), default=None)


def sent_numbers(db: sqlite3.Connection, device: Device) -> list[str]:
    """Return the names of the numbers in the newest message, for a device without a model."""
    for message in telemetry.messages(db, device.id, limit=1):
        try:
            body = json.loads(message.body)
        except (ValueError, RecursionError):
            return []
        if isinstance(body, dict):
            return [name for name, value in body.items() if _is_number(value)]
    return []


def last_value(db: sqlite3.Connection, device: Device, name: str) -> dict[str, Any] | None:
    """Return the newest value of `name` or `component*name`, or None if there is none."""
    component, _, plain = name.rpartition("*")
    last = telemetry.last_value(db, device.id, plain, component or None)
    return None if last is None else {"timestamp": iso(last[0]), "value": last[1]}


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
