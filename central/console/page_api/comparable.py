"""Which devices can be drawn in the same charts, for the page."""

import sqlite3
from typing import Any

from aiohttp import web

from central.console import dtdl
from central.console.page_api.devices import sent_numbers
from central.console.responses import answer, find_device, look_up
from central.console.routes import Routes
from central.console.sign_in.roles import Permission
from central.records import Device
from central.storage import devices

routes = Routes()


@routes.on("GET", "/console/api/devices/{device}/comparable", needs=Permission.VIEW)
async def list_comparable(request: web.Request) -> web.Response:
    """Return the other devices that send numbers of the same name and unit, with these names."""
    device = await find_device(request)
    return answer({"value": await look_up(request, _comparable, device)})


def _comparable(db: sqlite3.Connection, device: Device) -> list[dict[str, Any]]:
    by_template: dict[str, set[tuple[str, str]]] = {}

    def numbers(each: Device) -> set[tuple[str, str]]:
        if each.template is not None and each.template not in by_template:
            model = dtdl.resolve_if_possible(db, each.template)
            found = [] if model is None else model.numbers()
            by_template[each.template] = {(number.key, number.unit) for number in found}
        modelled = by_template.get(each.template) if each.template is not None else None
        return modelled or {(name, "") for name in sent_numbers(db, each)}

    own = numbers(device)
    found = []
    for each in devices.get_all(db):
        shared = own & numbers(each) if each.id != device.id else None
        if shared:
            keys = sorted(key for key, _ in shared)
            found.append({"id": each.id, "displayName": each.display_name, "telemetry": keys})
    return found
