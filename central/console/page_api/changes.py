"""Changes of devices by operators: names and tags, and changes of many devices at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from central.console.responses import (
    CENTRAL,
    answer,
    bad_request,
    find_device,
    look_up,
    read_object,
    to_json,
)
from central.console.rest.devices import check_display_name
from central.console.rest.properties import REFUSED, desired_patch, is_component, rest_properties
from central.console.routes import Routes
from central.console.sign_in.gate import ACCESS
from central.console.sign_in.roles import Permission
from central.errors import CentralError
from central.records import Event, Twin
from central.storage import devices

if TYPE_CHECKING:
    from central.events import Events

routes = Routes()

MOST_TAGS = 20  # Of one device.
LONGEST_TAG = 48
MOST_DEVICES = 1000  # In one change.
AT_ONCE = 16  # Devices whose change is being stored.
PATIENCE = 30.0  # Seconds for a connected device to acknowledge a change.
IN_PROGRESS = 202


@routes.on("PATCH", "/console/api/devices/{device}", needs=Permission.OPERATE)
async def patch_device(request: web.Request) -> web.Response:
    """Set the `displayName` or the `tags` of a device, or both."""
    registry, body = request.app[CENTRAL].registry, await read_object(request)
    device = await find_device(request)
    _check_keys(body, {"displayName", "tags"})
    tags = check_tags(body["tags"]) if "tags" in body else None
    if "displayName" in body:
        registry.update_device(device.id, display_name=check_display_name(body["displayName"]))
    if tags is not None:
        await registry.change_tags(device.id, lambda _: tags)
    return answer({})


@dataclass(frozen=True)
class Result:
    """What became of the change of one device."""

    device: str
    result: str
    """`applied`, `refused`, `waits` until the device connects, or `unanswered` by the device."""

    reason: str = ""


Finish = Callable[[], Awaitable[Result]]
Change = Callable[[str], Awaitable[Finish]]
"""Stores the change of a device. The function that it returns waits for what becomes of it."""


@routes.on("POST", "/console/api/changes", needs=Permission.OPERATE)
async def change_devices(request: web.Request) -> web.StreamResponse:
    """Change many `devices`, and stream the result of each, a JSON object on a line of its own.

    The body has `properties` to set, or tags: `addTags` and `removeTags`. If the client goes away,
    the devices are changed nevertheless.
    """
    body = await read_object(request)
    ids = _check_devices(body)
    response = web.StreamResponse()
    response.content_type = "application/x-ndjson"
    if "properties" in body:
        with _reports(request.app[CENTRAL].registry.events, ids) as reports:
            return await _stream(request, response, ids, _set_properties(request, body, reports))
    return await _stream(request, response, ids, _change_tags(request, body))


async def _stream(
    request: web.Request, response: web.StreamResponse, ids: list[str], change: Change
) -> web.StreamResponse:
    statuses = ACCESS.get().devices
    results: asyncio.Queue[Result] = asyncio.Queue()
    storing = asyncio.Semaphore(AT_ONCE)

    async def run(device_id: str) -> None:
        try:
            async with storing:
                finish = await change(device_id)
            statuses[device_id] = HTTPStatus.OK
            result = await finish()
        except CentralError as error:
            statuses[device_id] = HTTPStatus.UNPROCESSABLE_ENTITY
            result = Result(device_id, "refused", str(error))
        results.put_nowait(result)

    await response.prepare(request)
    async with asyncio.TaskGroup() as tasks:
        for device_id in ids:
            tasks.create_task(run(device_id))
        with suppress(ConnectionError):  # The page was closed.
            for _ in ids:
                result = await results.get()
                await response.write((to_json(vars(result)) + "\n").encode())
    return response


# Tags


def _change_tags(request: web.Request, body: dict[str, Any]) -> Change:
    """Return the change of the tags that a body asks for. Raises RestError."""
    _check_keys(body, {"devices", "addTags", "removeTags"})
    added = check_tags(body.get("addTags", []))
    removed = {tag.casefold() for tag in check_tags(body.get("removeTags", []))}
    if not added and not removed:
        raise bad_request("Give properties, addTags or removeTags.")
    registry = request.app[CENTRAL].registry

    def changed(tags: Iterable[str]) -> list[str]:
        return check_tags([tag for tag in tags if tag.casefold() not in removed] + added)

    async def change(device_id: str) -> Finish:
        await registry.change_tags(device_id, changed)
        return lambda: _at_once(Result(device_id, "applied"))

    return change


def check_tags(tags: object) -> list[str]:
    """Return tags with their spaces tidied, each once in any case. Raises RestError."""
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise bad_request("Tags must be a list of strings.")
    tidy = {" ".join(tag.split()).casefold(): " ".join(tag.split()) for tag in reversed(tags)}
    found = list(reversed(tidy.values()))
    for tag in found:
        if not 0 < len(tag) <= LONGEST_TAG or "," in tag or not tag.isprintable():
            raise bad_request(
                f"{tag[:80]!r} cannot be a tag: it has 1 to {LONGEST_TAG} characters, and no comma."
            )
    if len(found) > MOST_TAGS:
        raise bad_request(f"A device has at most {MOST_TAGS} tags.")
    return found


# Properties


class _Reports(dict[str, asyncio.Queue[Twin]]):
    """The twins of some devices, by id, each time that they change."""

    def on_event(self, event: Event) -> None:
        if event.kind == "twin" and event.device_id in self:
            self[event.device_id].put_nowait(event.data)


@contextmanager
def _reports(events: "Events", ids: list[str]) -> Iterator[_Reports]:
    reports = _Reports((device_id, asyncio.Queue()) for device_id in ids)
    events.listen(reports.on_event)
    try:
        yield reports
    finally:
        events.unlisten(reports.on_event)


def _set_properties(request: web.Request, body: dict[str, Any], reports: _Reports) -> Change:
    """Return the change of the properties that a body asks for. Raises RestError."""
    _check_keys(body, {"devices", "properties"})
    properties = body["properties"]
    if not isinstance(properties, dict) or not properties or None in properties.values():
        raise bad_request("properties must be an object with a value for each property.")
    hub = request.app[CENTRAL].hub

    async def change(device_id: str) -> Finish:
        device = await look_up(request, devices.get, device_id)
        patch = await look_up(request, desired_patch, device, properties)
        twin = await hub.set_desired(device_id, patch.desired, cloud=patch.cloud)
        names = _names(patch.desired)
        if not names:
            return lambda: _at_once(Result(device_id, "applied"))
        if not device.enabled:
            return lambda: _at_once(Result(device_id, "waits", "The device is blocked."))
        return lambda: finish(device_id, twin.desired_version, names)

    async def finish(device_id: str, version: int, names: list[tuple[str, ...]]) -> Result:
        with suppress(TimeoutError):  # It has not answered: see below.
            async with asyncio.timeout(PATIENCE):
                while hub.presence.connected_since(device_id) is not None:
                    twin = await reports[device_id].get()
                    outcome = _outcome(twin, names) if twin.desired_version >= version else None
                    if outcome is not None:
                        return Result(device_id, *outcome)
        away = hub.presence.connected_since(device_id) is None
        return Result(device_id, "waits" if away else "unanswered")

    return change


def _names(patch: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the paths of the properties in a patch: `(name,)` or `(component, name)`."""
    names: list[tuple[str, ...]] = []
    for name, value in patch.items():
        if is_component(value):
            names += [(name, part) for part in value if part != "__t"]
        else:
            names.append((name,))
    return names


def _outcome(twin: Twin, names: list[tuple[str, ...]]) -> tuple[str, str] | None:
    """Return result and reason once a device has acknowledged these properties, or refused one."""
    properties = rest_properties(twin)
    finished = 0
    for *component, name in names:
        part = properties.get(component[0], {}) if component else properties
        about = part.get("$metadata", {}).get(name, {})
        version, code = about.get("ackVersion"), about.get("ackCode")
        if not isinstance(version, int) or version < about.get("desiredVersion", 0):
            continue
        if not isinstance(code, int) or code >= REFUSED:
            return "refused", str(about.get("ackDescription") or f"Code {code}.")
        finished += code != IN_PROGRESS
    return ("applied", "") if finished == len(names) else None


# Bodies


async def _at_once(result: Result) -> Result:
    return result


def _check_devices(body: dict[str, Any]) -> list[str]:
    ids = body.get("devices")
    if isinstance(ids, list) and all(isinstance(each, str) for each in ids):
        found = list(dict.fromkeys(ids))
        if 0 < len(found) <= MOST_DEVICES:
            return found
    raise bad_request(f"devices must be a list of 1 to {MOST_DEVICES} device ids.")


def _check_keys(body: dict[str, Any], known: set[str]) -> None:
    for key in body:
        if key not in known:
            raise bad_request(f"{key[:40]!r} is not one of {', '.join(sorted(known))}.")
