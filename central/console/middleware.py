"""Access to the console: only programs and pages of this machine.

The console has no passwords and listens on the loopback interface only. A foreign page could still
use the operator's browser: under a name that points to 127.0.0.1 (DNS rebinding, detected by Host),
or with cross-origin requests (detected by Origin).
"""

import asyncio
import re
from http import HTTPStatus

from aiohttp import web

from central.console.responses import Handler, refusal

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


# Names that no DNS server can redirect. Any port is allowed, because of `ssh -L`.
OWN_HOST = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?")


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse foreign hosts and origins with 403."""
    hosts = [host.lower() for host in request.headers.getall("Host", [])]
    if len(hosts) != 1 or not OWN_HOST.fullmatch(hosts[0]):
        return refusal(
            HTTPStatus.FORBIDDEN,
            "Forbidden",
            "The console is available as localhost and 127.0.0.1 only. From another machine, run "
            "ssh -L 8080:127.0.0.1:PORT HOST and open http://localhost:8080/",
        )
    origins = request.headers.getall("Origin", [])
    # A page from another port of this machine is foreign, too.
    if any(origin.lower() != f"http://{hosts[0]}" for origin in origins):
        return refusal(
            HTTPStatus.FORBIDDEN, "Forbidden", "Pages of other origins cannot use the console."
        )
    return await handler(request)


MOST_AT_ONCE = 256  # Open requests. Each may hold a body or wait for a device.
UNDER_WAY: web.AppKey[set[object]] = web.AppKey("under_way")


@web.middleware
async def bound(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests with 429 while too many are open."""
    under_way = request.app[UNDER_WAY]
    if len(under_way) >= MOST_AT_ONCE:
        response = refusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            "TooManyRequests",
            f"{MOST_AT_ONCE} requests are already open. Try again in a moment.",
        )
        response.headers["Retry-After"] = "1"
        return response
    task = asyncio.current_task()
    under_way.add(task)
    try:
        return await handler(request)
    finally:
        under_way.discard(task)


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to every response, errors included."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
