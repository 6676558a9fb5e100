"""Devices by IoT Central's REST paths: the list, one device and its keys."""

import asyncio
import sqlite3
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from central.console.responses import (
    CENTRAL,
    RestError,
    answer,
    bad_request,
    find_device,
    look_up,
    query_number,
    read_object,
)
from central.errors import UnknownDevice
from central.hub.presence import DELETED
from central.records import Device
from central.storage import devices, templates

routes = web.RouteTableDef()

PAGE = 100
LARGEST_PAGE = 1000
LONGEST_NAME = 256

READ_ONLY = {"id", "etag", "provisioned"}
FIELDS = {"displayName": str, "template": str, "enabled": bool, "simulated": bool}


def device_body(device: Device) -> dict[str, Any]:
    """Return a device in IoT Central's form."""
    body = {
        "id": device.id,
        "etag": device.etag,
        "displayName": device.display_name,
        "simulated": device.simulated,
        "provisioned": device.provisioned,
        "enabled": device.enabled,
    }
    return body if device.template is None else {**body, "template": device.template}


@routes.get("/api/devices")
async def list_devices(request: web.Request) -> web.Response:
    for unsupported in ("$filter", "$orderby"):
        if unsupported in request.query:
            raise bad_request(f"{unsupported} is not supported.", code="InvalidQuery")
    top = int(query_number(request, "$top", PAGE, least=1, most=LARGEST_PAGE))
    after = request.query.get("$skiptoken", "")
    found = await look_up(request, devices.get_all)
    rest = [device for device in found if device.id > after]
    body: dict[str, Any] = {"value": [device_body(device) for device in rest[:top]]}
    if len(rest) > top:
        query = {**request.query, "$top": str(top), "$skiptoken": rest[top - 1].id}
        body["nextLink"] = f"http://{request.host}{request.path}?{urlencode(query)}"
    return answer(body)


@routes.get("/api/devices/{device}")
async def get_device(request: web.Request) -> web.Response:
    return answer(device_body(await find_device(request)))


@routes.put("/api/devices/{device}")
async def put_device(request: web.Request) -> web.Response:
    registry, device_id = request.app[CENTRAL].registry, request.match_info["device"]
    fields, before = await _read(request)
    if before is None:
        device = registry.add_device(
            device_id,
            display_name=fields.get("displayName"),
            template=fields.get("template"),
            simulated=fields.get("simulated", False),
        )
        if fields.get("enabled") is False:
            device = registry.update_device(device_id, enabled=False)
    else:
        device = registry.update_device(
            device_id,
            display_name=fields.get("displayName", device_id),
            template=fields.get("template"),
            enabled=fields.get("enabled", True),
        )
    return answer(device_body(device))


@routes.patch("/api/devices/{device}")
async def patch_device(request: web.Request) -> web.Response:
    device_id = request.match_info["device"]
    fields, _ = await _read(request)
    if not fields.keys() - {"simulated"}:
        return answer(device_body(await find_device(request)))
    device = request.app[CENTRAL].registry.update_device(
        device_id,
        display_name=fields.get("displayName", ...),
        template=fields.get("template", ...),
        enabled=fields.get("enabled", ...),
    )
    return answer(device_body(device))


@routes.delete("/api/devices/{device}")
async def delete_device(request: web.Request) -> web.Response:
    central = request.app[CENTRAL]
    device = await find_device(request)
    _check_etag(request, device)
    await central.hub.presence.disconnect(device.id, DELETED)
    central.registry.delete_device(device.id)
    return web.Response(status=HTTPStatus.NO_CONTENT)


@routes.get("/api/devices/{device}/credentials")
async def get_credentials(request: web.Request) -> web.Response:
    registry = request.app[CENTRAL].registry
    primary, secondary = await asyncio.to_thread(registry.keys, request.match_info["device"])
    keys = {"primaryKey": primary, "secondaryKey": secondary}
    return answer({"idScope": registry.id_scope, "symmetricKey": keys})


async def _read(request: web.Request) -> tuple[dict[str, Any], Device | None]:
    """Return the fields to set, and the device as it is; None for a new one. Raises RestError."""
    device_id = request.match_info["device"]
    fields = _device_fields(device_id, await read_object(request))
    before = await look_up(request, _find, device_id, fields.get("template"))
    if before is None and request.method == "PATCH":
        raise UnknownDevice(device_id)
    _check_etag(request, before)
    if before is not None and fields.get("simulated", before.simulated) != before.simulated:
        raise bad_request("simulated cannot change after a device is created.")
    return fields, before


def _find(db: sqlite3.Connection, device_id: str, template: str | None) -> Device | None:
    """Return a device or None. Raises UnknownTemplate if its new template is not here."""
    if template is not None:
        templates.get(db, template)
    try:
        return devices.get(db, device_id)
    except UnknownDevice:
        return None


def _device_fields(device_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a device's body that can be set. Raises RestError for a bad one."""
    if body.get("id", device_id) != device_id:
        raise bad_request(f"id is {body['id']!r}, but the path names {device_id!r}.")
    fields = {name: value for name, value in body.items() if name not in READ_ONLY}
    for name, value in fields.items():
        if name not in FIELDS:
            raise bad_request(f"Unknown field {name!r}. A device has {', '.join(FIELDS)}.")
        if value is None and name == "template":
            continue
        if not isinstance(value, FIELDS[name]):
            kind = "a string" if FIELDS[name] is str else "true or false"
            raise bad_request(f"{name} must be {kind}.")
    if "displayName" in fields and not 0 < len(fields["displayName"]) <= LONGEST_NAME:
        raise bad_request(f"displayName must have 1 to {LONGEST_NAME} characters.")
    return fields


def _check_etag(request: web.Request, device: Device | None) -> None:
    """Check If-Match and If-None-Match. Raises RestError with 412."""
    if request.headers.get("If-None-Match") == "*" and device is not None:
        raise _precondition(f"The device {device.id} already exists.")
    wanted = request.headers.get("If-Match")
    if wanted is None or (wanted == "*" and device is not None):
        return
    if device is None or wanted.removeprefix("W/").strip('"') != device.etag.strip('"'):
        raise _precondition("The device has changed since it was read. Read it again.")


def _precondition(sentence: str) -> RestError:
    return RestError(HTTPStatus.PRECONDITION_FAILED, sentence)
