"""Devices by IoT Central's REST paths: the list, one device and its keys."""

import asyncio
import re
import sqlite3
from http import HTTPStatus
from typing import Any

from aiohttp import web

from central.console.responses import CENTRAL, answer, bad_request, find_device, look_up
from central.console.rest.conditions import Condition, condition_of
from central.console.rest.filters import Field
from central.console.rest.lists import LIST_QUERY, Key, Listing, Selection, list_body, select
from central.console.rest.paths import Body, Paths
from central.console.sign_in.roles import Permission
from central.errors import UnknownDevice
from central.hub.presence import DELETED
from central.records import Device
from central.storage import devices, templates

routes = Paths()

LONGEST_NAME = 256
MOST_ORGANIZATIONS = 10
ORGANIZATION = re.compile(r"[A-Za-z0-9-]{1,48}")

FIELDS = {
    "displayName": str,
    "template": str,
    "enabled": bool,
    "simulated": bool,
    "organizations": list,
}
KINDS = {str: "a string", bool: "true or false", list: "a list of the ids of organizations"}
BODY = (*FIELDS, "id", "etag", "provisioned")

LISTING = Listing[Device](
    fields={
        "id": Field("text", lambda device: device.id),
        "displayName": Field("text", lambda device: device.display_name),
        "template": Field("text", lambda device: device.template),
        "enabled": Field("flag", lambda device: device.enabled),
        "provisioned": Field("flag", lambda device: device.provisioned),
        "simulated": Field("flag", lambda device: device.simulated),
        "organizations": Field("texts", lambda device: device.organizations),
        "scopes": Field("texts", lambda device: device.organizations),  # As in 1.1-preview.
    },
    id=lambda device: device.id,
    name=lambda device: device.display_name,
)


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
    if device.template is not None:
        body["template"] = device.template
    if device.organizations:
        body["organizations"] = list(device.organizations)
    return body


@routes.on("GET", "/api/devices", query=LIST_QUERY, needs=Permission.VIEW)
async def list_devices(request: web.Request) -> web.Response:
    selection = select(request.query, LISTING)
    shown, following = await look_up(request, _page, selection)
    return answer(list_body(request, [device_body(device) for device in shown], following))


def _page(db: sqlite3.Connection, selection: Selection[Device]) -> tuple[list[Device], Key | None]:
    return selection.page(devices.get_all(db))


@routes.on("GET", "/api/devices/{device}", needs=Permission.VIEW)
async def get_device(request: web.Request) -> web.Response:
    return answer(device_body(await find_device(request)))


@routes.on_body(
    "PUT", "/api/devices/{device}", fields=BODY, conditional=True, needs=Permission.ADMINISTER
)
async def put_device(request: web.Request, body: Body) -> web.Response:
    registry, device_id = request.app[CENTRAL].registry, request.match_info["device"]
    fields, before, condition = await _read(request, body)
    condition.check(None if before is None else before.etag)
    if before is None:
        device = registry.add_device(
            device_id,
            display_name=fields.get("displayName"),
            template=fields.get("template"),
            simulated=fields.get("simulated", False),
            enabled=fields.get("enabled", True),
            organizations=fields.get("organizations", ()),
        )
    else:
        device = registry.update_device(
            device_id,
            display_name=fields.get("displayName", device_id),
            template=fields.get("template"),
            enabled=fields.get("enabled", True),
            organizations=fields.get("organizations", ()),
            check=condition.check,
        )
    return answer(device_body(device))


@routes.on_body(
    "PATCH", "/api/devices/{device}", fields=BODY, conditional=True, needs=Permission.ADMINISTER
)
async def patch_device(request: web.Request, body: Body) -> web.Response:
    device_id = request.match_info["device"]
    fields, before, condition = await _read(request, body)
    if before is None:
        raise UnknownDevice(device_id)
    condition.check(before.etag)
    if not fields.keys() - {"simulated"}:
        return answer(device_body(before))
    device = request.app[CENTRAL].registry.update_device(
        device_id,
        display_name=fields.get("displayName", ...),
        template=fields.get("template", ...),
        enabled=fields.get("enabled", ...),
        organizations=fields.get("organizations", ...),
        check=condition.check,
    )
    return answer(device_body(device))


@routes.on("DELETE", "/api/devices/{device}", conditional=True, needs=Permission.ADMINISTER)
async def delete_device(request: web.Request) -> web.Response:
    central, condition = request.app[CENTRAL], condition_of(request)
    device = await find_device(request)
    condition.check(device.etag)
    await central.hub.presence.disconnect(device.id, DELETED)
    central.registry.delete_device(device.id, condition.check)
    return web.Response(status=HTTPStatus.NO_CONTENT)


@routes.on("GET", "/api/devices/{device}/credentials", needs=Permission.KEYS)
async def get_credentials(request: web.Request) -> web.Response:
    registry = request.app[CENTRAL].registry
    primary, secondary = await asyncio.to_thread(registry.keys, request.match_info["device"])
    keys = {"primaryKey": primary, "secondaryKey": secondary}
    return answer({"idScope": registry.id_scope, "symmetricKey": keys})


async def _read(
    request: web.Request, body: Body
) -> tuple[dict[str, Any], Device | None, Condition]:
    """Return the fields to set, the device as it is or None, and the condition of the change.

    Raises RestError.
    """
    device_id, condition = request.match_info["device"], condition_of(request, body)
    if body.get("id", device_id) != device_id:
        raise bad_request(f"id is {body['id']!r}, but the path names {device_id!r}.")
    fields = _device_fields(body)
    before = await look_up(request, _find, device_id, fields.get("template"))
    provisioned = before is not None and before.provisioned
    if body.get("provisioned", provisioned) is not provisioned:
        raise bad_request("provisioned is read-only: it becomes true when the device registers.")
    if before is not None and fields.get("simulated", before.simulated) != before.simulated:
        raise bad_request("simulated cannot change after a device is created.")
    return fields, before, condition


def _find(db: sqlite3.Connection, device_id: str, template: str | None) -> Device | None:
    """Return a device or None. Raises UnknownTemplate if its new template is not here."""
    if template is not None:
        templates.get(db, template)
    try:
        return devices.get(db, device_id)
    except UnknownDevice:
        return None


def _device_fields(body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a device's body that can be set. Raises RestError for a bad one."""
    fields = {name: value for name, value in body.items() if name in FIELDS}
    for name, value in fields.items():
        if value is None and name == "template":
            continue
        if not isinstance(value, FIELDS[name]):
            raise bad_request(f"{name} must be {KINDS[FIELDS[name]]}.")
    if "displayName" in fields:
        check_display_name(fields["displayName"])
    if "organizations" in fields:
        fields["organizations"] = _organizations(fields["organizations"])
    return fields


def check_display_name(name: object) -> str:
    """Return a name that a device can have. Raises RestError."""
    if isinstance(name, str) and 0 < len(name) <= LONGEST_NAME:
        return name
    raise bad_request(f"displayName must have 1 to {LONGEST_NAME} characters.")


def _organizations(ids: list[Any]) -> tuple[str, ...]:
    if len(ids) > MOST_ORGANIZATIONS or len({str(each) for each in ids}) < len(ids):
        raise bad_request(f"organizations may have {MOST_ORGANIZATIONS} ids, each of them once.")
    for each in ids:
        if not isinstance(each, str) or not ORGANIZATION.fullmatch(each):
            raise bad_request(
                f"{str(each)[:80]!r} cannot be the id of an organization: it has 1 to 48 letters, "
                "digits and hyphens."
            )
    return tuple(ids)
