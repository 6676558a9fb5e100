"""Device models for the page, resolved: it reads no DTDL itself."""

import sqlite3
from dataclasses import asdict
from typing import Any

from aiohttp import web

from central.console import dtdl
from central.console.responses import answer, find_device, look_up
from central.console.routes import Routes
from central.console.sign_in.roles import Permission
from central.storage import devices, templates

routes = Routes()


@routes.on("GET", "/console/api/models", needs=Permission.VIEW)
async def list_models(request: web.Request) -> web.Response:
    """Return the model of each template, and how many devices have the template."""
    return answer({"value": await look_up(request, _models)})


@routes.on("GET", "/console/api/devices/{device}/model", needs=Permission.VIEW)
async def get_model(request: web.Request) -> web.Response:
    """Return the model of a device, or null if it has none, it is not here, or it is too large."""
    device = await find_device(request)
    model = await look_up(request, dtdl.resolve_if_possible, device.template)
    return answer(None if model is None else asdict(model))


def _models(db: sqlite3.Connection) -> list[dict[str, Any]]:
    counts = devices.count_by_template(db)
    return [
        {
            # A model that is too large is listed without its content, so that it can be deleted.
            **asdict(dtdl.resolve_if_possible(db, dtmi) or dtdl.Model(dtmi, dtmi)),
            # A device may name the template, or its interface.
            "users": sum(counts.get(name, 0) for name in {dtmi, str(interface.get("@id"))}),
        }
        for dtmi, interface in templates.get_all(db).items()
    ]
