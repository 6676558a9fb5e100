"""What every request passes: foreign hosts and origins, and too many requests, are refused."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from central.console.responses import MAKER, Handler, refusal
from central.console.sign_in.gate import SIGN_IN, SignIn

if TYPE_CHECKING:
    from collections import Counter

POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


API = ("/api", "/console/api", "/metrics")


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse foreign hosts and origins with 403. `central.console.sign_in.sites` says why."""
    site = request.app[SIGN_IN].site
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or not site.has(hosts[0]):
        return refusal(HTTPStatus.FORBIDDEN, "Forbidden", _own_names(request.app[SIGN_IN]))
    origins = request.headers.getall("Origin", [])
    # A page from another port of this machine is foreign, too.
    if not all(site.is_origin(origin, hosts[0]) for origin in origins) or _is_foreign(request):
        return refusal(
            HTTPStatus.FORBIDDEN, "Forbidden", "Pages of other origins cannot use the console."
        )
    return await handler(request)


def _own_names(sign_in: SignIn) -> str:
    if sign_in.required:
        return f"The console is available as {', '.join(sorted(sign_in.site.names))} only."
    return (
        "The console is available as localhost and 127.0.0.1 only. From another machine, run "
        "ssh -L 8080:127.0.0.1:PORT HOST and open http://localhost:8080/"
    )


def _is_foreign(request: web.Request) -> bool:
    """Return whether a browser says that another site's page made this request for data."""
    fetched = request.headers.get("Sec-Fetch-Site", "none").lower()
    return fetched not in {"same-origin", "none"} and request.path.startswith(API)


MOST_AT_ONCE = 256  # Open requests. Each may hold a body or wait for a device.
MOST_OF_ONE = 192  # Of one user or API token, or of one address before it has signed in.
UNDER_WAY: "web.AppKey[Counter[str]]" = web.AppKey("under_way")


@web.middleware
async def bound(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests with 429 while too many are open. No one user has all of them."""
    under_way, maker = request.app[UNDER_WAY], request[MAKER]
    if under_way.total() >= MOST_AT_ONCE:
        return _too_many(f"{MOST_AT_ONCE} requests are already open.")
    if under_way[maker] >= MOST_OF_ONE:
        return _too_many(f"{MOST_OF_ONE} requests of {maker} are already open.")
    under_way[maker] += 1
    try:
        return await handler(request)
    finally:
        under_way[maker] -= 1
        if not under_way[maker]:
            del under_way[maker]


def _too_many(sentence: str) -> web.Response:
    response = refusal(
        HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequests", f"{sentence} Try again in a moment."
    )
    response.headers["Retry-After"] = "1"
    return response


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to every response, errors included."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
