"""Device templates by IoT Central's REST paths. A template has a DTDL v2 interface."""

import json
import re
import sqlite3
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from central.console import dtdl
from central.console.responses import CENTRAL, RestError, answer, bad_request, look_up
from central.console.rest.conditions import Condition, condition_of
from central.console.rest.filters import Field
from central.console.rest.lists import LIST_QUERY, Key, Listing, Selection, list_body, select
from central.console.rest.paths import Body, Paths
from central.console.sign_in.roles import Permission
from central.errors import UnknownTemplate
from central.protocol.twins import is_property_name, merge
from central.records import Device
from central.storage import devices, templates
from central.storage.templates import Head, Template

routes = Paths()

# DTDL 3 also has minor versions.
DTMI = re.compile(r"dtmi:[A-Za-z](?:[\w:]*[A-Za-z0-9])?;[1-9][0-9]{0,8}(?:\.[0-9]{1,6})?", re.ASCII)
# The ids that IoT Central itself makes have no version.
MADE_BY_CENTRAL = re.compile(r"(?:dtmi|urn):modelDefinition:\w+(?::\w+)*", re.ASCII)
LONGEST_DTMI = 128
LONGEST_NAME = 256
LONGEST_DESCRIPTION = 4096
LONGEST_CONTEXT = 10
LOOK_UP = 1024  # Characters for which the search for an interface counts.
MOST_INLINED = 1024 * 1024  # Characters of all interfaces that are inlined in a response.
TYPES = ("ModelDefinition", "DeviceModel")
MORE_TYPES = ("EdgeModel", "GatewayModel")
CONTEXT = ["dtmi:iotcentral:context;2", "dtmi:dtdl:context;2"]
BODY = ("@context", "@id", "@type", "etag", "displayName", "description", "capabilityModel")
ABOUT = ("displayName", "description", "@type", "@context")

LISTING = Listing[Head](
    fields={
        "@id": Field("text", lambda head: head.id),
        "displayName": Field("text", lambda head: _name(head.id, head.label)),
        "capabilityModelId": Field("text", lambda head: head.model_id),
    },
    id=lambda head: head.id,
    name=lambda head: _name(head.id, head.label),
)


def template_body(template: Template, interfaces: "Interfaces | None" = None) -> dict[str, Any]:
    """Return a template in IoT Central's form, with its components' `interfaces` inlined."""
    interface, about = template.interface, template.about
    label = about.get("displayName") or interface.get("displayName")
    return {
        "@id": template.id,
        "@type": about.get("@type", list(TYPES)),
        "@context": about.get("@context", CONTEXT),
        "etag": template.etag,
        "displayName": _name(template.id, label),
        **({"description": about["description"]} if "description" in about else {}),
        "capabilityModel": interface if interfaces is None else interfaces.inlined(interface),
    }


def _name(dtmi: str, label: object) -> str:
    return dtdl.text({"displayName": label}, "displayName") or dtmi


class Interfaces:
    """The interfaces that templates refer to, inlined as IoT Central shows them.

    A reference stays where its interface is not here, refers to itself, or would make the
    response larger than MOST_INLINED.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._left = MOST_INLINED
        self._texts: dict[str, str | None] = {}

    def inlined(self, interface: Mapping[str, Any], levels: int = dtdl.MOST_LEVELS) -> Any:
        """Return an interface with those of its components and the extended ones in it."""
        whole = dict(interface)
        if isinstance(whole.get("contents"), list):
            whole["contents"] = [self._element(each, levels) for each in whole["contents"]]
        extends = whole.get("extends")
        if isinstance(extends, list):
            whole["extends"] = [self._find(each, levels) for each in extends]
        elif extends is not None:
            whole["extends"] = self._find(extends, levels)
        return whole

    def _element(self, element: Any, levels: int) -> Any:
        types = element.get("@type") if isinstance(element, dict) else None
        if "Component" not in (types if isinstance(types, list) else [types]):
            return element
        return {**element, "schema": self._find(element.get("schema"), levels)}

    def _find(self, reference: Any, levels: int) -> Any:
        if isinstance(reference, dict) and levels:
            return self.inlined(reference, levels - 1)
        if not isinstance(reference, str) or not levels:
            return reference
        if reference not in self._texts and self._left > 0:
            self._texts[reference] = templates.get_text(self._db, reference)
            self._left -= LOOK_UP
        text = self._texts.get(reference)
        if text is None or len(text) > self._left:
            return reference
        self._left -= len(text)
        return self.inlined(json.loads(text), levels - 1)


@routes.on("GET", "/api/deviceTemplates", query=LIST_QUERY, needs=Permission.VIEW)
async def list_templates(request: web.Request) -> web.Response:
    shown, following = await look_up(request, _page, select(request.query, LISTING))
    return answer(list_body(request, shown, following))


def _page(
    db: sqlite3.Connection, selection: Selection[Head]
) -> tuple[list[dict[str, Any]], Key | None]:
    heads, following = selection.page(templates.heads(db))
    interfaces = Interfaces(db)
    found = [templates.get_template(db, head.id) for head in heads]
    return [template_body(template, interfaces) for template in found], following


@routes.on("GET", "/api/deviceTemplates/{dtmi}", needs=Permission.VIEW)
async def get_template(request: web.Request) -> web.Response:
    return answer(await look_up(request, _show, request.match_info["dtmi"]))


def _show(db: sqlite3.Connection, dtmi: str) -> dict[str, Any]:
    return template_body(templates.get_template(db, dtmi), Interfaces(db))


@routes.on_body(
    "PUT", "/api/deviceTemplates/{dtmi}", fields=BODY, conditional=True, needs=Permission.ADMINISTER
)
@routes.on_body(
    "PATCH",
    "/api/deviceTemplates/{dtmi}",
    fields=BODY,
    conditional=True,
    needs=Permission.ADMINISTER,
)
async def set_template(request: web.Request, body: Body) -> web.Response:
    """Put a template, or change it by a merge patch (RFC 7396)."""
    dtmi = request.match_info["dtmi"]
    _check(dtmi, body)
    if request.method == "PUT" and "capabilityModel" not in body:
        raise bad_request("A template needs a capabilityModel, which is a DTDL interface.")
    store, patch = request.app[CENTRAL].store, request.method == "PATCH"
    shown = await store.run(_keep, dtmi, body, condition_of(request, body), patch=patch)
    return answer(shown)


@routes.on("DELETE", "/api/deviceTemplates/{dtmi}", conditional=True, needs=Permission.ADMINISTER)
async def delete_template(request: web.Request) -> web.Response:
    dtmi, condition = request.match_info["dtmi"], condition_of(request)
    await request.app[CENTRAL].store.run(_delete, dtmi, condition)
    return web.Response(status=HTTPStatus.NO_CONTENT)


def users(db: sqlite3.Connection, dtmi: str) -> list[Device]:
    """Return the devices that have a template, by its own id or by its interface's."""
    names = {dtmi, templates.get(db, dtmi).get("@id")}
    return [device for device in devices.get_all(db) if device.template in names]


def _delete(db: sqlite3.Connection, dtmi: str, condition: Condition) -> None:
    condition.check(templates.get_template(db, dtmi).etag)
    found = users(db, dtmi)
    if found:
        raise RestError(
            HTTPStatus.CONFLICT,
            f"{len(found)} device(s) use this template, among them {found[0].id}. "
            "Give them another template first.",
        )
    templates.delete(db, dtmi)


def _keep(
    db: sqlite3.Connection, dtmi: str, body: Body, condition: Condition, *, patch: bool
) -> dict[str, Any]:
    """Put or patch a template, and return it as it is shown. Raises RestError."""
    try:
        before = templates.get_template(db, dtmi)
    except UnknownTemplate:
        if patch:
            raise
        before = None
    condition.check(None if before is None else before.etag)
    about = {name: body[name] for name in ABOUT if name in body}
    model = body.get("capabilityModel")
    if before is not None and patch:
        about = before.about | about
        change = body.get("capabilityModel", {})
        model = merge(dict(before.interface), change) if isinstance(change, dict) else change
    interface = _interface(dtmi, model)
    dtdl.resolve_interface(db, dtmi, interface)  # Refuses a too large model.
    templates.put(db, dtmi, interface, _without_defaults(about, dtmi, interface))
    return _show(db, dtmi)


def _without_defaults(
    about: dict[str, Any], dtmi: str, interface: dtdl.Interface
) -> dict[str, Any]:
    """Return what is to be stored. A template that is sent back as it was read stays the same."""
    defaults = {
        "@type": list(TYPES),
        "@context": CONTEXT,
        "displayName": _name(dtmi, interface.get("displayName")),
    }
    return {
        name: about[name] for name in ABOUT if name in about and about[name] != defaults.get(name)
    }


def _check(dtmi: str, body: Body) -> None:
    """Check the form of a template's body, without its capabilityModel. Raises RestError."""
    if len(dtmi) > LONGEST_DTMI or not (DTMI.fullmatch(dtmi) or MADE_BY_CENTRAL.fullmatch(dtmi)):
        raise bad_request(f"{dtmi[:80]!r} is not a DTMI such as dtmi:com:example:Thermostat;1")
    if body.get("@id", dtmi) != dtmi:
        raise bad_request(f"@id is {str(body['@id'])[:80]!r}, but the path names {dtmi!r}.")
    for name, longest in (("displayName", LONGEST_NAME), ("description", LONGEST_DESCRIPTION)):
        if name in body and not (isinstance(body[name], str) and len(body[name]) <= longest):
            raise bad_request(f"{name} must be a string of at most {longest} characters.")
    types = body.get("@type", list(TYPES))
    if not isinstance(types, list) or not (
        all(each in types for each in TYPES)
        and all(each in TYPES + MORE_TYPES for each in types)
        and len(types) <= len(TYPES + MORE_TYPES)
    ):
        raise bad_request(
            f"@type must be a list of {' and '.join(TYPES)}, and perhaps {', '.join(MORE_TYPES)}."
        )
    context = body.get("@context", CONTEXT)
    contexts = context if isinstance(context, list) else [context]
    if len(contexts) > LONGEST_CONTEXT or not all(
        isinstance(each, str) and len(each) <= LONGEST_DTMI for each in contexts
    ):
        raise bad_request("@context must be the id of a context, or a list of them.")


def _interface(dtmi: str, model: Any) -> dtdl.Interface:
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
        if not is_property_name(element["name"]):
            raise bad_request(
                f"{element['name'][:40]!r} cannot be a name: the hub refuses names with dots, "
                "spaces, $, # and control characters, and those above 1024 bytes."
            )
    own = model.get("@id", dtmi if DTMI.fullmatch(dtmi) else f"dtmi:{dtmi.partition(':')[2]};1")
    if not isinstance(own, str) or len(own) > LONGEST_DTMI or not DTMI.fullmatch(own):
        raise bad_request("The @id of the interface is not a DTMI.")
    return {"@id": own, **model}
