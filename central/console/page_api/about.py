"""What a device needs to connect to this central, for the page's Connect dialog."""

import asyncio
import time

from aiohttp import web

from central.console.responses import CENTRAL, answer
from central.records import iso

routes = web.RouteTableDef()


@routes.get("/console/api/central")
async def about_central(request: web.Request) -> web.Response:
    """Return addresses and files of this central, and whether it has a simulated room."""
    central = request.app[CENTRAL]
    return answer(
        {
            "idScope": central.id_scope,
            "idScopes": [{"idScope": s, "hub": hub} for s, hub in central.id_scopes.items()],
            "provisioningHost": central.mqtt_host,
            "hub": central.mqtt_host,
            "port": central.mqtt_port,
            "dataDirectory": str(central.settings.data_dir.absolute()),
            "caFile": str(central.ca_file.absolute()),
            "local": central.is_local,
            "room": central.settings.room_socket is not None,
            "now": iso(time.time()),
        }
    )


@routes.get("/console/api/ca.pem")
async def get_authority(request: web.Request) -> web.Response:
    """Return the CA certificate that devices must trust. It is not a secret."""
    text = await asyncio.to_thread(request.app[CENTRAL].ca_file.read_text)
    return web.Response(text=text, content_type="application/x-pem-file")
