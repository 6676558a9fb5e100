"""Devices for the page: their states and last values, and the connection log."""

import json
import math
import sqlite3
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

from aiohttp import web

from central.console import device_list, dtdl
from central.console.responses import (
    CENTRAL,
    answer,
    bad_request,
    look_up,
    maybe_iso,
    query_number,
)
from central.console.rest.devices import device_body
from central.console.rest.properties import rest_properties
from central.console.routes import Routes
from central.console.sign_in.roles import Permission
from central.hub.device_state import Signs, device_state, message_interval
from central.hub.presence import Presence
from central.records import Device, iso
from central.storage import devices, fleet, history, telemetry

routes = Routes()

SHOWN = 2  # Telemetry values of each device.
MOST_LISTED = 1000  # Devices in one answer.
MOST_REPORTED = 32  # Properties of each of them.


@routes.on("GET", "/console/api/devices", needs=Permission.VIEW)
async def list_devices(request: web.Request) -> web.Response:
    """Return devices with their last values, and how many there are of each kind.

    The query has a kind (`state`), a `tag`, words to `search` for, an order (`sort`), `offset` and
    `limit`, and a `property` for each that is returned as `reported`. `counts` and `matching` are
    of all devices with the tag and the words, `total` is of all devices.
    """
    wanted = _wanted(request)
    offset = int(query_number(request, "offset", 0, least=0, most=2**31))
    limit = int(query_number(request, "limit", MOST_LISTED, least=1, most=MOST_LISTED))
    page = slice(offset, offset + limit)
    names = request.query.getall("property", [])[:MOST_REPORTED]
    return answer(await look_up(request, _list, _now(request), wanted, page, names))


@routes.on("GET", "/console/api/devices/{device}", needs=Permission.VIEW)
async def get_device(request: web.Request) -> web.Response:
    device_id = request.match_info["device"]
    return answer(await look_up(request, _one, _now(request), device_id))


@routes.on("GET", "/console/api/devices/{device}/connections", needs=Permission.VIEW)
async def list_connections(request: web.Request) -> web.Response:
    entries = await look_up(request, history.connections, request.match_info["device"])
    log = [{"at": iso(e.at), "event": e.event, "detail": e.detail} for e in entries]
    return answer({"value": log})


@dataclass(frozen=True)
class _Now:
    """The time, and which devices are connected."""

    time: float
    presence: Presence[Any]


def _now(request: web.Request) -> _Now:
    central = request.app[CENTRAL]
    return _Now(central.settings.clock(), central.hub.presence)


Models = dict[str | None, dtdl.Model | None]
"""The model of each template, as a cache from one device to the next."""


def _wanted(request: web.Request) -> device_list.Wanted:
    """Return what the query asks for. Raises RestError."""
    kind, order = request.query.get("state", ""), request.query.get("sort", "name")
    for name, given, known in (
        ("state", kind, ["", *device_list.KINDS]),
        ("sort", order, device_list.ORDERS),
    ):
        if given not in known:
            allowed = ", ".join(filter(None, known))
            raise bad_request(f"{name} must be one of {allowed}.", code="InvalidQuery")
    return device_list.Wanted(
        kind,
        request.query.get("tag", ""),
        request.query.get("search", ""),
        cast("device_list.Order", order),
    )


def _list(
    db: sqlite3.Connection, now: _Now, wanted: device_list.Wanted, page: slice, names: list[str]
) -> dict[str, Any]:
    glances = {glance.device.id: glance for glance in fleet.glances(db)}
    entries = [_entry(glance, now) for glance in glances.values()]
    found = device_list.find(entries, wanted)
    models: Models = {}
    return {
        "value": [
            _overview(db, now, glances[entry.device.id], entry, models)
            | _reported(db, entry.device.id, names)
            for entry in found.entries[page]
        ],
        "shown": len(found.entries),
        "matching": found.matching,
        "total": len(entries),
        "counts": found.counts,
        "tags": [{"tag": tag, "count": count} for tag, count in device_list.tag_counts(entries)],
    }


def _reported(db: sqlite3.Connection, device_id: str, names: list[str]) -> dict[str, Any]:
    """Return what a device reports of some properties, with the time, if any are asked for."""
    if not names:
        return {}
    properties = rest_properties(devices.get_twin(db, device_id))
    reported = {}
    for key in names:
        component, _, name = key.rpartition("*")
        part = properties.get(component, {}) if component else properties
        if isinstance(part, dict) and name in part and name != "$metadata":
            about = part.get("$metadata", {}).get(name, {})
            reported[key] = {"value": part[name], "lastUpdateTime": about.get("lastUpdateTime")}
    return {"reported": reported}


def _one(db: sqlite3.Connection, now: _Now, device_id: str) -> dict[str, Any]:
    [glance] = fleet.glances(db, device_id)
    return _overview(db, now, glance, _entry(glance, now), {})


def _entry(glance: fleet.Glance, now: _Now) -> device_list.Entry:
    signs = Signs(
        enabled=glance.device.enabled,
        connected_since=now.presence.connected_since(glance.device.id),
        message=glance.newest,
        connection=glance.line_at,
        interval=message_interval(glance.interval, glance.received),
    )
    state = device_state(signs, now.time)
    return device_list.Entry(glance.device, state, signs.heard, glance.tags, glance.alert)


def _overview(
    db: sqlite3.Connection,
    now: _Now,
    glance: fleet.Glance,
    entry: device_list.Entry,
    models: Models,
) -> dict[str, Any]:
    """Return a device with its state, its connection and its first telemetry values."""
    device = glance.device
    connected_since = now.presence.connected_since(device.id)
    left = glance.line_at if glance.disconnected and connected_since is None else None
    seen = [each for each in (glance.newest, glance.line_at) if each is not None]
    if device.template not in models:
        models[device.template] = dtdl.resolve_if_possible(db, device.template)
    model = models[device.template]
    return {
        **device_body(device),
        "idScope": device.id_scope,
        "created": iso(device.created),
        "state": entry.state,
        "alert": glance.alert,
        "tags": list(glance.tags),
        "modelName": None if model is None else model.label,
        "connected": connected_since is not None,
        "connectedSince": maybe_iso(connected_since),
        "disconnectedSince": maybe_iso(left),
        "lastSeen": maybe_iso(now.presence.last_seen(device.id) or max(seen, default=None)),
        "lastMessage": maybe_iso(glance.newest),
        "telemetry": _telemetry(db, device, model),
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
