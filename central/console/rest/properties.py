"""Properties by IoT Central's REST paths, read from and written to the device's twin."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import web

from central.console import dtdl
from central.console.responses import (
    CENTRAL,
    RestError,
    answer,
    bad_request,
    find_device,
    look_up,
    not_found,
)
from central.console.rest.paths import ANY_FIELD, Body, Paths
from central.console.sign_in.roles import Permission
from central.records import Device, Twin, iso
from central.storage import cloud_properties, devices
from central.storage.cloud_properties import CloudValue

routes = Paths()

CloudValues = Mapping[str, Mapping[str, CloudValue]]
"""Cloud properties by component and name. The component "" is the device itself."""

COMPONENT = "/api/devices/{device}/components/{component}/properties"

PLUG_AND_PLAY = {"value", "ac", "av", "ad"}
PREVIEW = {"value", "status", "statusCode", "desiredVersion", "message"}

STATUSES = {"completed": 200, "processing": 202, "pending": 202}
"""Status words of the preview's acknowledgements (2020). Any other word is an error."""

REFUSED = 400  # The lowest acknowledgement code of a refused value.


@routes.on("GET", "/api/devices/{device}/properties", needs=Permission.VIEW)
async def get_properties(request: web.Request) -> web.Response:
    return answer(await look_up(request, _read_properties, request.match_info["device"]))


@routes.on_body(
    "PUT", "/api/devices/{device}/properties", fields=ANY_FIELD, needs=Permission.OPERATE
)
@routes.on_body(
    "PATCH", "/api/devices/{device}/properties", fields=ANY_FIELD, needs=Permission.OPERATE
)
async def set_properties(request: web.Request, body: Body) -> web.Response:
    central = request.app[CENTRAL]
    device = await find_device(request)
    change = await look_up(request, desired_patch, device, without_metadata(body))
    replace = request.method == "PUT"
    await central.hub.set_desired(device.id, change.desired, replace=replace, cloud=change.cloud)
    return answer(change.answer(), status=HTTPStatus.ACCEPTED)


@routes.on("GET", "/api/devices/{device}/components", needs=Permission.VIEW)
async def list_components(request: web.Request) -> web.Response:
    device = await find_device(request)
    return answer({"value": await look_up(request, _components, device)})


@routes.on("GET", COMPONENT, needs=Permission.VIEW)
async def get_component_properties(request: web.Request) -> web.Response:
    device, name = await find_device(request), request.match_info["component"]
    await look_up(request, _twin_with_component, device, name)
    properties = await look_up(request, _read_properties, device.id)
    return answer(properties.get(name) or {"$metadata": {}})


@routes.on_body("PUT", COMPONENT, fields=ANY_FIELD, needs=Permission.OPERATE)
@routes.on_body("PATCH", COMPONENT, fields=ANY_FIELD, needs=Permission.OPERATE)
async def set_component_properties(request: web.Request, body: Body) -> web.Response:
    central, device = request.app[CENTRAL], await find_device(request)
    name = request.match_info["component"]
    values = without_metadata(body)
    twin = await look_up(request, _twin_with_component, device, name)
    change = await look_up(request, desired_patch, device, {name: values})
    desired, cloud = change.desired, change.cloud
    if request.method == "PUT":
        old = await look_up(request, cloud_properties.get_all, device.id)
        desired[name] = {
            **dict.fromkeys(_part(twin.desired, name)),
            "__t": "c",
            **desired.get(name, {}),
        }
        cloud[name] = {**dict.fromkeys(old.get(name, {})), **cloud.get(name, {})}
    await central.hub.set_desired(device.id, desired, cloud=cloud)
    return answer(change.answer().get(name, {"$metadata": {}}), status=HTTPStatus.ACCEPTED)


def _components(db: sqlite3.Connection, device: Device) -> list[dict[str, Any]]:
    model = dtdl.resolve(db, device.template)
    names = component_names(devices.get_twin(db, device.id), model)
    labels = {} if model is None else {each.name: each.label for each in model.components}
    return [
        {"@type": "Component", "name": name, "displayName": labels.get(name, name)}
        for name in [*labels, *sorted(names - labels.keys())]
    ]


def _twin_with_component(db: sqlite3.Connection, device: Device, name: str) -> Twin:
    twin = devices.get_twin(db, device.id)
    if name not in component_names(twin, dtdl.resolve(db, device.template)):
        raise not_found(f"{device.id} has no component {name!r}.")
    return twin


def is_component(value: object) -> bool:
    """Return whether a value in a twin is a component."""
    return isinstance(value, dict) and value.get("__t") == "c"


def unwrap(raw: Any) -> tuple[Any, dict[str, Any]]:
    """Split a reported property into its value and its acknowledgement.

    Three forms are read: `{value, ac, av, ad}`, the preview's `{value, status, desiredVersion}`,
    and the `{value}` of a long-running command.
    """
    if not isinstance(raw, dict) or "value" not in raw:
        return raw, {}
    ack: dict[str, Any] = {}
    if raw.keys() <= PLUG_AND_PLAY:
        ack = {"ackVersion": raw.get("av"), "ackCode": raw.get("ac")}
        ack["ackDescription"] = raw.get("ad")
    elif raw.keys() <= PREVIEW:
        code = raw.get("statusCode", STATUSES.get(str(raw.get("status")).lower(), 500))
        ack = {"ackVersion": raw.get("desiredVersion"), "ackCode": code}
        ack["ackDescription"] = raw.get("message", raw.get("status"))
    else:
        return raw, {}
    return raw["value"], {key: value for key, value in ack.items() if value is not None}


def _read_properties(db: sqlite3.Connection, device_id: str) -> dict[str, Any]:
    return rest_properties(devices.get_twin(db, device_id), cloud_properties.get_all(db, device_id))


def rest_properties(twin: Twin, cloud: CloudValues | None = None) -> dict[str, Any]:
    """Return the body of `GET properties`: values by name, and `$metadata`."""
    body = _properties(twin, twin.reported, twin.desired)
    for component, values in (cloud or {}).items():
        part = body
        if component:
            found = body.get(component)
            part = found if isinstance(found, dict) and "$metadata" in found else {"$metadata": {}}
            body[component] = part
        for name, each in values.items():
            part[name] = each.value
            part["$metadata"][name] = {"lastUpdateTime": iso(each.changed)}
    return body


def _properties(
    twin: Twin, reported: dict[str, Any], desired: dict[str, Any], component: str | None = None
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for name in _names(reported, desired):
        sides = reported.get(name), desired.get(name)
        if component is None and any(is_component(side) for side in sides):
            values[name] = _properties(twin, _part(reported, name), _part(desired, name), name)
            continue
        top = name if component is None else component  # The twin has times of these only.
        about: dict[str, Any] = {}
        ack: dict[str, Any] = {}
        if name in reported:
            values[name], ack = unwrap(reported[name])
        if name in desired:
            about["desiredValue"] = desired[name]
            about["desiredVersion"] = _desired_version(
                twin, top, values.get(name), desired[name], ack
            )
        about |= ack
        if name in reported and top in twin.reported_times:
            about["lastUpdateTime"] = iso(twin.reported_times[top])
        metadata[name] = about
    return {**values, "$metadata": metadata}


def _part(values: dict[str, Any], component: str) -> dict[str, Any]:
    part = values.get(component)
    return part if isinstance(part, dict) else {}


def _names(*sides: dict[str, Any]) -> list[str]:
    names = dict.fromkeys(name for side in sides for name in side)
    return [name for name in names if not name.startswith("$") and name != "__t"]


def without_metadata(body: dict[str, Any]) -> dict[str, Any]:
    """Drop `$metadata`, so that the body of `GET properties` can be edited and sent back."""
    return {name: value for name, value in body.items() if name != "$metadata"}


def component_names(twin: Twin, model: dtdl.Model | None) -> set[str]:
    """Return the names of the components in a device's model and in its twin."""
    names = set() if model is None else {each.name for each in model.components}
    for document in (twin.reported, twin.desired):
        names |= {name for name, value in document.items() if is_component(value)}
    return names


@dataclass(frozen=True)
class Change:
    """A change of properties: the twin's patch, and the cloud properties by component."""

    desired: dict[str, Any]
    cloud: dict[str, dict[str, Any]]

    def answer(self) -> dict[str, Any]:
        """Return the answer to the change: desired values in `$metadata`, cloud values bare."""
        body = patch_answer(self.desired)
        for component, values in self.cloud.items():
            part = body.setdefault(component, {"$metadata": {}}) if component else body
            part |= {name: value for name, value in values.items() if value is not None}
        return body


def desired_patch(db: sqlite3.Connection, device: Device, body: dict[str, Any]) -> Change:
    """Return the change that a body asks for: components in the twin's patch have the hub's mark.

    Raises `RestError` for a property that cannot be set in the device's model.
    """
    model = dtdl.resolve(db, device.template)
    components = component_names(devices.get_twin(db, device.id), model)
    own = {name: value for name, value in body.items() if name not in components}
    change = Change(*_split(own, model, None, "this device"))
    for name in body.keys() & components:
        part = body[name]
        if part is None:
            change.desired[name] = None
            continue
        if not isinstance(part, dict):
            raise bad_request(f"{name!r} is a component: its value must be an object.")
        desired, cloud = _split(without_metadata(part), model, name, name)
        if desired or not cloud:
            change.desired[name] = {"__t": "c", **desired}
        change.cloud.update(cloud)
    return change


def _split(
    values: dict[str, Any], model: dtdl.Model | None, component: str | None, owner: str
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the values for the device, and the cloud properties by component if there are any."""
    names = set() if model is None else model.cloud(component)
    cloud = {name: value for name, value in values.items() if name in names}
    desired = {name: value for name, value in values.items() if name not in names}
    _check_writable(desired, model, component, owner)
    return desired, {component or "": cloud} if cloud else {}


def patch_answer(patch: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a patch: the desired values by name."""
    metadata: dict[str, Any] = {}
    answered: dict[str, Any] = {}
    for name, value in patch.items():
        if is_component(value):
            answered[name] = patch_answer(
                {key: part for key, part in value.items() if key != "__t"}
            )
        elif value is not None:
            metadata[name] = {"desiredValue": value}
    return {**answered, "$metadata": metadata}


def _check_writable(
    values: dict[str, Any], model: dtdl.Model | None, component: str | None, owner: str
) -> None:
    writable = None if model is None else model.writable(component)
    if writable is None or model is None:
        return
    for name in values:
        if name not in writable:
            known = ", ".join(sorted(writable | model.cloud(component))) or "none"
            raise RestError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"{name!r} is not a writable property of {owner}. Writable properties: {known}.",
            )


def _desired_version(twin: Twin, top: str, reported: Any, desired: Any, ack: dict[str, Any]) -> int:
    """Return the twin's version in which this value was set.

    The twin has one version for all of its properties. An acknowledgement of an older version that
    arrived after this property was last set acknowledges this value.
    """
    version = ack.get("ackVersion")
    never = float("-inf")
    answered = twin.reported_times.get(top, never) >= twin.desired_times.get(top, never)
    code = ack.get("ackCode")
    meant = reported == desired or (isinstance(code, int) and code >= REFUSED)
    if isinstance(version, int) and 0 < version < twin.desired_version and answered and meant:
        return version
    return twin.desired_version
