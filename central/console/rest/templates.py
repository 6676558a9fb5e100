"""Device templates by IoT Central's REST paths. Here, a template is a DTDL v2 interface."""

import re
import sqlite3
from http import HTTPStatus
from typing import Any

from aiohttp import web

from central.console import dtdl
from central.console.responses import CENTRAL, RestError, answer, bad_request, look_up, read_object
from central.errors import UnknownTemplate
from central.protocol.twins import merge
from central.records import Device
from central.storage import devices, templates

routes = web.RouteTableDef()

DTMI = re.compile(r"dtmi:[A-Za-z](?:[\w:]*[A-Za-z0-9])?;[1-9][0-9]{0,8}", re.ASCII)
LONGEST_DTMI = 128
FIELDS = {"@context", "@id", "@type", "etag", "displayName", "description", "capabilityModel"}


def template_body(dtmi: str, interface: dtdl.Interface) -> dict[str, Any]:
    """Return a template in IoT Central's form."""
    return {
        "@id": dtmi,
        "@type": ["ModelDefinition", "DeviceModel"],
        "@context": ["dtmi:iotcentral:context;2", "dtmi:dtdl:context;2"],
        "displayName": dtdl.text(interface, "displayName") or dtmi,
        "capabilityModel": interface,
    }


@routes.get("/api/deviceTemplates")
async def list_templates(request: web.Request) -> web.Response:
    found = await look_up(request, templates.get_all)
    return answer({"value": [template_body(*template) for template in found.items()]})


@routes.get("/api/deviceTemplates/{dtmi}")
async def get_template(request: web.Request) -> web.Response:
    return answer(template_body(request.match_info["dtmi"], await _find(request)))


@routes.put("/api/deviceTemplates/{dtmi}")
async def put_template(request: web.Request) -> web.Response:
    body = await _read(request)
    if "capabilityModel" not in body:
        raise bad_request("A template needs a capabilityModel, which is a DTDL interface.")
    return await _keep(request, body, body["capabilityModel"])


@routes.patch("/api/deviceTemplates/{dtmi}")
async def patch_template(request: web.Request) -> web.Response:
    before, body = await _find(request), await _read(request)
    change = body.get("capabilityModel", {})
    model = merge(before, change) if isinstance(change, dict) else change  # RFC 7396.
    return await _keep(request, body, model)


@routes.delete("/api/deviceTemplates/{dtmi}")
async def delete_template(request: web.Request) -> web.Response:
    dtmi = request.match_info["dtmi"]
    await _find(request)
    found = await look_up(request, users, dtmi)
    if found:
        raise RestError(
            HTTPStatus.CONFLICT,
            f"{len(found)} device(s) use this template, among them {found[0].id}. "
            "Give them another template first.",
        )
    request.app[CENTRAL].store.call(templates.delete, dtmi)
    return web.Response(status=HTTPStatus.NO_CONTENT)


def users(db: sqlite3.Connection, dtmi: str) -> list[Device]:
    """Return the devices that have a template, by its own id or by its interface's."""
    names = {dtmi, templates.get(db, dtmi).get("@id")}
    return [device for device in devices.get_all(db) if device.template in names]


async def _find(request: web.Request) -> dtdl.Interface:
    """Return the interface of the template that the path names."""
    dtmi = request.match_info["dtmi"]
    found = await look_up(request, templates.get_all)
    if dtmi not in found:
        raise UnknownTemplate(dtmi)
    return found[dtmi]


async def _keep(request: web.Request, body: dict[str, Any], model: Any) -> web.Response:
    """Put a template with this interface, and return it."""
    dtmi = request.match_info["dtmi"]
    interface = _interface(dtmi, body, model)
    await look_up(request, dtdl.resolve_interface, dtmi, interface)  # Refuses a too large model.
    request.app[CENTRAL].store.call(templates.put, dtmi, interface)
    return answer(template_body(dtmi, interface))


async def _read(request: web.Request) -> dict[str, Any]:
    """Return the body of a template. Raises RestError for a bad one."""
    dtmi, body = request.match_info["dtmi"], await read_object(request)
    if len(dtmi) > LONGEST_DTMI or not DTMI.fullmatch(dtmi):
        raise bad_request(f"{dtmi[:80]!r} is not a DTMI such as dtmi:com:example:Thermostat;1")
    unknown = body.keys() - FIELDS
    if unknown:
        raise bad_request(
            f"Unknown field {min(unknown)!r}. A template has {', '.join(sorted(FIELDS))}."
        )
    if body.get("@id", dtmi) != dtmi:
        raise bad_request(f"@id is {body['@id']!r}, but the path names {dtmi!r}.")
    if not isinstance(body.get("displayName", ""), str):
        raise bad_request("displayName must be a string.")
    return body


def _interface(dtmi: str, body: dict[str, Any], model: Any) -> dtdl.Interface:
    """Check the form of an interface. Without an @id, it gets the template's."""
    if not isinstance(model, dict):
        raise bad_request("capabilityModel must be a DTDL interface, a JSON object.")
    types = model.get("@type")
    if "Interface" not in (types if isinstance(types, list) else [types]):
        raise bad_request('capabilityModel must have the @type "Interface".')
    contents = model.get("contents", [])
    if not isinstance(contents, list):
        raise bad_request("The contents of the interface must be a list.")
    for element in contents:
        if not isinstance(element, dict) or not isinstance(element.get("name"), str):
            raise bad_request("Each element of contents must be an object with a name.")
    interface = {"@id": dtmi, **model}
    own = interface["@id"]
    if not isinstance(own, str) or len(own) > LONGEST_DTMI or not DTMI.fullmatch(own):
        raise bad_request("The @id of the interface is not a DTMI.")
    if "displayName" in body:
        interface["displayName"] = body["displayName"]
    return interface
