"""What was changed of a device in the console, and by whom."""

from aiohttp import web

from central.console.responses import answer, look_up
from central.console.routes import Routes
from central.console.sign_in.roles import Permission
from central.records import iso
from central.storage import accounts

routes = Routes()


@routes.on("GET", "/console/api/devices/{device}/audit", needs=Permission.ADMINISTER)
async def list_changes(request: web.Request) -> web.Response:
    """Return the newest audited requests of a device, newest first. It may be deleted already."""
    entries = await look_up(request, accounts.audit_of, request.match_info["device"])
    return answer(
        {
            "value": [
                {
                    "at": iso(entry.at),
                    "who": entry.who,
                    "address": entry.address,
                    "request": entry.request,
                    "status": entry.status,
                }
                for entry in entries
            ]
        }
    )
