"""Properties: between a device's twin and the form that IoT Central's REST interface has."""

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
    iso,
    look_up,
    not_found,
    read_object,
)
from central.records import Device, Twin
from central.storage import devices
from central.storage.store import Store

routes = web.RouteTableDef()

PLUG_AND_PLAY = {"value", "ac", "av", "ad"}
PREVIEW = {"value", "status", "statusCode", "desiredVersion", "message"}

STATUSES = {"completed": 200, "processing": 202, "pending": 202}
"""Words of the preview's acknowledgements (2020); any other word is an error."""

REFUSED = 400  # Acknowledgement codes from here on say that nothing changed.


@routes.get("/api/devices/{device}/properties")
async def get_properties(request: web.Request) -> web.Response:
    store = request.app[CENTRAL].store
    twin = await look_up(lambda: store.read(devices.get_twin, request.match_info["device"]))
    return answer(rest_properties(twin))


@routes.put("/api/devices/{device}/properties")
@routes.patch("/api/devices/{device}/properties")
async def set_properties(request: web.Request) -> web.Response:
    central = request.app[CENTRAL]
    device, body = await find_device(request), without_metadata(await read_object(request))
    patch = await look_up(lambda: desired_patch(central.store, device, body))
    replace = request.method == "PUT"
    await central.hub.set_desired(device.id, patch, replace=replace)
    return answer(asked(patch), status=HTTPStatus.ACCEPTED)


@routes.get("/api/devices/{device}/components")
async def list_components(request: web.Request) -> web.Response:
    store, device = request.app[CENTRAL].store, await find_device(request)

    def components() -> list[dict[str, Any]]:
        interface = dtdl.interface_of(store, device) or {}
        labels = {
            element["name"]: dtdl.text(element, "displayName") or element["name"]
            for element in dtdl.contents(interface, "Component")
        }
        return [
            {"@type": "Component", "name": name, "displayName": labels.get(name, name)}
            for name in [*labels, *sorted(component_names(store, device) - labels.keys())]
        ]

    return answer({"value": await look_up(components)})


@routes.get("/api/devices/{device}/components/{component}/properties")
async def get_component_properties(request: web.Request) -> web.Response:
    store, device = request.app[CENTRAL].store, await find_device(request)
    name = request.match_info["component"]

    def values() -> dict[str, Any]:
        _must_have(store, device, name)
        part: dict[str, Any] = rest_properties(store.read(devices.get_twin, device.id)).get(
            name, {}
        )
        return part or {"$metadata": {}}

    return answer(await look_up(values))


@routes.put("/api/devices/{device}/components/{component}/properties")
@routes.patch("/api/devices/{device}/components/{component}/properties")
async def set_component_properties(request: web.Request) -> web.Response:
    central, device = request.app[CENTRAL], await find_device(request)
    name = request.match_info["component"]
    values = without_metadata(await read_object(request))

    def patch_of_component() -> dict[str, Any]:
        _must_have(central.store, device, name)
        patch = desired_patch(central.store, device, {name: values})
        if request.method == "PUT":
            before = _part(central.store.read(devices.get_twin, device.id).desired, name)
            patch[name] = {**dict.fromkeys(before), **patch[name]}
        return patch

    patch = await look_up(patch_of_component)
    await central.hub.set_desired(device.id, patch)
    return answer(asked(patch)[name], status=HTTPStatus.ACCEPTED)


def is_component(value: object) -> bool:
    """Tell a component's part of a twin from a value."""
    return isinstance(value, dict) and value.get("__t") == "c"


def unwrap(raw: Any) -> tuple[Any, dict[str, Any]]:
    """Take a reported property apart: the value, and what it acknowledges.

    Both forms of acknowledgement are read: `{value, ac, av, ad}` and the preview's
    `{value, status, desiredVersion}`; and `{value}`, as long-running commands answer.
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


def rest_properties(twin: Twin) -> dict[str, Any]:
    """Write a twin as `GET properties` answers it: values by name, and `$metadata`."""
    values: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for name in _names(twin.reported, twin.desired):
        reported, desired = twin.reported.get(name), twin.desired.get(name)
        if is_component(reported) or is_component(desired):
            values[name] = _component(twin, name)
        else:
            _property(twin, name, twin.reported, twin.desired, top=name, into=(values, metadata))
    return {**values, "$metadata": metadata}


def _component(twin: Twin, component: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    reported, desired = _part(twin.reported, component), _part(twin.desired, component)
    for name in _names(reported, desired):
        _property(twin, name, reported, desired, top=component, into=(values, metadata))
    return {**values, "$metadata": metadata}


def _property(
    twin: Twin,
    name: str,
    reported: dict[str, Any],
    desired: dict[str, Any],
    *,
    top: str,
    into: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    values, metadata = into
    about: dict[str, Any] = {}
    ack: dict[str, Any] = {}
    if name in reported:
        values[name], ack = unwrap(reported[name])
    if name in desired:
        about["desiredValue"] = desired[name]
        about["desiredVersion"] = _desired_version(twin, top, values.get(name), desired[name], ack)
    about |= ack
    if name in reported and top in twin.reported_times:
        about["lastUpdateTime"] = iso(twin.reported_times[top])
    metadata[name] = about


def _part(values: dict[str, Any], component: str) -> dict[str, Any]:
    part = values.get(component)
    return part if isinstance(part, dict) else {}


def _names(*sides: dict[str, Any]) -> list[str]:
    names = dict.fromkeys(name for side in sides for name in side)
    return [name for name in names if not name.startswith("$") and name != "__t"]


def without_metadata(body: dict[str, Any]) -> dict[str, Any]:
    """Drop what `GET properties` adds, so that its answer can be sent back changed."""
    return {name: value for name, value in body.items() if name != "$metadata"}


def component_names(store: Store, device: Device) -> set[str]:
    """Return the names of the components in the device's model and in its twin."""
    interface = dtdl.interface_of(store, device) or {}
    names = {element["name"] for element in dtdl.contents(interface, "Component")}
    twin = store.read(devices.get_twin, device.id)
    for document in (twin.reported, twin.desired):
        names |= {name for name, value in document.items() if is_component(value)}
    return names


def desired_patch(store: Store, device: Device, body: dict[str, Any]) -> dict[str, Any]:
    """Make the twin's patch: bare values by name, components marked as the hub wants them.

    Raises `RestError` for what the model does not let an operator set.
    """
    interface = dtdl.interface_of(store, device)
    components = component_names(store, device)
    values = {name: value for name, value in body.items() if name not in components}
    patch = dict(values)
    if interface is not None:
        _refuse_unknown(values, interface, "this device")
    for name in body.keys() & components:
        part = body[name]
        if part is None:
            patch[name] = None
            continue
        if not isinstance(part, dict):
            raise bad_request(f"{name!r} is a component; its properties go into an object.")
        part = without_metadata(part)
        inner = interface and dtdl.component(store, interface, name)
        if inner:
            _refuse_unknown(part, inner, name)
        patch[name] = {"__t": "c", **part}
    return patch


def asked(patch: dict[str, Any]) -> dict[str, Any]:
    """Write the answer to a patch: what is desired now, by name."""
    metadata: dict[str, Any] = {}
    answered: dict[str, Any] = {}
    for name, value in patch.items():
        if is_component(value):
            answered[name] = asked({key: part for key, part in value.items() if key != "__t"})
        elif value is not None:
            metadata[name] = {"desiredValue": value}
    return {**answered, "$metadata": metadata}


def _must_have(store: Store, device: Device, component: str) -> None:
    if component not in component_names(store, device):
        raise not_found(f"{device.id} has no component {component!r}.")


def _refuse_unknown(values: dict[str, Any], interface: dtdl.Interface, where: str) -> None:
    writable = dtdl.writable(interface)
    for name in values:
        if name not in writable:
            known = ", ".join(sorted(writable)) or "none"
            raise RestError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"{name!r} is no writable property of {where}; those are: {known}.",
            )


def _desired_version(twin: Twin, top: str, reported: Any, desired: Any, ack: dict[str, Any]) -> int:
    """Return the version of the twin that asked for this value.

    The twin counts one version for all of its properties. An acknowledgement of an older one that
    came after this property was last set is an answer to it.
    """
    version = ack.get("ackVersion")
    never = float("-inf")
    answered = twin.reported_times.get(top, never) >= twin.desired_times.get(top, never)
    code = ack.get("ackCode")
    meant = reported == desired or (isinstance(code, int) and code >= REFUSED)
    if isinstance(version, int) and 0 < version < twin.desired_version and answered and meant:
        return version
    return twin.desired_version
