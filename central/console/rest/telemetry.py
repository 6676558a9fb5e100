"""The last telemetry by IoT Central's REST paths."""

from aiohttp import web

from central.console.responses import answer, look_up, not_found
from central.console.rest.paths import Paths
from central.console.sign_in.roles import Permission
from central.records import iso
from central.storage import telemetry

routes = Paths()


@routes.on(
    "GET",
    "/api/devices/{device}/telemetry/{telemetry}",
    "/api/devices/{device}/components/{component}/telemetry/{telemetry}",
    needs=Permission.VIEW,
)
async def get_telemetry(request: web.Request) -> web.Response:
    device_id, name = request.match_info["device"], request.match_info["telemetry"]
    component = request.match_info.get("component")
    last = await look_up(request, telemetry.last_value, device_id, name, component)
    if last is None:
        raise not_found(f"{device_id} has not sent telemetry {name!r} yet.")
    at, value = last
    return answer({"timestamp": iso(at), "value": value})
