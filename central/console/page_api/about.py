"""What a device needs to connect to this central, for the page's Connect dialog."""

import asyncio
import time

from aiohttp import web

from central.console.responses import CENTRAL, answer, not_found
from central.console.routes import Routes
from central.console.sign_in.gate import SIGN_IN
from central.console.sign_in.roles import Permission
from central.records import iso

routes = Routes()


@routes.on("GET", "/console/api/central", needs=Permission.VIEW)
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


@routes.on("GET", "/console/api/ca.pem", needs=Permission.VIEW)
async def get_authority(request: web.Request) -> web.Response:
    """Return the CA certificate that devices must trust. It is not a secret."""
    text = await asyncio.to_thread(request.app[CENTRAL].ca_file.read_text)
    return web.Response(text=text, content_type="application/x-pem-file")


@routes.on("GET", "/console-ca.pem", needs=Permission.PUBLIC)
async def get_console_authority(request: web.Request) -> web.Response:
    """Return the authority of the console's own certificate, for phones and browsers."""
    if not request.app[SIGN_IN].has_authority:
        raise not_found("The console has no authority of its own.")
    path = request.app[CENTRAL].settings.data_dir / "console-ca.pem"
    text = await asyncio.to_thread(path.read_text)
    return web.Response(text=text, content_type="application/x-x509-ca-cert")
